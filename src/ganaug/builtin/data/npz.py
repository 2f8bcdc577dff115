"""Image sets in an .npz archive: plain, or in MedMNIST's layout."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ganaug.errors import DataError
from ganaug.labels import name_classes
from ganaug.spec import DTYPE_RANGES, LabelledImages

__all__ = ["open_npz"]

#: Most bytes of all arrays; more belongs in a folder, whose images need not be in memory at once.
MAX_BYTES = 8 * 2**30

#: Most bytes of an array's header; numpy refuses longer ones.
_HEADER_BYTES = 2**16

#: What damaged, encrypted and malicious archives raise when they are read.
_UNSOUND = (
    *(OSError, ValueError, EOFError, OverflowError, MemoryError, RuntimeError, SyntaxError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)

#: MedMNIST's names for the three sets of rows, and ours.
_SPLITS = {"train": "training", "val": "validation", "test": "holdout"}

_MEMBERS = (
    *("images", "labels", "class_names", "group"),
    *(f"{split}_{what}" for split in _SPLITS for what in ("images", "labels")),
)


def open_npz(location: Path) -> LabelledImages:
    """Open an archive of arrays.

    Plain: ``images`` (N, H, W), (N, H, W, 1) or (N, H, W, 3) of uint8, uint16 or float within
    [0, 1]; ``labels``, integers (N,) or (N, 1); perhaps ``class_names`` (K,) and ``group`` (N,),
    both text or whole numbers. Ids are row numbers. MedMNIST: ``train_images``, ``train_labels``
    and the same for ``val`` and ``test``, which become the splits training, validation and
    holdout; ids are ``train/0`` ...
    Raises DataError when the archive is missing, damaged or laid out otherwise, holds Python
    objects (nothing is unpickled) or would unpack to more than 8 GiB (then it is not unpacked).
    """
    if not location.is_file():
        raise DataError(f"{location} does not exist; expected an .npz archive.")
    try:
        arrays = _read(location)
        return _from_medmnist(arrays) if "train_images" in arrays else _from_plain(arrays)
    except DataError as error:
        raise DataError(f"{location}: {error}") from error


def _read(location: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(location) as archive:
            return _arrays(archive)
    except DataError:
        raise
    except _UNSOUND as error:
        raise DataError(f"not a sound .npz archive: {error}.") from error


def _arrays(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """Read the arrays that are wanted, once all their sizes are checked."""
    names = _members(archive)
    total = sum(_bytes(archive, name) for name in names)
    if total > MAX_BYTES:
        raise DataError(
            f"{', '.join(names)} would take {total / 2**30:,.1f} GiB; expected at most "
            f"{MAX_BYTES / 2**30:.0f}. Give large sets as a folder of images."
        )
    arrays = {}
    for name in names:
        with archive.open(f"{name}.npy") as member:
            arrays[name] = npy.read_array(member, allow_pickle=False)
    return arrays


def _members(archive: zipfile.ZipFile) -> list[str]:
    """Return the arrays that are wanted, of those the archive has."""
    files = archive.namelist()
    found = [name.removesuffix(".npy") for name in files if name.endswith(".npy")]
    if not ({"images", "labels"} <= set(found) or {"train_images", "train_labels"} <= set(found)):
        raise DataError(
            "expected the arrays images and labels (perhaps class_names and group), or MedMNIST's "
            f"train_images, train_labels, ...; found {', '.join((found or files)[:20]) or 'none'}."
        )
    return [name for name in _MEMBERS if name in found]


def _bytes(archive: zipfile.ZipFile, name: str) -> int:
    """Return what an array takes unpacked, by the archive's directory and by its own header."""
    stored = archive.getinfo(f"{name}.npy").file_size
    with archive.open(f"{name}.npy") as member:
        start = io.BytesIO(member.read(_HEADER_BYTES))  # a header can claim to be 4 GiB long
    version = npy.read_magic(start)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(start)
    if dtype.hasobject or dtype.names:
        raise DataError(f"the array {name} holds Python objects; expected numbers or text.")
    if min(shape, default=0) < 0:
        raise DataError(f"the array {name} is damaged: its header gives the shape {shape}.")
    claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if stored < claimed <= MAX_BYTES:
        raise DataError(
            f"the array {name} is damaged: its header promises {claimed} bytes, there are {stored}."
        )
    return max(claimed, stored)


def _from_plain(arrays: Mapping[str, NDArray[Any]]) -> LabelledImages:
    pixels, labels = _pixels(arrays, "images"), _labels(arrays, "labels", len(arrays["images"]))
    groups = _texts(arrays, "group")
    return LabelledImages(
        pixels=pixels,
        labels=labels,
        class_names=name_classes(labels, _texts(arrays, "class_names")),
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


def _texts(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[str, ...] | None:
    """Return an array of text or whole numbers as text, NaN as blank; None without values."""
    array = arrays.get(name)
    if array is None or not array.size:
        return None
    values = array.ravel()
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    elif values.dtype.kind == "f" and np.all(np.isnan(values) | _are_whole(values)):
        return tuple("" if np.isnan(value) else str(int(value)) for value in values)
    if values.dtype.kind not in "Uiu":
        raise DataError(f"{name} must be text or whole numbers; got {array.dtype}.")
    return tuple(str(value).strip() for value in values)


def _are_whole(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(values) & (values == np.round(values)))
