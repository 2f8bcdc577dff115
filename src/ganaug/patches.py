"""Square patches of whole images: of lesions, and of normal tissue off every lesion.

The mammography pipeline of studies on OPTIMAM patches, on arrays; `ganaug.lesions` reads where
the lesions are. A window never leaves its image, so no patch has a padded border to give its
class away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.contrast import adjust_contrast, to_uint8
from ganaug.errors import ConfigError, ShapeError, nearest
from ganaug.pixels import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "TISSUES",
    "Box",
    "Patch",
    "Recipe",
    "Window",
    "cut_patches",
    "lesion_window",
    "normal_windows",
    "tissue_mask",
]

#: What `tissue_mask` can do.
TISSUES = ("nonzero", "otsu")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: its left and top edges from the image's, x to the right, y down."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Window:
    """A square of whole pixels inside an image: columns x to x + side, rows y to y + side."""

    x: int
    y: int
    side: int


@dataclass(frozen=True, slots=True)
class Patch:
    """A window's pixels, uint8 (C, size, size), and where it was in the image."""

    window: Window
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How patches are made of an image.

    size: height and width of a patch, in pixels. per_image: most normal patches of an image.
    tissue: one of `TISSUES`. contrast: one of `ganaug.contrast.CONTRASTS`.
    """

    size: int
    per_image: int = 10
    tissue: str = "nonzero"
    contrast: str = "none"


def cut_patches(
    image: NDArray[Any],
    lesions: Sequence[Box],
    recipe: Recipe,
    *,
    sides: Sequence[int],
    rng: np.random.Generator,
) -> tuple[list[Patch], list[Patch]]:
    """Return a patch of each lesion, in their order, and normal patches, of one whole image.

    image: (C, H, W) of any real dtype, mapped to 8 bit by its own lowest and highest value.
    sides: sides of windows in pixels; each normal patch has one of them, so that with those of
    lesion patches the scale does not give the class away. Windows larger than ``recipe.size`` are
    resized with antialiasing.
    Raises DataError for an image that is constant or not finite, ShapeError for one smaller than
    a patch, and ConfigError for an unknown tissue or contrast.
    """
    pixels = to_uint8(image)
    tissue = tissue_mask(pixels, recipe.tissue)
    height, width = tissue.shape
    marked = [lesion_window(box, height, width, size=recipe.size) for box in lesions]
    drawn = rng.choice(sides, recipe.per_image).tolist()
    normal = normal_windows(tissue, lesions, drawn, size=recipe.size, rng=rng)
    pixels = adjust_contrast(pixels, recipe.contrast, tissue=tissue)
    of_lesions, of_tissue = (
        [Patch(window, _cut(pixels, window, recipe.size)) for window in windows]
        for windows in (marked, normal)
    )
    return of_lesions, of_tissue


def tissue_mask(pixels: NDArray[np.uint8], method: str = "nonzero") -> NDArray[np.bool_]:
    """Return where tissue is, bool (H, W), of an image (C, H, W) in uint8.

    method: "nonzero", every pixel above 0, for images whose background is exactly black; "otsu",
    the largest connected part above Otsu's threshold (1979), its holes filled, for films whose
    background is noisy or carries letters. Raises ConfigError for another name.
    """
    if method not in TISSUES:
        raise ConfigError(
            f"There is no tissue mask {method!r}.{nearest(method, TISSUES)} "
            f"The choices are {', '.join(TISSUES)}."
        )
    if method == "nonzero":
        return pixels.any(axis=0)
    from skimage.filters import threshold_otsu
    from skimage.measure import label
    from skimage.segmentation import clear_border

    grey = pixels.mean(axis=0, dtype=np.float32)
    parts = label(grey > threshold_otsu(grey))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0  # the background
    largest: NDArray[np.bool_] = parts == sizes.argmax()
    holes: NDArray[np.bool_] = clear_border(label(~largest, connectivity=1)) > 0
    return largest | holes


def lesion_window(box: Box, height: int, width: int, *, size: int) -> Window:
    """Return the square around a box: centred on it, its side the box's longer side.

    The side is at least `size` and at most the image's shorter side; at a border the window is
    shifted inside, so there the lesion is off its centre. Raises ShapeError when the image,
    height x width, is smaller than `size`.
    """
    side = _fitting(int(np.ceil(max(box.width, box.height, size))), height, width, size)
    x = round(box.x + (box.width - side) / 2)
    y = round(box.y + (box.height - side) / 2)
    return Window(min(max(x, 0), width - side), min(max(y, 0), height - side), side)


def normal_windows(
    tissue: NDArray[np.bool_],
    lesions: Sequence[Box],
    sides: Sequence[int],
    *,
    size: int,
    rng: np.random.Generator,
) -> list[Window]:
    """Draw squares that lie wholly in tissue, off every lesion, and off each other.

    tissue: bool (H, W). sides: of the squares, in pixels, each at least `size` and cut to the
    image's shorter side; the largest is placed first. Every place that is possible is equally
    likely. A side for which there is no place is left out, so fewer may come back. Raises
    ShapeError when the image is smaller than `size`.
    """
    height, width = tissue.shape
    wanted = sorted((_fitting(side, height, width, size) for side in sides), reverse=True)
    filled = _blocked_sums(tissue, lesions)
    drawn: list[Window] = []
    places = np.empty((0, 0), dtype=bool)
    for number, side in enumerate(wanted):
        if number == 0 or side != wanted[number - 1]:
            places = _places(filled, side)
            for window in drawn:
                _block(places, window, side)
        found = _draw(places, rng)
        if found is not None:
            drawn.append(Window(found[1], found[0], side))
            _block(places, drawn[-1], side)
    return drawn


def _fitting(side: int, height: int, width: int, size: int) -> int:
    shorter = min(height, width)
    if size < 1 or shorter < size:
        raise ShapeError(
            f"an image of {width}x{height} pixels (width x height) has no patch of {size} pixels. "
            "Patches are not enlarged: choose a smaller size."
        )
    return min(max(side, size), shorter)


def _blocked_sums(tissue: NDArray[np.bool_], lesions: Sequence[Box]) -> NDArray[np.int32]:
    """Return the integral image, int32 (H + 1, W + 1), of the pixels no window may hold."""
    from skimage.transform import integral_image

    blocked = ~tissue
    for box in lesions:
        top, left = max(int(np.floor(box.y)), 0), max(int(np.floor(box.x)), 0)
        bottom, right = int(np.ceil(box.y + box.height)), int(np.ceil(box.x + box.width))
        blocked[top : max(bottom, 0), left : max(right, 0)] = True
    sums: NDArray[np.int32] = np.pad(integral_image(blocked, dtype=np.int32), ((1, 0), (1, 0)))
    return sums


def _places(sums: NDArray[np.int32], side: int) -> NDArray[np.bool_]:
    """Return at which top left corners, (H - side + 1, W - side + 1), a window blocks nothing."""
    above, below = sums[:-side], sums[side:]
    free: NDArray[np.bool_] = (
        below[:, side:] - below[:, :-side] == above[:, side:] - above[:, :-side]
    )
    return free


def _block(places: NDArray[np.bool_], window: Window, side: int) -> None:
    """Take away the corners from which a square of `side` would overlap a window."""
    rows = slice(max(window.y - side + 1, 0), window.y + window.side)
    places[rows, max(window.x - side + 1, 0) : window.x + window.side] = False


def _draw(places: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int] | None:
    """Return the row and column of a place drawn uniformly; None when there is none."""
    until = places.sum(axis=1).cumsum()
    if not until.size or not until[-1]:
        return None
    number = int(rng.integers(until[-1]))
    row = int(np.searchsorted(until, number, side="right"))
    column = np.flatnonzero(places[row])[number - (until[row - 1] if row else 0)]
    return row, int(column)


def _cut(pixels: NDArray[np.uint8], window: Window, size: int) -> NDArray[np.uint8]:
    rows, columns = slice(window.y, window.y + window.side), slice(window.x, window.x + window.side)
    patch: NDArray[np.uint8] = resize(pixels[None, :, rows, columns], size, size)[0]
    return patch
