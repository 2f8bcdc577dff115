"""Real images beside synthetic ones, and the training image that is nearest to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.figures.look import DPI, INK, QUIET, new_figure, plain
from ganaug.grids import fit_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["ClassSheet", "Strip", "draw_nearest", "nearest_rows"]

#: Pixels on the sheet.
_GAP, _BLOCK_GAP, _LEFT, _MARGIN = 5, 40, 132, 24
_TITLE, _LINE, _NAME, _NUMBER = 44, 20, 34, 22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """Images side by side, (N, C, H, W) pixels, and what is written under each."""

    pixels: NDArray[Any]
    captions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassSheet:
    """What the sheet shows of a class: each in two blocks, drawn at random and closest.

    real: held-out images. synthetic: as they are, without captions. nearest: under each of these
    the training image that is nearest to it.
    """

    name: str
    real: tuple[Strip, Strip]
    synthetic: tuple[Strip, Strip]
    nearest: tuple[Strip, Strip]


def nearest_rows(
    queries: NDArray[Any], references: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each query the row of the nearest reference, and its Euclidean distance.

    queries, references: float features (N, D) and (M, D). Returns int64 (N,) and float64 (N,).
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    rows, distances = pairwise_distances_argmin_min(
        queries.astype(np.float64), references.astype(np.float64)
    )
    return rows.astype(np.int64), distances


def draw_nearest(
    sheets: Sequence[ClassSheet],
    value_range: tuple[float, float],
    *,
    title: str,
    lines: Sequence[str],
) -> Figure:
    """Draw, for each class, real images, synthetic ones, and under these the nearest real ones.

    value_range: black and white of the images. lines: what stands under the title, such as how
    distances were measured.
    """
    places = _Places(sheets, len(lines))
    figure = new_figure(places.width / DPI, places.height / DPI)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    canvas = np.full((places.height, places.width, 3), 255, dtype=np.uint8)
    axes.text(_MARGIN, 30, plain(title, 100), size=17, weight="bold", color=INK, va="center")
    for number, line in enumerate(lines):
        top = _TITLE + _LINE * (number + 0.8)
        axes.text(_MARGIN, top, plain(line, 200), size=10, color=QUIET, va="center")
    for left, text in zip(places.blocks, ("drawn at random", "closest to training"), strict=True):
        axes.text(left, places.top - 8, text, size=10, color=QUIET, va="center")
    for number, sheet in enumerate(sheets):
        top = places.top + number * places.class_height
        _draw_class(axes, canvas, sheet, places, top, value_range)
    axes.set(xlim=(0, places.width), ylim=(places.height, 0))
    figure.figimage(canvas, origin="upper", zorder=-1)  # pixel by pixel: nothing is resampled
    return figure


class _Places:
    """Where things are, in pixels. Small images are enlarged by whole factors."""

    def __init__(self, sheets: Sequence[ClassSheet], lines: int) -> None:
        longer = max(sheets[0].real[0].pixels.shape[2:])
        self.cell: int = min(longer * max(1, round(100 / longer)), 128)
        first, second = (
            max(len(strips[block].pixels) for s in sheets for strips in (s.real, s.synthetic))
            for block in (0, 1)
        )
        self.blocks = (_LEFT, _LEFT + first * (self.cell + _GAP) + _BLOCK_GAP)
        self.width = self.blocks[1] + second * (self.cell + _GAP) + _MARGIN
        self.top = _TITLE + lines * _LINE + _NAME
        # From the top of a class: real images, synthetic ones, the training images nearest to them.
        synthetic = _NAME + self.cell + _NUMBER
        self.rows = (_NAME, synthetic, synthetic + self.cell + _GAP)
        self.class_height = self.rows[2] + self.cell + _NUMBER + _MARGIN
        self.height = self.top + len(sheets) * self.class_height

    def left(self, block: int, number: int) -> int:
        return self.blocks[block] + number * (self.cell + _GAP)


def _draw_class(
    axes: Axes,
    canvas: NDArray[np.uint8],
    sheet: ClassSheet,
    places: _Places,
    top: int,
    value_range: tuple[float, float],
) -> None:
    axes.text(
        _MARGIN, top + 16, plain(sheet.name, 60), size=12, weight="bold", color=INK, va="center"
    )
    tops = [top + row for row in places.rows]
    for text, row in zip(
        ("real,\nheld out", "synthetic", "nearest real,\ntraining"), tops, strict=True
    ):
        axes.text(_MARGIN, row + places.cell / 2, text, size=9.5, color=INK, va="center")
    for row, strips in zip(tops, (sheet.real, sheet.synthetic, sheet.nearest), strict=True):
        for block, strip in enumerate(strips):
            for number, image in enumerate(strip.pixels):
                _paste(canvas, image, value_range, places.cell, row, places.left(block, number))
            for number, caption in enumerate(strip.captions):
                middle = places.left(block, number) + places.cell / 2
                axes.text(middle, row + places.cell + 10, plain(caption, 16), size=9, color=INK,
                          ha="center", va="center")  # fmt: skip


def _paste(
    canvas: NDArray[np.uint8],
    image: NDArray[Any],
    value_range: tuple[float, float],
    cell: int,
    top: int,
    left: int,
) -> None:
    tile = np.asarray(fit_cell(image, value_range, cell))
    top += (cell - tile.shape[0]) // 2
    left += (cell - tile.shape[1]) // 2
    canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
