"""Synthetic pixels on their way out: into the dtype, range and form that the caller uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ganaug.errors import DataError, ShapeError
from ganaug.items import ItemFormat
from ganaug.pixels import from_signed, to_signed
from ganaug.pool import Pool
from ganaug.spec import DTYPE_RANGES

__all__ = ["ExtendedDataset", "Outlet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """How synthetic images leave. Picklable if `image_transform` is.

    form: of the raw images. pixel_range: of the pixels as drawn. float_range: of the caller's
    float images. image_transform: what the caller does to a raw image, or None.
    """

    form: ItemFormat
    pixel_range: tuple[float, float]
    float_range: tuple[float, float]
    image_transform: Callable[[Any], Any] | None

    def images(self, pixels: NDArray[Any], form: ItemFormat) -> list[Any]:
        """Return pixels (N, C, H, W) as images of `form`, or as `image_transform` makes them."""
        if self.image_transform is not None:
            return [self.image_transform(image) for image in self.form.images(pixels)]
        return form.images(self._convert(pixels, form.pixel_dtype))

    def replace(self, images: Any, rows: NDArray[np.int64], pixels: NDArray[Any]) -> Any:
        """Return a copy of a batch, (N, C, H, W), whose `rows` are `pixels` (n, C, H, W)."""
        batch = images if isinstance(images, Tensor) else np.asarray(images)
        fresh: Any
        if self.image_transform is not None:
            fresh = [self.image_transform(image) for image in self.form.images(pixels)]
            fresh = torch.stack([torch.as_tensor(np.asarray(image)) for image in fresh])
            if fresh.is_floating_point() and not _is_float(batch):
                raise DataError(
                    f"image_transform makes floats, the batch holds {batch.dtype}. Transform the "
                    "batch before it is augmented, or leave image_transform out."
                )
        else:
            fresh = torch.from_numpy(self._convert(pixels, self._checked_dtype(batch)))
        if tuple(fresh.shape[1:]) != tuple(batch.shape[1:]):
            raise ShapeError(
                f"A synthetic image has shape {tuple(fresh.shape[1:])}, the batch's have "
                f"{tuple(batch.shape[1:])}. Give what you apply to a raw image as image_transform."
            )
        if isinstance(batch, Tensor):
            where = torch.from_numpy(rows).to(batch.device)
            fresh = fresh.to(batch.device, batch.dtype)
            if batch.dtype == torch.uint16:  # which torch cannot index into
                as_signed = batch.view(torch.int16).index_copy(0, where, fresh.view(torch.int16))
                return as_signed.view(torch.uint16)
            return batch.index_copy(0, where, fresh)
        copied = batch.copy()
        copied[rows] = fresh.numpy().astype(batch.dtype)
        return copied

    def _checked_dtype(self, batch: Any) -> np.dtype[Any]:
        """Return the NumPy dtype to fill a batch with, after a look at a float batch's range."""
        if not _is_float(batch):
            return np.dtype(str(batch.dtype).removeprefix("torch."))
        low, high = float(batch.min()), float(batch.max())
        slack = 1e-3 * (self.float_range[1] - self.float_range[0])
        if low < self.float_range[0] - slack or high > self.float_range[1] + slack:
            raise DataError(
                f"The batch holds values from {low:.3g} to {high:.3g}; expected "
                f"{self.float_range[0]:g} to {self.float_range[1]:g}. Pass value_range=, or, for "
                "normalised images, the function that normalises one as image_transform=."
            )
        return np.dtype(np.float32)

    def _convert(self, pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        is_float = dtype.kind == "f"
        if pixels.dtype == dtype and (not is_float or self.pixel_range == self.float_range):
            return pixels
        wanted = self.float_range if is_float else DTYPE_RANGES.get(dtype, self.pixel_range)
        return from_signed(to_signed(pixels, self.pixel_range), dtype=dtype, value_range=wanted)


def _is_float(batch: Any) -> bool:
    if isinstance(batch, Tensor):
        return batch.is_floating_point()
    return bool(batch.dtype.kind == "f")


class ExtendedDataset(Dataset[Any]):
    """A dataset's own items, then synthetic ones in the same form.

    targets: the label of every row. is_synthetic: bool (N,).

    labels: of the dataset. added: labels of the pool's rows, as the dataset would have them.
    Raises DataError when the dataset's items hold more than an image and a label.
    """

    def __init__(
        self,
        dataset: Any,
        labels: Sequence[int],
        pool: Pool,
        added: Sequence[int],
        outlet: Outlet,
        form: ItemFormat,
    ) -> None:
        self.dataset = dataset
        self.targets: list[int] = [*labels, *added]
        self.is_synthetic = np.arange(len(self.targets)) >= len(dataset)
        self._originals = len(dataset)
        self._pool = pool
        self._outlet = outlet
        self._form = form
        form.items([], [])  # says now, not in a worker, when items cannot be made

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Any]:
        """Return the items of several rows at once, as PyTorch's DataLoader asks for them."""
        synthetic = [row for row in rows if row >= self._originals]
        if not synthetic:
            return [self.dataset[row] for row in rows]
        pixels = self._pool.rows(np.array(synthetic) - self._originals)
        images = self._outlet.images(pixels, self._form)
        made = iter(self._form.items(images, [self.targets[row] for row in synthetic]))
        return [self.dataset[row] if row < self._originals else next(made) for row in rows]
