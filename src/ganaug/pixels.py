"""Conversions on pixel arrays: decoding a set into memory, resizing, and the range of networks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import DataError, ShapeError
from ganaug.spec import DTYPE_RANGES, LabelledImages

if TYPE_CHECKING:
    import torch
    from numpy.typing import DTypeLike, NDArray
    from PIL import Image

__all__ = ["from_pil", "from_signed", "load_pixels", "resize", "to_pil", "to_signed"]

#: Pillow's modes that have a bit depth and channels of their own, and what they hold.
_PIL_DTYPES = {"L": np.uint8, "RGB": np.uint8, "I;16": np.uint16}

#: Values worked on at a time, so that a large set never exists twice in float32.
_CHUNK_VALUES = 2**23


def load_pixels(images: LabelledImages, size: int | None) -> NDArray[Any]:
    """Decode every image once into one array (N, C, H, W) at its own dtype.

    size: height and width to resize to, in pixels; None keeps the size, which then must be the
    same for all. An array that is already of that size is returned as it is.
    Raises DataError when there are no images, when they differ in channels, dtype or (without
    `size`) in size, and for values that are not finite or outside ``images.value_range``;
    ShapeError when `size` is below one.
    """
    if size is not None and size < 1:
        raise ShapeError(f"The size must be at least 1 pixel; got {size}.")
    if not len(images):
        raise DataError("There are no images to load; expected at least one.")
    if isinstance(images.pixels, np.ndarray):
        return _load_array(images, images.pixels, size)
    return _load_items(images, size)


def resize(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Resize pixels (N, C, H, W) to (N, C, height, width), bicubic with antialiasing.

    The dtype stays; integers are rounded, and each image stays within its own lowest and highest
    value, so the overshoot of bicubic interpolation never leaves the value range. Returns the
    same array when it has that size already.
    """
    if pixels.shape[2:] == (height, width):
        return pixels
    n, channels = pixels.shape[:2]
    resized = np.empty((n, channels, height, width), pixels.dtype)
    rows = _rows_at_a_time(pixels.shape[1:], (channels, height, width))
    for start in range(0, n, rows):
        resized[start : start + rows] = _resize_chunk(pixels[start : start + rows], height, width)
    return resized


def to_signed(pixels: NDArray[Any], value_range: tuple[float, float]) -> torch.Tensor:
    """Map pixels of any dtype within `value_range` to a float32 tensor of that shape in [-1, 1]."""
    import torch

    low, high = value_range
    signed = pixels.astype(np.float32)
    signed -= np.float32(low)
    signed *= np.float32(2.0 / (high - low))
    signed -= np.float32(1.0)
    return torch.from_numpy(signed)


def from_signed(
    images: torch.Tensor, *, dtype: DTypeLike, value_range: tuple[float, float]
) -> NDArray[Any]:
    """Map a tensor in [-1, 1] to pixels of `dtype` within `value_range`; the shape stays.

    What lies outside [-1, 1] is clamped, integers are rounded. Inverse of `to_signed`, exactly
    so for uint8 and uint16.
    """
    low, high = value_range
    signed = images.detach().cpu().float().numpy()
    values = (signed + np.float32(1.0)) * np.float32((high - low) / 2.0) + np.float32(low)
    if np.issubdtype(np.dtype(dtype), np.integer):
        values = values.round()
    pixels: NDArray[Any] = values.clip(low, high).astype(dtype)
    return pixels


def from_pil(image: Image.Image) -> NDArray[Any]:
    """Return the pixels (C, H, W) of a Pillow image: uint8 for L and RGB, uint16 for I;16.

    Raises DataError for any other mode.
    """
    if image.mode not in _PIL_DTYPES:
        raise DataError(
            f"Pillow mode {image.mode!r} is not supported; expected L, RGB or I;16. Convert it "
            "first: image.convert('L') for greyscale, image.convert('RGB') for colour."
        )
    pixels = np.array(image, dtype=_PIL_DTYPES[image.mode])
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def to_pil(pixels: NDArray[Any]) -> Image.Image:
    """Return pixels (C, H, W) as a Pillow image: L or RGB for uint8, I;16 for one uint16 channel.

    Raises DataError for pixels that none of them can hold.
    """
    from PIL import Image

    if (len(pixels), str(pixels.dtype)) not in {(1, "uint8"), (3, "uint8"), (1, "uint16")}:
        raise DataError(
            "A Pillow image has 1 or 3 channels of uint8, or 1 of uint16; "
            f"got {len(pixels)} of {pixels.dtype}."
        )
    if len(pixels) == 1:
        return Image.fromarray(np.ascontiguousarray(pixels[0]))
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, 2)))


def _load_array(images: LabelledImages, pixels: NDArray[Any], size: int | None) -> NDArray[Any]:
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise DataError(f"An array of images has the shape (N, C, H, W); got {pixels.shape}.")
    _check_dtype(pixels, images)
    rows = _rows_at_a_time(pixels.shape[1:])
    for start in range(0, len(pixels), rows):
        _check_values(pixels[start : start + rows], start, images)
    return pixels if size is None else resize(pixels, size, size)


def _load_items(images: LabelledImages, size: int | None) -> NDArray[Any]:
    first = _item(images, 0)
    channels, height, width = first.shape
    height, width = (height, width) if size is None else (size, size)
    loaded = np.empty((len(images), channels, height, width), first.dtype)
    for row in range(len(images)):
        item = first if row == 0 else _item(images, row)
        if (len(item), item.dtype) != (channels, first.dtype):
            raise _mixed_modes(images)
        if size is None and item.shape != first.shape:
            raise _mixed_sizes(images)
        _check_values(item[None], row, images)
        loaded[row] = resize(item[None], height, width)[0]
    return loaded


def _item(images: LabelledImages, row: int) -> NDArray[Any]:
    item = np.asarray(images.pixels[row])
    if item.ndim != 3 or 0 in item.shape:
        raise DataError(f"Image {images.ids[row]}: expected the shape (C, H, W); got {item.shape}.")
    _check_dtype(item, images, row)
    return item


def _check_dtype(pixels: NDArray[Any], images: LabelledImages, row: int | None = None) -> None:
    low, high = images.value_range
    if not (np.isfinite([low, high]).all() and low < high):
        raise DataError(f"value_range must be (lowest, highest), both finite; got ({low}, {high}).")
    if pixels.dtype not in DTYPE_RANGES:
        where = "Images" if row is None else f"Image {images.ids[row]}:"
        names = ", ".join(str(dtype) for dtype in DTYPE_RANGES)
        raise DataError(f"{where} expected {names}; got {pixels.dtype}. Convert them first.")


def _check_values(pixels: NDArray[Any], start: int, images: LabelledImages) -> None:
    """Refuse values that are not finite or out of range; `start` is the row of the first image."""
    low, high = images.value_range
    own_range = DTYPE_RANGES[pixels.dtype]
    if pixels.dtype.kind == "u" and low <= own_range[0] and high >= own_range[1]:
        return
    lowest, highest = pixels.min(axis=(1, 2, 3)), pixels.max(axis=(1, 2, 3))
    bad = ~((lowest >= low) & (highest <= high))  # NaN compares false, so it is bad as well
    if not bad.any():
        return
    row = int(np.argmax(bad))
    where = f"Image {images.ids[start + row]}"
    if not np.isfinite(pixels[row]).all():
        count = int((~np.isfinite(pixels[row])).sum())
        raise DataError(
            f"{where} has {count} pixel values that are not finite numbers (NaN or infinity); "
            "repair it or leave it out."
        )
    raise DataError(
        f"{where} has values from {lowest[row]:g} to {highest[row]:g}, outside the value range "
        f"{low:g} to {high:g}. Pass value_range=(lowest, highest) of the whole set; for images "
        "normalised by mean and standard deviation, give the raw images and the normalisation "
        "as image_transform=."
    )


def _mixed_sizes(images: LabelledImages) -> DataError:
    sizes = Counter(_item(images, row).shape[1:] for row in range(len(images)))
    found = [f"{height}x{width} ({count})" for (height, width), count in sizes.most_common()]
    return DataError(
        f"The images have {len(sizes)} sizes (height x width): {_handful(found)}. "
        "Pass size= (--size PX) to resize all of them to one square."
    )


def _mixed_modes(images: LabelledImages) -> DataError:
    items = (_item(images, row) for row in range(len(images)))
    modes = Counter((len(item), str(item.dtype)) for item in items)
    found = [
        f"{count} with {channels} channel{'s' if channels > 1 else ''} of {dtype}"
        for (channels, dtype), count in modes.most_common()
    ]
    of_both_depths = {"uint8", "uint16"} <= {dtype for _, dtype in modes}
    return DataError(
        f"The images have mixed modes: {_handful(found)}. Convert all of them to one first "
        "(for instance with Pillow's Image.convert: 'L' for greyscale, 'RGB' for colour)."
        + (" Grey DICOM and NIfTI all have 16 bits with --window full." if of_both_depths else "")
    )


def _handful(parts: list[str]) -> str:
    return ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")


def _rows_at_a_time(*shapes: tuple[int, ...]) -> int:
    return max(1, _CHUNK_VALUES // max(int(np.prod(shape)) for shape in shapes))


def _resize_chunk(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    import torch
    from torch.nn.functional import interpolate

    values = torch.from_numpy(pixels.astype(np.float32))
    lowest, highest = (f(values, dim=(1, 2, 3), keepdim=True) for f in (torch.amin, torch.amax))
    values = interpolate(values, (height, width), mode="bicubic", antialias=True)
    values = torch.minimum(torch.maximum(values, lowest), highest)
    if pixels.dtype.kind in "ui":
        values = values.round()
    resized: NDArray[Any] = values.numpy().astype(pixels.dtype)
    return resized
