"""Image files: which they are, and decoding them with Pillow."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ganaug.errors import DataError
from ganaug.pixels import from_pil
from ganaug.spec import DTYPE_RANGES

__all__ = [
    "SUFFIXES",
    "FilePixels",
    "has_images",
    "image_dtype",
    "image_files",
    "is_image",
    "read_image",
]

#: What an image file's name ends with.
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

#: Most pixels of an image that is decoded: 10,000 x 10,000.
MAX_PIXELS = 100_000_000

_T = TypeVar("_T")

_SMALLER = f"Expected at most {MAX_PIXELS:,}; make it smaller, or cut it into patches, first."


def is_image(path: Path) -> bool:
    """Tell whether a path is a file with the name of an image."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def image_files(folder: Path) -> list[Path]:
    """Return the image files anywhere below a folder, sorted; hidden ones are left out."""
    return sorted(_images_below(folder))


def has_images(folder: Path) -> bool:
    """Tell whether there is an image file anywhere below a folder, by the names."""
    return next(_images_below(folder), None) is not None


def read_image(path: Path) -> NDArray[Any]:
    """Decode an image file, upright: (C, H, W), uint8 for L and RGB, uint16 for 16-bit grey.

    Raises DataError, which names the file, when it is no image, is truncated, has more than
    100 million pixels (then it is not decoded), or has another mode.
    """
    return _guarded(_decode, path)


def image_dtype(path: Path) -> np.dtype[Any]:
    """Return the dtype that `read_image` gives a file's pixels, from its header alone.

    Raises DataError, which names the file, when it is no image.
    """
    return _guarded(_dtype, path)


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


def _images_below(folder: Path) -> Iterator[Path]:
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(above, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if is_image(path))


def _guarded(read: Callable[[Path], _T], path: Path) -> _T:
    """Read a file; every error becomes a DataError that names the file."""
    try:
        with warnings.catch_warnings():
            # The size is checked before anything is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return read(path)
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


def _dtype(path: Path) -> np.dtype[Any]:
    with Image.open(path) as image:
        return np.dtype(np.uint16 if image.mode.startswith("I") else np.uint8)


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
