"""``ganaug fit --tensorboard``: the history as TensorBoard's event files, with sample grids."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ganaug.cli.sheets import sample_sheet
from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    from ganaug.copies import CopyGate
    from ganaug.stopping import Progress
    from ganaug.training import Training

__all__ = ["EventFiles", "check_tensorboard"]

#: Steps between losses that are written; scores and the last step's losses always are.
_STEPS = 20


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
        sheet = sample_sheet(self._training.ema, self._training.images, self._gate)
        if sheet is not None:
            self._logger.experiment.add_image(
                "samples", np.asarray(sheet), images_seen, dataformats="HWC"
            )
