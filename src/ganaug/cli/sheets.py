"""Sheets of samples that are drawn while a generator is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from ganaug.copies import CopyGate
    from ganaug.generator import Generator
    from ganaug.model import ImageModel
    from ganaug.spec import LabelledImages
    from ganaug.stopping import Progress
    from ganaug.training import Training

__all__ = ["StageSheets", "sample_sheet", "write_grid"]

#: What a sheet shows: the classes, each a row of so many images.
_CLASSES, _IMAGES = 16, 8
#: What the sheet of a fitted model shows of each of its classes.
_OF_A_MODEL = 16


class StageSheets:
    """Keeps samples of each stage of a generator that grows, drawn as the next stage begins.

    Then the average restarts from the network as it is, so that this is the last moment to draw
    from the one that the stage ended with. Other generators have no stages, and no sheets.

    folder: where the files ``stage-<pixels a side>px.png`` go. last: the newest record of the
    training, None where it has not begun. gate: makes what knows the training images.
    """

    def __init__(
        self,
        folder: Path,
        training: Training,
        last: Progress | None,
        gate: Callable[[], CopyGate],
    ) -> None:
        self._folder, self._training, self._gate = folder, training, gate
        self._average = training.ema
        self._side = None if last is None else last.resolution

    def update(self, progress: Progress) -> Path | None:
        """Take note of a step, the newest; return the file of the stage that ended before it."""
        from ganaug.cli.exports import write_picture

        side, average = self._side, self._average
        self._side, self._average = progress.resolution, self._training.ema
        # A training that was rolled back may be at an earlier stage again.
        if side is None or self._side is None or self._side <= side:
            return None
        sheet = sample_sheet(average, self._training.images, self._gate())
        if sheet is None:
            return None
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"stage-{side}px.png"
        write_picture(path, sheet)
        return path


def sample_sheet(
    generator: Generator, images: LabelledImages, gate: CopyGate | None
) -> Image.Image | None:
    """Draw images of the first classes, a row each, from the same latents each time.

    images: those that it is trained on. gate: knows them; copies are plain grey. None lets all
    through. Returns None when a pixel is not a finite number.
    """
    from ganaug.grids import draw_grid
    from ganaug.pixels import from_signed
    from ganaug.validation import sample_batches

    dtype, value_range = np.asarray(images.pixels).dtype, images.value_range
    names = images.class_names[:_CLASSES]
    drawn = sample_batches(generator, np.repeat(np.arange(len(names)), _IMAGES), seed=0)
    if drawn is None:
        return None
    pixels = np.concatenate(
        [from_signed(batch, dtype=dtype, value_range=value_range) for batch in drawn]
    )
    if gate is not None:
        pixels = _without_copies(pixels, value_range, gate)
    return draw_grid(list(zip(names, np.split(pixels, len(names)), strict=True)), value_range)


def write_grid(path: Path, model: ImageModel) -> None:
    """Write a sheet of what a model hands out, a row a class; no pixel of a real image."""
    from ganaug.cli.exports import class_seed, write_picture
    from ganaug.grids import draw_grid

    rows = [
        (name, model.draw(index, _OF_A_MODEL, seed=class_seed(0, index)))
        for index, name in enumerate(model.class_names)
    ]
    write_picture(path, draw_grid(rows, model.output.value_range))


def _without_copies(
    pixels: NDArray[Any], value_range: tuple[float, float], gate: CopyGate
) -> NDArray[Any]:
    """Return the images with copies of training images grey: nothing else leaves a run."""
    copies = gate.find(pixels, value_range)
    grey = np.array(sum(value_range) / 2).astype(pixels.dtype)
    return np.where(copies[:, None, None, None], grey, pixels)
