"""Image files: which they are, and decoding them with Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ganaug.errors import DataError
from ganaug.pixels import from_pil
from ganaug.spec import DTYPE_RANGES

__all__ = ["SUFFIXES", "FilePixels", "image_files", "read_image"]

#: What an image file's name ends with.
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

#: Most pixels of an image that is decoded: 10,000 x 10,000.
MAX_PIXELS = 100_000_000

_SMALLER = f"Expected at most {MAX_PIXELS:,}; make it smaller, or cut it into patches, first."


def image_files(folder: Path) -> list[Path]:
    """Return the image files anywhere below a folder, sorted; hidden ones are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(
        path
        for path in found
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


def read_image(path: Path) -> NDArray[Any]:
    """Decode an image file, upright: (C, H, W), uint8 for L and RGB, uint16 for 16-bit grey.

    Raises DataError, which names the file, when it is no image, is truncated, has more than
    100 million pixels (then it is not decoded), or has another mode.
    """
    try:
        with warnings.catch_warnings():
            # The size is checked below, before anything is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _decode(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: the image is too large. {error} {_SMALLER}") from error
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        what = "is empty (0 bytes)" if empty else "is not an image that Pillow can read"
        raise DataError(f"{path} {what}. Repair it or leave it out.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise
        raise DataError(
            f"{path} cannot be decoded; it is damaged or truncated ({error}). "
            "Repair it or leave it out."
        ) from error


class FilePixels(Sequence[Any]):
    """The pixels of image files, decoded when they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return read_image(self._paths[index])

    def value_range(self) -> tuple[float, float]:
        """Return the value range of the first file's dtype; decodes that file."""
        return DTYPE_RANGES[self[0].dtype]


def _decode(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise DataError(f"the image is too large. It has {width} x {height} pixels. {_SMALLER}")
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise DataError(
                f"the file holds {frames} images; expected one. Save each in a file of its own."
            )
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "I" and image.format == "PNG":
            # Pillow before 11.3 opens 16-bit greyscale PNG files in its 32-bit mode.
            return np.array(upright, dtype=np.uint16)[None]
        return from_pil(upright)
