"""``ganaug fit --tensorboard``: the history as TensorBoard's event files, with sample grids."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric.loggers.tensorboard import TensorBoardLogger
    from numpy.typing import NDArray

    from ganaug.copies import CopyGate
    from ganaug.stopping import Progress
    from ganaug.training import Training

__all__ = ["EventFiles", "check_tensorboard"]

#: Steps between losses that are written; scores and the last step's losses always are.
_STEPS = 20

#: What a grid shows: the classes, each a row of so many images.
_CLASSES, _IMAGES = 16, 8


def check_tensorboard() -> None:
    """Raise ConfigError when the package that writes event files is not installed."""
    if find_spec("tensorboard") is None:
        raise ConfigError(
            "--tensorboard needs the package tensorboard, which is not installed. Install it "
            "with: pip install 'ganaug[tensorboard]'"
        )


class EventFiles:
    """Writes the history of one training into event files of a folder, through Fabric's logger.

    Time is in training images. Losses, logs and scores go by the names that the history has them
    by, under ``loss/``, ``log/`` and ``metric/``; a sample grid is drawn every so many images.
    What a resumed training, or one that was rolled back, does again replaces what was there.

    gate: knows the training images; copies of them are plain grey in grids. None lets all through.
    """

    def __init__(
        self, folder: Path, training: Training, *, every: int, gate: CopyGate | None
    ) -> None:
        self._folder, self._training, self._every = folder, training, every
        self._gate = gate
        self._images_seen = training.images_seen
        self._logger = self._open(again_from=self._images_seen + 1 if self._images_seen else None)
        self._unwritten: Progress | None = None

    def update(self, progress: Progress) -> None:
        """Take note of a step, the newest of the training."""
        if progress.images_seen <= self._images_seen:  # it went back after a loss was not finite
            self._logger.finalize("success")
            self._logger = self._open(again_from=progress.images_seen)
            self._images_seen = progress.images_seen - 1
        self._unwritten = progress
        if progress.metrics or progress.step % _STEPS == 0:
            self._write()
        if progress.images_seen // self._every > self._images_seen // self._every:
            self._write_grid(progress.images_seen)
        self._images_seen = progress.images_seen

    def close(self) -> None:
        """Write what is left and close the files."""
        self._write()
        self._logger.finalize("success")

    def _open(self, *, again_from: int | None) -> TensorBoardLogger:
        """Open a new file; TensorBoard then drops what older ones say from there on."""
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        return TensorBoardLogger(self._folder, name="", version="", purge_step=again_from)

    def _write(self) -> None:
        progress, self._unwritten = self._unwritten, None
        if progress is None:
            return
        groups = {"loss": progress.losses, "log": progress.logs, "metric": progress.metrics}
        values = {
            f"{group}/{name}": value
            for group, named in groups.items()
            for name, value in named.items()
        }
        self._logger.log_metrics(values, step=progress.images_seen)

    def _write_grid(self, images_seen: int) -> None:
        """Draw images of the averaged network, from the same latents each time."""
        from ganaug.grids import draw_grid
        from ganaug.pixels import from_signed
        from ganaug.validation import sample_batches

        images = self._training.images
        dtype, value_range = np.asarray(images.pixels).dtype, images.value_range
        names = images.class_names[:_CLASSES]
        drawn = sample_batches(
            self._training.ema, np.repeat(np.arange(len(names)), _IMAGES), seed=0
        )
        if drawn is None:
            return
        pixels = np.concatenate(
            [from_signed(batch, dtype=dtype, value_range=value_range) for batch in drawn]
        )
        if self._gate is not None:
            pixels = _without_copies(pixels, value_range, self._gate)
        rows = list(zip(names, np.split(pixels, len(names)), strict=True))
        sheet = np.asarray(draw_grid(rows, value_range))
        self._logger.experiment.add_image("samples", sheet, images_seen, dataformats="HWC")


def _without_copies(
    pixels: NDArray[Any], value_range: tuple[float, float], gate: CopyGate
) -> NDArray[Any]:
    """Return the images with copies of training images grey: nothing else leaves a run."""
    copies = gate.find(pixels, value_range)
    grey = np.array(sum(value_range) / 2).astype(pixels.dtype)
    return np.where(copies[:, None, None, None], grey, pixels)
