"""Contrast of whole images: min-max to 8 bit, histogram equalisation, CLAHE."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CONTRASTS", "adjust_contrast", "to_uint8"]

#: What `adjust_contrast` can do.
CONTRASTS = ("none", "equalize", "clahe")


def to_uint8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Map an image's own lowest value to 0 and its highest to 255, linearly, rounded.

    pixels: (C, H, W) of any real dtype; channels share one range, so hues stay. Returns uint8 of
    that shape. Raises DataError when values are not finite, or are all the same.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite([low, high]).all():
        raise DataError("it has values that are not finite numbers (NaN or infinity).")
    if low == high:
        raise DataError(f"it is constant: every pixel is {low:g}.")
    # float32 holds 16-bit integers exactly, in half the memory
    values: NDArray[Any] = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
    values -= low
    values *= 255.0 / (high - low)
    return _levels(values)


def adjust_contrast(
    pixels: NDArray[np.uint8], name: str, *, tissue: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Change the contrast of a whole image, (C, H, W) uint8; the same shape and dtype come back.

    name: "none"; "equalize", one histogram equalisation, over the `tissue` (H, W) only when it is
    given, because the dark background of a mammogram would take half of the grey levels; "clahe",
    contrast-limited adaptive histogram equalisation (Zuiderveld 1994) with scikit-image's tiles of
    an eighth of the image and clip limit .01. Of three channels the value of HSV is changed.
    Raises ConfigError for another name.
    """
    if name not in CONTRASTS:
        raise ConfigError(
            f"There is no contrast {name!r}.{nearest(name, CONTRASTS)} "
            f"The choices are {', '.join(CONTRASTS)}."
        )
    if name == "none":
        return pixels
    from skimage.exposure import equalize_adapthist, equalize_hist

    if name == "clahe":
        return _on_grey(pixels, equalize_adapthist)
    mask = tissue if tissue is not None and tissue.any() else None
    return _on_grey(pixels, lambda grey: equalize_hist(grey, mask=mask))


def _on_grey(
    pixels: NDArray[np.uint8], change: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.uint8]:
    """Apply a function (H, W) -> (H, W) in [0, 1] to the grey values, or to the value of HSV."""
    if len(pixels) == 3:
        from skimage.color import hsv2rgb, rgb2hsv

        hsv = rgb2hsv(pixels, channel_axis=0)
        hsv[2] = change(hsv[2])
        changed = hsv2rgb(hsv, channel_axis=0)
    else:
        changed = np.stack([change(channel) for channel in pixels])
    return _levels(changed * 255.0)


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = values.round().clip(0, 255).astype(np.uint8)
    return levels
