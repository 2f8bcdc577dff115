"""Images as filters look at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from ganaug.pixels import to_signed

__all__ = ["signed_chunks"]

_CHUNK = 128


def signed_chunks(pixels: NDArray[Any], value_range: tuple[float, float]) -> Iterator[Tensor]:
    """Yield images, (N, C, H, W) within `value_range`, as float32 in [-1, 1], some at a time."""
    for start in range(0, len(pixels), _CHUNK):
        yield to_signed(pixels[start : start + _CHUNK], value_range)
