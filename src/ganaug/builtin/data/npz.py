"""Image sets in an .npz archive: plain, or in MedMNIST's layout."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ganaug.errors import DataError
from ganaug.labels import name_classes
from ganaug.spec import DTYPE_RANGES, LabelledImages

__all__ = ["open_npz"]

#: Most bytes of one array; more belongs in a folder, whose images need not be in memory at once.
MAX_BYTES = 8 * 2**30

#: MedMNIST's names for the three sets of rows, and ours.
_SPLITS = {"train": "training", "val": "validation", "test": "holdout"}

_MEMBERS = (
    *("images", "labels", "class_names", "group"),
    *(f"{split}_{what}" for split in _SPLITS for what in ("images", "labels")),
)


def open_npz(location: Path) -> LabelledImages:
    """Open an archive of arrays.

    Plain: ``images`` (N, H, W), (N, H, W, 1) or (N, H, W, 3) of uint8, uint16 or float within
    [0, 1]; ``labels``, integers (N,) or (N, 1); perhaps ``class_names`` (K,) and ``group`` (N,).
    Ids are row numbers. MedMNIST: ``train_images``, ``train_labels`` and the same for ``val`` and
    ``test``, which become the splits training, validation and holdout; ids are ``train/0`` ...
    Raises DataError when the archive is missing, damaged or laid out otherwise.
    """
    try:
        with zipfile.ZipFile(location) as archive:
            arrays = {name: _read(archive, name) for name in _members(archive)}
    except DataError as error:
        raise DataError(f"{location}: {error}") from error
    except FileNotFoundError as error:
        raise DataError(f"{location} does not exist; expected an .npz archive.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{location} is not a sound .npz archive: {error}.") from error
    try:
        medmnist = "train_images" in arrays
        return _from_medmnist(arrays) if medmnist else _from_plain(arrays)
    except DataError as error:
        raise DataError(f"{location}: {error}") from error


def _members(archive: zipfile.ZipFile) -> list[str]:
    """Return the arrays that are wanted, of those the archive has."""
    found = [name.removesuffix(".npy") for name in archive.namelist()]
    if not ({"images", "labels"} <= set(found) or {"train_images", "train_labels"} <= set(found)):
        raise DataError(
            "expected the arrays images and labels (perhaps class_names and group), or MedMNIST's "
            f"train_images, train_labels, ...; found {', '.join(found) or 'none'}."
        )
    return [name for name in _MEMBERS if name in found]


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read an array after its size is checked, in the archive's directory and in its own header."""
    stored = archive.getinfo(f"{name}.npy").file_size
    with archive.open(f"{name}.npy") as member:
        shape, dtype = _header(member, name)
    claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if max(claimed, stored) > MAX_BYTES:
        raise DataError(
            f"the array {name} would take {max(claimed, stored) / 2**30:,.1f} GiB; expected at "
            f"most {MAX_BYTES / 2**30:.0f}. Give large sets as a folder of images."
        )
    if claimed > stored:
        raise DataError(
            f"the array {name} is damaged: its header promises {claimed} bytes, there are {stored}."
        )
    with archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = npy.read_array(member, allow_pickle=False)
    return array


def _header(member: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    if dtype.hasobject or dtype.names:
        raise DataError(f"the array {name} holds Python objects; expected numbers or text.")
    return shape, dtype


def _from_plain(arrays: Mapping[str, NDArray[Any]]) -> LabelledImages:
    pixels, labels = _pixels(arrays, "images"), _labels(arrays, "labels", len(arrays["images"]))
    names = arrays.get("class_names")
    groups = None
    if arrays.get("group") is not None and arrays["group"].size:
        groups = tuple(str(group).strip() for group in arrays["group"].ravel())
    return LabelledImages(
        pixels=pixels,
        labels=labels,
        class_names=name_classes(labels, None if names is None else [str(n) for n in names.flat]),
        value_range=DTYPE_RANGES[pixels.dtype],
        groups=groups if groups and any(groups) else None,
    )


def _from_medmnist(arrays: Mapping[str, NDArray[Any]]) -> LabelledImages:
    parts = [split for split in _SPLITS if f"{split}_images" in arrays]
    pixels = [_pixels(arrays, f"{split}_images") for split in parts]
    labels = [
        _labels(arrays, f"{split}_labels", len(part))
        for split, part in zip(parts, pixels, strict=True)
    ]
    if len({(part.shape[1:], part.dtype) for part in pixels}) > 1:
        found = ", ".join(f"{part.shape[1:]} {part.dtype}" for part in pixels)
        raise DataError(f"the images of {', '.join(parts)} differ in shape or dtype: {found}.")
    every = np.concatenate(labels)
    sizes = dict(zip(parts, map(len, pixels), strict=True))
    return LabelledImages(
        pixels=np.concatenate(pixels),
        labels=every,
        class_names=name_classes(every, None),
        value_range=DTYPE_RANGES[pixels[0].dtype],
        ids=tuple(f"{split}/{row}" for split, size in sizes.items() for row in range(size)),
        splits=tuple(_SPLITS[split] for split, size in sizes.items() for _ in range(size)),
    )


def _pixels(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return an array of images as (N, C, H, W)."""
    images = arrays[name]
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise DataError(
            f"{name} must have the shape (N, H, W), (N, H, W, 1) or (N, H, W, 3); "
            f"got {arrays[name].shape}."
        )
    if not len(images):
        raise DataError(f"{name} is empty; expected at least one image.")
    images = images.astype(np.float32) if images.dtype.kind == "f" else images
    if images.dtype not in DTYPE_RANGES:
        raise DataError(
            f"{name} must be uint8, uint16 or float; got {images.dtype}. Convert it with astype."
        )
    return np.ascontiguousarray(np.moveaxis(images, 3, 1))


def _labels(arrays: Mapping[str, NDArray[Any]], name: str, n: int) -> NDArray[np.int64]:
    labels = arrays.get(name)
    if labels is None:
        raise DataError(f"there is no {name} to go with the images.")
    if labels.shape not in ((n,), (n, 1)) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{name} must be integers of the shape ({n},) or ({n}, 1), one class an image; "
            f"got {labels.dtype} of {labels.shape}."
        )
    return labels.reshape(n).astype(np.int64)
