"""A fitted model at work: synthetic images by class, in batches and at the end of datasets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from ganaug.datasets import labelled_images
from ganaug.errors import ConfigError, ShapeError
from ganaug.items import ItemFormat
from ganaug.model import ImageModel
from ganaug.outlet import ExtendedDataset, Outlet
from ganaug.pool import Pool
from ganaug.spec import class_indices

__all__ = ["Synthesizer"]


class Synthesizer:
    """Hands out synthetic images of the classes that grow, in the form the caller uses.

    model: draws, its classes in the order of `to_add`; None when no class grows.
    class_names: of all classes. labels: of all classes, as the caller knows them.
    to_add: images to add by class index, of the classes that grow.
    form: of the images that the model was fitted on.
    random_state: what the pool, and numbers drawn without a seed of their own, follow from.

    Works in the workers of data loaders, forked and spawned. Pickling draws the pool, which
    travels as its path.
    """

    def __init__(
        self,
        model: ImageModel | None,
        *,
        class_names: Sequence[str],
        labels: Sequence[Any],
        to_add: Mapping[int, int],
        form: ItemFormat,
        random_state: int,
    ) -> None:
        self.model = model
        self.class_names = tuple(class_names)
        self.labels = list(labels)
        self.to_add = dict(to_add)
        self.form = form
        self.random_state = random_state
        self._pool: Pool | None = None
        self._random: tuple[Any, np.random.Generator] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": self.pool, "_random": None}

    @property
    def pool(self) -> Pool:
        """The images to add; drawn when first read, and anew where their file has gone."""
        if self._pool is None or not self._pool.is_there:
            self._pool = self._draw_pool()
        return self._pool

    def sample(self, class_: str | int, n: int, *, random_state: int | None = None) -> Any:
        """Draw n images of a class, by name or label: a list, or one tensor or array (n, ...).

        Raises ConfigError for a class that is unknown or was not trained.
        """
        if n < 0:
            raise ConfigError(f"n, the images to draw, cannot be negative; got {n}.")
        if isinstance(class_, str):
            index = class_indices([class_], self.class_names)[0]
        else:
            index = self.labels.index(class_) if class_ in self.labels else -1
        if index not in self.to_add or self.model is None:
            trained = ", ".join(self.class_names[i] for i in self.to_add) or "none"
            raise ConfigError(
                f"Class {class_!r} was not trained; the trained classes are: {trained}. Fit with "
                "a sampling_strategy that grows it."
            )
        seed = int(self._generator(random_state).integers(2**48))
        pixels = self.model.draw(list(self.to_add).index(index), n, seed=seed)
        images = self.form.images(pixels)
        if not issubclass(self.form.image_type, torch.Tensor | np.ndarray):
            return images
        join = torch.stack if issubclass(self.form.image_type, torch.Tensor) else np.stack
        blank = np.zeros((1, *self.model.shape), dtype=pixels.dtype)
        return join(images) if images else join(self.form.images(blank))[:0]

    def replace(
        self,
        images: Any,
        labels: Any,
        ratio: float,
        *,
        image_transform: Callable[[Any], Any] | None = None,
        random_state: int | None = None,
    ) -> Any:
        """Return a batch (N, C, H, W), its images of grown classes replaced with this probability.

        labels: (N,), as the caller knows them. image_transform: what the caller does to a raw
        image. Raises ShapeError or DataError when synthetic images do not fit the batch.
        """
        pool = self.pool
        if not len(pool) or not len(labels):
            return images
        rng = self._generator(random_state)
        indices = self._indices_of(labels)
        if len(indices) != len(images):
            raise ShapeError(f"The batch has {len(images)} images but {len(indices)} labels.")
        chosen = np.isin(indices, list(pool.counts)) & (rng.random(len(indices)) < ratio)
        if not chosen.any():
            return images
        rows = np.flatnonzero(chosen)
        fresh = [
            pool.take(index, rng.integers(pool.counts[index], size=1))
            for index in indices[rows].tolist()
        ]
        return self._outlet(image_transform).replace(images, rows, np.concatenate(fresh))

    def extend(
        self, dataset: Any, *, image_transform: Callable[[Any], Any] | None = None
    ) -> ExtendedDataset:
        """Return a dataset of the originals, then the images to add, in the same form.

        Raises DataError for items with more than image and label, ShapeError for images of
        other channels than the synthetic ones and no `image_transform`.
        """
        labels = labelled_images(dataset).labels.tolist()
        pool, form = self.pool, ItemFormat.of(dataset, self._float_range())
        if image_transform is None and self.model is not None and len(pool):
            _check_channels(form.channels, self.model.shape[0])
        added = [self.labels[index] for index in pool.labels]
        return ExtendedDataset(dataset, labels, pool, added, self._outlet(image_transform), form)

    def _draw_pool(self) -> Pool:
        model, to_add = self.model, self.to_add
        if model is None:
            return Pool(Path(), {})

        def batches() -> Iterator[tuple[int, NDArray[Any]]]:
            for place, index in enumerate(to_add):
                seed = np.random.SeedSequence([self.random_state, 2, index]).generate_state(1)
                for pixels in model.draw_batches(place, to_add[index], seed=int(seed[0])):
                    yield index, pixels

        return Pool.write(model.shape, np.dtype(model.output.dtype), to_add, batches())

    def _indices_of(self, labels: Any) -> NDArray[np.int64]:
        values = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if values.ndim != 1:
            raise ShapeError(f"labels must have shape (N,); got {tuple(values.shape)}.")
        index = {value: i for i, value in enumerate(self.labels)}
        return np.array([index.get(value, -1) for value in values.tolist()], dtype=np.int64)

    def _outlet(self, image_transform: Callable[[Any], Any] | None) -> Outlet:
        return Outlet(
            form=self.form,
            pixel_range=self._pixel_range(),
            float_range=self._float_range(),
            image_transform=image_transform,
        )

    def _pixel_range(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.model is None else self.model.output.value_range

    def _float_range(self) -> tuple[float, float]:
        """The range of float images that callers show: as stated for floats, else (0, 1)."""
        fitted_on_floats = self.model is not None and self.model.output.dtype == "float32"
        return self._pixel_range() if fitted_on_floats else (0.0, 1.0)

    def _generator(self, random_state: int | None) -> np.random.Generator:
        """Return the generator of one call: its own, or this process's, which goes on."""
        if random_state is None:
            return self._process_generator()
        try:
            return np.random.default_rng(random_state)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"random_state must be a whole number, 0 or more; got {random_state!r}."
            ) from error

    def _process_generator(self) -> np.random.Generator:
        """Return this process's own generator; a worker's follows from the worker's seed."""
        worker = get_worker_info()
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        key = (os.getpid(), None if worker is None else worker.seed)
        if self._random is None or self._random[0] != key:
            entropy = [self.random_state, 3, rank] + ([] if worker is None else [worker.seed])
            self._random = (key, np.random.default_rng(entropy))
        return self._random[1]


def _check_channels(found: int, synthetic: int) -> None:
    if found != synthetic:
        raise ShapeError(
            f"The dataset's images have {found} channel(s), the synthetic ones {synthetic}. "
            "Extend the images that fit was given, or pass what you apply to them as "
            "image_transform."
        )
