"""Sets of MedMNIST (Yang et al. 2023) through the official package."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import medmnist
import numpy as np

from ganaug import LabelledImages
from ganaug.errors import DataError
from ganaug_medmnist import MedMNISTConfig

__all__ = ["open_set"]

#: MedMNIST's names for the three sets of rows, and ganaug's.
_SPLITS = {"train": "training", "val": "validation", "test": "holdout"}


def open_set(config: MedMNISTConfig, name: str) -> LabelledImages:
    """Open a set by its name, such as ``dermamnist``, all three splits.

    Pixels are uint8, (N, 1, S, S) or (N, 3, S, S); ids are ``train/0`` ...; splits are the official
    ones, named training, validation and holdout. Groups are not known to MedMNIST.

    Raises DataError for a name that MedMNIST has not, a set of volumes or of several labels an
    image, and files that are missing, damaged or cannot be downloaded.
    """
    info = _info(name)
    parts = {split: _part(config, name, info, split) for split in _SPLITS}
    shapes = {images.shape[1:] for images, _ in parts.values()}
    if len(shapes) > 1:
        found = ", ".join(map(str, sorted(shapes)))
        raise DataError(f"The splits of {name} have images of different shapes: {found}.")
    return LabelledImages(
        pixels=np.concatenate([images for images, _ in parts.values()]),
        labels=np.concatenate([labels for _, labels in parts.values()]),
        class_names=tuple(info["label"][str(index)] for index in range(len(info["label"]))),
        value_range=(0.0, 255.0),
        ids=tuple(f"{part}/{row}" for part in _SPLITS for row in range(len(parts[part][1]))),
        splits=tuple(split for part, split in _SPLITS.items() for _ in parts[part][1]),
    )


def _info(name: str) -> dict[str, Any]:
    """Return what MedMNIST says of a set; refuse what ganaug cannot open."""
    flat = [each for each in medmnist.INFO if not each.endswith("3d")]
    if name not in medmnist.INFO:
        close = get_close_matches(name, flat, n=1)
        near = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(f"MedMNIST has no set {name!r}.{near} Choose from {', '.join(flat)}.")
    info: dict[str, Any] = medmnist.INFO[name]
    if name not in flat:
        raise DataError(f"{name} holds volumes; ganaug makes images. Choose a set without 3d.")
    if "multi-label" in info["task"]:
        raise DataError(f"{name} has several labels an image; expected one class an image.")
    return info


def _part(
    config: MedMNISTConfig, name: str, info: dict[str, Any], split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, C, S, S) and labels (N,) of one split, downloaded if that is allowed."""
    where = {} if config.root is None else {"root": _folder(config, name)}
    try:
        opened = getattr(medmnist, info["python_class"])(
            split=split, size=config.size, download=config.root is None, **where
        )
        images, labels = np.asarray(opened.imgs), np.asarray(opened.labels)
    except Exception as error:  # the package raises bare RuntimeErrors, numpy what it likes
        text = " ".join(str(error).split())
        raise DataError(f"The {split} rows of {name} could not be opened: {text}") from error
    side = config.size
    wanted = (side, side) if info["n_channels"] == 1 else (side, side, 3)
    if images.dtype != np.uint8 or images.shape[1:] != wanted:
        raise DataError(
            f"The {split} images of {name} are {images.dtype} of {images.shape[1:]}; expected "
            f"uint8 of {wanted}."
        )
    if labels.shape != (len(images), 1):
        raise DataError(
            f"The {split} labels of {name} have the shape {labels.shape}; expected "
            f"({len(images)}, 1)."
        )
    images = images[..., None] if images.ndim == 3 else images
    return np.moveaxis(images, 3, 1), labels[:, 0].astype(np.int64)


def _folder(config: MedMNISTConfig, name: str) -> str:
    """Return the root, which has the set's file."""
    root = Path(str(config.root)).expanduser()
    file = root / (f"{name}.npz" if config.size == 28 else f"{name}_{config.size}.npz")
    if not file.is_file():
        raise DataError(
            f"There is no {file}. Put MedMNIST's file of that name there, or leave out root, and "
            "it is downloaded to ~/.medmnist."
        )
    return str(root)
