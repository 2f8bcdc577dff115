"""Any map-style dataset as labelled images, and images back in the form the dataset gave them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from ganaug.errors import DataError
from ganaug.items import LABEL_KEYS, ItemFormat, first_item, integer, pixels_of, split_item
from ganaug.labels import name_classes
from ganaug.spec import DTYPE_RANGES, LabelledImages

__all__ = ["ItemFormat", "labelled_images"]


def labelled_images(
    dataset: Any,
    *,
    groups: Sequence[Any] | None = None,
    value_range: tuple[float, float] | None = None,
) -> LabelledImages:
    """Adapt a map-style dataset of (image, label) items, or pass labelled images through.

    dataset: anything with ``len`` and ``[index]`` whose items are pairs or dicts (``image``,
        ``img`` or ``pixel_values``; ``label`` or ``labels``): torchvision's and Hugging Face's
        datasets, MONAI's, TensorDataset; `Subset` and `ConcatDataset` of them too. Images are
        Pillow's (L, RGB, I;16), tensors (C, H, W) or (H, W), or arrays (H, W), (H, W, C) or
        (C, H, W), of uint8, uint16 or float (which becomes float32). Labels are integers.
    groups: the patient, lesion or volume of each row; None, NaN or "" for a row without one.
    value_range: lowest and highest value a pixel can have; by default that of the dtype,
        (0, 1) for float.

    Images are read when their pixels are. Labels come from the dataset's own list of them where
    there is one, otherwise from one pass over the items, which keeps what it has decoded.
    Raises DataError for items, images or labels that are none of the above, naming the row.
    """
    if isinstance(dataset, LabelledImages):
        images = dataset if value_range is None else replace(dataset, value_range=value_range)
        return images if groups is None else replace(images, groups=_group_names(groups))
    image, label = split_item(first_item(dataset), 0)
    pixels: Sequence[NDArray[Any]]
    first, first_label = pixels_of(image, 0), integer(label, 0)
    labels = _listed_labels(dataset)
    if labels is not None and labels[0] == first_label:
        pixels = _DatasetPixels(dataset, labels)
    else:
        pixels, labels = _read_all(dataset)
    return LabelledImages(
        pixels=pixels,
        labels=labels,
        class_names=name_classes(labels, _class_names(dataset)),
        value_range=value_range or DTYPE_RANGES[first.dtype],
        groups=None if groups is None else _group_names(groups),
    )


class _DatasetPixels(Sequence[Any]):
    """The pixels of a dataset, read when they are asked for; labels are known beforehand."""

    def __init__(self, dataset: Any, labels: NDArray[np.int64]) -> None:
        self._dataset = dataset
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: Any) -> Any:
        row = range(len(self))[index]
        image, label = split_item(self._dataset[row], row)
        if integer(label, row) != self._labels[row]:
            raise DataError(
                f"Row {row}: the item's label is {label} but the dataset's list of labels says "
                f"{self._labels[row]}. Make them agree, or remove the list (targets or labels)."
            )
        return pixels_of(image, row)


def _read_all(dataset: Any) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
    pixels, labels = [], []
    for row in range(len(dataset)):
        image, label = split_item(dataset[row], row)
        pixels.append(pixels_of(image, row))
        labels.append(integer(label, row))
    return pixels, np.array(labels, dtype=np.int64)


def _listed_labels(dataset: Any) -> NDArray[np.int64] | None:
    """Return labels that a dataset keeps in a list, if it does; its items are not read."""
    if isinstance(dataset, Subset):
        labels = _listed_labels(dataset.dataset)
        return None if labels is None else labels[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [part for part in map(_listed_labels, dataset.datasets) if part is not None]
        return np.concatenate(parts) if len(parts) == len(dataset.datasets) else None
    if getattr(dataset, "target_transform", None) is not None:
        return None
    columns = [getattr(dataset, name, None) for name in ("targets", "labels")]
    if isinstance(dataset, TensorDataset):
        columns.append(dataset.tensors[-1])
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping) and hasattr(dataset, "column_names"):  # Hugging Face's
        columns += [list(dataset[key]) for key in LABEL_KEYS if key in features]
    for column in columns:
        if column is not None and (labels := _as_integers(column, len(dataset))) is not None:
            return labels
    return None


def _as_integers(column: Any, n: int) -> NDArray[np.int64] | None:
    try:
        labels = np.asarray(column)
    except (TypeError, ValueError):
        return None
    if labels.dtype.kind not in "iu" or labels.size != n:
        return None
    return labels.reshape(n).astype(np.int64)


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    """Return the names that a dataset gives its classes, if it does."""
    if isinstance(dataset, Subset):
        return _class_names(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        found = {_class_names(part) for part in dataset.datasets}
        if len(found) > 1:
            listed = " and ".join("none" if names is None else ", ".join(names) for names in found)
            raise DataError(
                f"The parts of a ConcatDataset must have the same classes; got {listed}."
            )
        return found.pop()
    names = getattr(dataset, "classes", None)
    features = getattr(dataset, "features", None)
    if names is None and isinstance(features, Mapping):  # Hugging Face's ClassLabel
        labels = [features[key] for key in LABEL_KEYS if key in features]
        names = getattr(labels[0], "names", None) if labels else None
    info = getattr(dataset, "info", None)
    if names is None and isinstance(info, Mapping):  # MedMNIST's {"0": name, ...}
        by_index = info.get("label", {})
        names = [by_index[key] for key in sorted(by_index, key=int)]
    if isinstance(names, str) or not isinstance(names, Sequence | np.ndarray) or not len(names):
        return None
    return tuple(", ".join(name) if isinstance(name, tuple) else str(name) for name in names)


def _group_names(groups: Sequence[Any]) -> tuple[str, ...]:
    blank = [group is None or (isinstance(group, float) and math.isnan(group)) for group in groups]
    return tuple("" if no else str(group) for group, no in zip(groups, blank, strict=True))
