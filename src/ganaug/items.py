"""The items of a dataset: taken apart into pixels and a label, and put together again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ganaug.errors import DataError
from ganaug.pixels import from_pil, to_pil
from ganaug.spec import DTYPE_RANGES, LabelledImages

__all__ = [
    "IMAGE_KEYS",
    "LABEL_KEYS",
    "ItemFormat",
    "first_item",
    "integer",
    "pixels_of",
    "split_item",
]

#: The keys that a dict item may have its image and its label under.
IMAGE_KEYS = ("image", "img", "pixel_values")
LABEL_KEYS = ("label", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFormat:
    """The form of a dataset's items, so that synthetic ones can be given in the same.

    container: tuple, list or dict. keys: of a dict, in its order; the image's and the label's.
    extra_keys: others, which synthetic items cannot have.
    image_type: Pillow's ``Image``, a tensor class or ``ndarray``. layout: "HW", "HWC" or "CHW".
    dtype: the images' own, torch's or numpy's. pixel_dtype, channels: of the pixels (C, H, W)
    that `images` takes. label_type: int, a numpy scalar, a tensor class or ``ndarray``;
    label_dtype, label_shape: of a label that has them. Picklable.
    """

    container: type
    keys: tuple[str, ...]
    extra_keys: tuple[str, ...]
    image_type: type
    layout: str
    dtype: Any
    pixel_dtype: np.dtype[Any]
    channels: int
    value_range: tuple[float, float]
    label_type: type
    label_dtype: Any
    label_shape: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Any, value_range: tuple[float, float] | None = None) -> ItemFormat:
        """Look at the first item of a dataset.

        Raises DataError when the item is no image and label.
        """
        item = first_item(dataset)
        image, label = split_item(item, 0)
        keys: tuple[str, ...] = ()
        if isinstance(item, Mapping):
            keys = tuple(key for key in item if key in (*IMAGE_KEYS, *LABEL_KEYS))
        extra_keys = tuple(str(key) for key in item if key not in keys) if keys else ()
        pixels = pixels_of(image, 0)
        is_pil = isinstance(image, Image.Image)
        integer(label, 0)
        return cls(
            container=dict if keys else tuple if isinstance(item, tuple) else list,
            keys=keys,
            extra_keys=extra_keys,
            image_type=Image.Image if is_pil else type(image),
            layout="HWC" if is_pil else _layout(image),
            dtype=None if is_pil else image.dtype,
            pixel_dtype=pixels.dtype,
            channels=len(pixels),
            value_range=value_range or DTYPE_RANGES[pixels.dtype],
            label_type=type(label),
            label_dtype=getattr(label, "dtype", None),
            label_shape=tuple(getattr(label, "shape", ())),
        )

    def images(self, pixels: NDArray[Any]) -> list[Any]:
        """Return pixels (N, C, H, W) of `pixel_dtype` as images of this kind, dtype and layout.

        They may share the memory of `pixels`, which should be the caller's to give away.
        """
        if issubclass(self.image_type, Image.Image):
            return [to_pil(image) for image in pixels]
        if self.layout == "HW":
            pixels = pixels[:, 0]
        elif self.layout == "HWC":
            pixels = np.moveaxis(pixels, 1, 3)
        pixels = np.ascontiguousarray(pixels)
        if issubclass(self.image_type, np.ndarray):
            return list(pixels.astype(self.dtype, copy=False))
        return _as_class(torch.from_numpy(pixels).to(self.dtype), self.image_type)

    def items(self, images: Sequence[Any], labels: Sequence[int]) -> list[Any]:
        """Return images of this kind and their classes as items in the dataset's container.

        Raises DataError when the dataset's items have more than these.
        """
        if self.extra_keys:
            raise DataError(
                f"The dataset's items have keys besides image and label: "
                f"{', '.join(map(repr, self.extra_keys))}; a synthetic image has no such values. "
                "Drop these keys first."
            )
        pairs = zip(images, self._labels(labels), strict=True)
        if self.container is dict:
            if self.keys[0] in IMAGE_KEYS:
                return [dict(zip(self.keys, pair, strict=True)) for pair in pairs]
            return [dict(zip(self.keys, pair[::-1], strict=True)) for pair in pairs]
        return [list(pair) for pair in pairs] if self.container is list else list(pairs)

    def _labels(self, labels: Sequence[int]) -> list[Any]:
        if issubclass(self.label_type, torch.Tensor):  # of one element, whatever its shape
            column = torch.tensor(labels, dtype=self.label_dtype)
            return _as_class(column.reshape(-1, *self.label_shape), self.label_type)
        if issubclass(self.label_type, np.ndarray):
            return [np.full(self.label_shape, label, self.label_dtype) for label in labels]
        scalar: type[Any] = self.label_type
        return [scalar(label) for label in labels]


def first_item(dataset: Any) -> Any:
    """Return item 0 of a map-style dataset. Raises DataError when it is none, or empty."""
    if isinstance(dataset, LabelledImages) and len(dataset):
        return torch.from_numpy(np.asarray(dataset.pixels[0])), int(dataset.labels[0])
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(
            "Expected a map-style dataset, with len() and [index], of (image, label) items; "
            f"got {type(dataset).__name__}."
        )
    if not len(dataset):
        raise DataError("The dataset is empty; expected at least one (image, label) item.")
    return dataset[0]


def split_item(item: Any, row: int) -> tuple[Any, Any]:
    """Return the image and the label of an item. Raises DataError when it is no such pair."""
    if isinstance(item, Mapping):
        images, labels = ([key for key in keys if key in item] for keys in (IMAGE_KEYS, LABEL_KEYS))
        if len(images) == len(labels) == 1:
            return item[images[0]], item[labels[0]]
        raise DataError(
            f"Row {row}: a dict item needs one image key ({', '.join(IMAGE_KEYS)}) and one label "
            f"key ({', '.join(LABEL_KEYS)}); got the keys {', '.join(map(str, item))}."
        )
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    found = type(item).__name__
    found += f" of {len(item)}" if isinstance(item, tuple | list) else ""
    raise DataError(f"Row {row}: expected an (image, label) pair or a dict; got a {found}.")


def _layout(image: Any) -> str:
    """Return the layout of a tensor or array: tensors lead with channels, arrays end with them."""
    if image.ndim == 2:
        return "HW"
    is_array = isinstance(image, np.ndarray)
    return "HWC" if is_array and image.shape[-1] in (1, 3) else "CHW"


def pixels_of(image: Any, row: int) -> NDArray[Any]:
    """Return an image as pixels (C, H, W) of uint8, uint16 or float32; `row` is for the error.

    Raises DataError when it is no image of 1 or 3 channels of a supported dtype.
    """
    if isinstance(image, Image.Image):
        try:
            return from_pil(image)
        except DataError as error:
            raise DataError(f"Row {row}: {error}") from error
    if not isinstance(image, torch.Tensor | np.ndarray):
        raise DataError(
            f"Row {row}: an image is a Pillow image, a tensor or an array; "
            f"got {type(image).__name__}."
        )
    shape, layout = tuple(image.shape), _layout(image) if image.ndim in (2, 3) else ""
    channels = {"HW": 1, "CHW": shape[0], "HWC": shape[-1]}.get(layout) if layout else None
    if channels not in (1, 3) or 0 in shape:
        raise DataError(
            f"Row {row}: an image has 1 or 3 channels and the shape (C, H, W) or (H, W), "
            f"an array also (H, W, C); got {type(image).__name__} of {shape}. "
            "Convert it to greyscale or RGB."
        )
    if isinstance(image, torch.Tensor):
        tensor = image.detach().cpu().as_subclass(torch.Tensor)
        image = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    pixels = np.asarray(image, dtype=np.float32) if image.dtype.kind == "f" else np.asarray(image)
    if pixels.dtype not in DTYPE_RANGES:
        raise DataError(
            f"Row {row}: expected pixels of uint8, uint16 or float; got {pixels.dtype}. "
            "Convert them first."
        )
    if layout == "HWC":
        return np.moveaxis(pixels, 2, 0)
    return pixels[None] if layout == "HW" else pixels


def integer(label: Any, row: int) -> int:
    """Return a label as a Python integer; `row` is for the error, a DataError if it is none."""
    is_array = isinstance(label, torch.Tensor | np.ndarray | np.generic)
    is_one = is_array and math.prod(label.shape) == 1
    value = label.item() if is_one else label
    if not isinstance(value, int) or isinstance(value, bool):
        several = is_array and not is_one
        found = f"{type(label).__name__} of shape {tuple(label.shape)}" if several else repr(value)
        raise DataError(
            f"Row {row}: a label must be an integer, the index of a class; got {found}. "
            "Number the classes 0, 1, 2, ..."
        )
    return value


def _as_class(tensor: torch.Tensor, tensor_class: type) -> list[Any]:
    """Return the rows of a tensor as the class a dataset uses, such as MONAI's MetaTensor."""
    rows = tensor.unbind()
    return list(rows) if tensor_class is torch.Tensor else [tensor_class(row) for row in rows]
