"""The front door: `SyntheticAugmenter` grows rare classes in any training loop."""

from __future__ import annotations

import copy
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.utils.data import get_worker_info

from ganaug.arrays import append, images_from_arrays, strategy_by_index
from ganaug.datasets import labelled_images
from ganaug.errors import ConfigError, NotFittedError, ShapeError
from ganaug.fitting import (
    Recipe,
    fit_part,
    make_model,
    plan_parts,
    policies_of,
    start_training,
)
from ganaug.generator import Generator
from ganaug.items import ItemFormat
from ganaug.model import ImageModel, Source
from ganaug.outlet import ExtendedDataset, Outlet
from ganaug.pool import Pool
from ganaug.registry import Registry
from ganaug.runs import describe_run
from ganaug.saving import Record, read_fitted, write_fitted
from ganaug.spec import DTYPE_RANGES, LabelledImages, class_indices
from ganaug.stopping import History, StoppingPolicy
from ganaug.strategy import SamplingStrategy, counts_to_add

__all__ = ["SyntheticAugmenter"]

_logger = logging.getLogger(__name__)


class SyntheticAugmenter(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Trains a generator on an image set and grows its rare classes with new images.

    generator: a plugin's name, or a built `Generator` of the grown classes.
    config: fields of the plugin's config.
    size: pixels a side to train at; images come out at their original size all the same. None
        for the images' own size, or the next power of two where the generator needs one.
    conditioning: "conditional" (default: one generator, told the class) or "per-class".
    sampling_strategy: imbalanced-learn's: a float, "auto", "minority", "not minority",
        "not majority", "all", a dict of final counts by class name or index, or a callable.
    ratio: in batch mode, the probability that an image of a grown class is replaced.
    total_images: training images to see, per class when per class; None for 100,000.
    stop: stopping policies, by name (``"divergence"``, ``"max-seconds:seconds=60"``) or built.
    select: which weights to hand out, "last" or "average".
    filter: "copies" refuses images that are near duplicates of training images; None hands out
        everything.
    image_transform: what the caller applies to a raw image, such as normalisation; it is applied
        to synthetic images on their way out, in `extend` and in batch mode.
    value_range: lowest and highest possible value of float (or uint16) images; (0, 1) unless
        told, the dtype's for integers.
    precision: "auto", "32-true" or "bf16-mixed". device: "auto" or a torch device.
    random_state: seeds training, drawing and batch mode; None draws a seed. torch's and NumPy's
        global generators are never touched.

    Fitted attributes: `sampling_strategy_`, images to add by class; `class_names_`;
    `model_`, which draws; `random_state_`.
    """

    def __init__(
        self,
        generator: str | Generator = "dcgan",
        *,
        config: Mapping[str, Any] | None = None,
        size: int | None = None,
        conditioning: str | None = None,
        sampling_strategy: SamplingStrategy = "auto",
        ratio: float = 0.5,
        total_images: int | None = None,
        stop: Sequence[str | StoppingPolicy] = (),
        select: str = "last",
        filter: str | None = "copies",
        image_transform: Callable[[Any], Any] | None = None,
        value_range: tuple[float, float] | None = None,
        precision: str = "auto",
        device: str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.generator = generator
        self.config = config
        self.size = size
        self.conditioning = conditioning
        self.sampling_strategy = sampling_strategy
        self.ratio = ratio
        self.total_images = total_images
        self.stop = stop
        self.select = select
        self.filter = filter
        self.image_transform = image_transform
        self.value_range = value_range
        self.precision = precision
        self.device = device
        self.random_state = random_state

    # --- fitting ----------------------------------------------------------------------------

    def fit(self, dataset: Any, *, groups: Sequence[Any] | None = None) -> Self:
        """Train the generator on the classes that `sampling_strategy` grows.

        dataset: any map-style dataset of (image, label) or dicts of them: Pillow images, tensors
            (C, H, W) or arrays; uint8, uint16, or float within `value_range`.
        groups: the patient or lesion of each row, kept in a saved run.

        Raises DataError for images or labels that cannot be used, ConfigError for a wrong
        parameter, ShapeError for a size the generator cannot do, TrainingFailedError when the
        losses stay non-finite.
        """
        images = labelled_images(dataset, groups=groups, value_range=self.value_range)
        to_add = counts_to_add(self.sampling_strategy, images.labels, images.class_names)
        form = ItemFormat.of(dataset, images.value_range)
        self._fit(images, to_add, form, labels=list(range(len(images.class_names))))
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: N803  # scikit-learn's name
        """Fit anew on arrays or tensors, then return them with synthetic images appended.

        X: (N, C, H, W), uint8, uint16 or float within `value_range`. y: (N,), any labels that
        NumPy can sort; `sampling_strategy` and `sampling_strategy_` speak of these labels, as
        imbalanced-learn's do. Returns the same kinds and dtypes, originals first.
        """
        values, labels = np.unique(np.asarray(y), return_inverse=True)
        labels = labels.reshape(np.shape(y))
        images = images_from_arrays(X, labels, [str(v) for v in values], self.value_range)
        by_value = values.tolist()
        to_add = counts_to_add(
            strategy_by_index(self.sampling_strategy, np.asarray(y), by_value),
            images.labels,
            images.class_names,
        )
        form = ItemFormat.of([(X[0], 0)], images.value_range)
        self._fit(images, to_add, form, labels=by_value)
        pool = self._drawn_pool()
        if not len(pool):
            return append(X, None), append(y, None)
        return append(X, pool.rows(np.arange(len(pool)))), append(y, values[pool.labels])

    def _fit(
        self,
        images: LabelledImages,
        to_add: Mapping[int, int],
        form: ItemFormat,
        *,
        labels: list[Any],
    ) -> None:
        """Train on the classes that grow; what was fitted before is replaced only at the end."""
        self._check_parameters()
        seed = secrets.randbits(32) if self.random_state is None else int(self.random_state)
        grown = [index for index, n in to_add.items() if n > 0]
        model, record = self._train(images, grown, seed) if grown else (None, None)
        self.random_state_ = seed
        self.class_names_ = images.class_names
        self.sampling_strategy_ = {labels[index]: n for index, n in to_add.items()}
        self.model_ = model
        self._set_state(form, labels, {index: to_add[index] for index in grown}, record)
        self._drawn_pool()  # now, before data loaders fork their workers

    def _set_state(
        self,
        form: ItemFormat,
        labels: list[Any],
        to_add: dict[int, int],
        record: Record | Path | None,
    ) -> None:
        """Keep what drawing needs: the form of images, labels by class index, images to add."""
        self._form, self._labels, self._to_add, self._record = form, labels, to_add, record
        self._pool: Pool | None = None
        self._random: tuple[Any, np.random.Generator] | None = None

    def _train(
        self, images: LabelledImages, grown: list[int], seed: int
    ) -> tuple[ImageModel, Record | None]:
        registry = Registry.load()
        recipe = self._make_recipe(registry, seed)
        # A copy: fitting again starts from the generator as it was given.
        built = copy.deepcopy(self.generator) if isinstance(self.generator, Generator) else None
        chosen = images.only(grown)
        parts = plan_parts(chosen, recipe, registry, built)
        policies = policies_of(recipe, registry, len(parts))
        policies += [policy for policy in self.stop if not isinstance(policy, str)]
        trainings, histories = [], []
        for part in parts:
            training, history = start_training(part, recipe, device=self.device), History()
            reason = fit_part(training, policies, history=history)
            _logger.info("classes %s: stopped since %s", part.name, reason)
            trainings.append(training)
            histories.append(history)
        source = None if built is not None else Source(recipe.generator, recipe.settings)
        model = make_model(
            chosen, parts, trainings, recipe, keep_copies=self.filter is None, source=source
        )
        if source is None:
            return model, None
        config = describe_run(images, parts, recipe, registry, source="python")
        return model, Record(config, images.without_pixels(), tuple(histories))

    def _make_recipe(self, registry: Registry, seed: int) -> Recipe:
        settings: Mapping[str, Any] = {}
        if isinstance(self.generator, str):
            config = registry.generators[self.generator].config
            settings = config.from_fields(self.config or {}).to_fields()
        elif self.config:
            raise ConfigError("config= is for a generator by name; a built generator has its own.")
        return Recipe.from_fields(
            {
                "generator": self.generator if isinstance(self.generator, str) else "object",
                "settings": dict(settings),
                "size": self.size,
                "conditioning": self.conditioning or "conditional",
                "total_images": self.total_images,
                "stop": [policy for policy in self.stop if isinstance(policy, str)],
                "select": self.select,
                "precision": self.precision,
                "random_state": seed,
            }
        )

    def _check_parameters(self) -> None:
        _check_ratio(self.ratio)
        if not isinstance(self.generator, str | Generator):
            raise ConfigError(f"generator must be a name or a Generator; got {self.generator!r}.")
        if not (self.random_state is None or isinstance(self.random_state, int | np.integer)):
            raise ConfigError(f"random_state must be a whole number; got {self.random_state!r}.")
        if self.filter not in ("copies", None):
            raise ConfigError(f"filter must be 'copies' or None; got {self.filter!r}.")
        if isinstance(self.stop, str):
            raise ConfigError(f"stop must be a sequence, such as ({self.stop!r},).")
        for policy in self.stop:
            if not isinstance(policy, str | StoppingPolicy):
                raise ConfigError(f"stop holds names and stopping policies; got {policy!r}.")

    # --- using what was fitted --------------------------------------------------------------

    def extend(self, dataset: Any) -> ExtendedDataset:
        """Return a dataset of the originals, then the synthetic images that balance it.

        Synthetic items have the form of `dataset`'s own. Raises NotFittedError before `fit`,
        DataError for items with more than image and label, ShapeError for images of other
        channels than those of `fit`.
        """
        self._check_fitted()
        labels = labelled_images(dataset).labels.tolist()
        pool, form = self._drawn_pool(), ItemFormat.of(dataset, self._float_range())
        if self.image_transform is None and len(pool):
            self._check_shape(form)
        added = [self._labels[index] for index in pool.labels]
        return ExtendedDataset(dataset, labels, pool, added, self._outlet(), form)

    def sample(self, class_: str | int, n: int, *, random_state: int | None = None) -> Any:
        """Draw n new images of a class, by name or label.

        Returns them as the dataset of `fit` had them: a list of Pillow images, or one tensor or
        array (n, ...). The same `random_state` gives the same images; None draws anew each time.
        Raises ConfigError for a class that is unknown or was not trained.
        """
        self._check_fitted()
        if n < 0:
            raise ConfigError(f"n, the images to draw, cannot be negative; got {n}.")
        if isinstance(class_, str):
            label = class_indices([class_], self.class_names_)[0]
        else:
            label = self._labels.index(class_) if class_ in self._labels else -1
        if label not in self._to_add or self.model_ is None:
            trained = ", ".join(self.class_names_[label] for label in self._to_add) or "none"
            raise ConfigError(
                f"Class {class_!r} was not trained; the trained classes are: {trained}. Fit with "
                "a sampling_strategy that grows it."
            )
        seed = int(self._generator(random_state).integers(2**48))
        pixels = self.model_.draw(list(self._to_add).index(label), n, seed=seed)
        images = self._form.images(pixels)
        if not issubclass(self._form.image_type, torch.Tensor | np.ndarray):
            return images
        join = torch.stack if issubclass(self._form.image_type, torch.Tensor) else np.stack
        blank = np.zeros((1, *self.model_.shape), dtype=pixels.dtype)
        return join(images) if images else join(self._form.images(blank))[:0]

    def __call__(
        self, images: Any, labels: Any, *, random_state: int | None = None
    ) -> tuple[Any, Any]:
        """Replace images of the grown classes by synthetic ones, each with probability `ratio`.

        images: a tensor or array (N, C, H, W), as the training loop sees it. labels: integers
        (N,). Returns a new batch of the same size, dtype, device, labels and order; an empty
        pool returns the batch as it came. Works in DataLoader workers too. `random_state` seeds
        this call alone.

        Raises DataError when float images are outside the value range and no `image_transform`
        was given, ShapeError when a synthetic image has another shape than the batch's.
        """
        return self.replace(images, labels, self.ratio, random_state=random_state), labels

    def replace(
        self, images: Any, labels: Any, ratio: float, *, random_state: int | None = None
    ) -> Any:
        """Do what calling does, at another ratio; return the images alone."""
        self._check_fitted()
        _check_ratio(ratio)
        pool = self._drawn_pool()
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
        return self._outlet().replace(images, rows, np.concatenate(fresh))

    def _indices_of(self, labels: Any) -> NDArray[np.int64]:
        values = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if values.ndim != 1:
            raise ShapeError(f"labels must have shape (N,); got {tuple(values.shape)}.")
        index = {value: i for i, value in enumerate(self._labels)}
        return np.array([index.get(value, -1) for value in values.tolist()], dtype=np.int64)

    def _outlet(self) -> Outlet:
        return Outlet(
            form=self._form,
            pixel_range=self._source_range(),
            float_range=self._float_range(),
            image_transform=self.image_transform,
        )

    def _drawn_pool(self) -> Pool:
        """Return the pool of synthetic images; drawn once, and anew where its file has gone."""
        if self._pool is None or not self._pool.is_there:
            self._pool = self._draw_pool()
        return self._pool

    def _draw_pool(self) -> Pool:
        model, to_add = self.model_, self._to_add
        if model is None:
            return Pool(Path(), {})

        def batches() -> Iterator[tuple[int, NDArray[Any]]]:
            for place, label in enumerate(to_add):
                seed = np.random.SeedSequence([self.random_state_, 2, label]).generate_state(1)
                for pixels in model.draw_batches(place, to_add[label], seed=int(seed[0])):
                    yield label, pixels

        return Pool.write(model.shape, np.dtype(model.output.dtype), to_add, batches())

    def _source_range(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.model_ is None else self.model_.output.value_range

    def _float_range(self) -> tuple[float, float]:
        """The range of float images that callers show: as stated for floats, else (0, 1)."""
        fitted_on_floats = self.model_ is not None and self.model_.output.dtype == "float32"
        return self._source_range() if fitted_on_floats else (0.0, 1.0)

    def _check_shape(self, form: ItemFormat) -> None:
        assert self.model_ is not None
        if form.channels != self.model_.shape[0]:
            raise ShapeError(
                f"The dataset's images have {form.channels} channel(s), the synthetic ones "
                f"{self.model_.shape[0]}. Extend the images that fit was given, or pass what you "
                "apply to them as image_transform."
            )

    def _check_fitted(self) -> None:
        if not hasattr(self, "random_state_"):
            raise NotFittedError("This SyntheticAugmenter is not fitted; call fit(dataset) first.")

    def _generator(self, random_state: int | None) -> np.random.Generator:
        """Return the generator of one call: its own, or this process's, which goes on."""
        if random_state is None:
            return self._rng()
        try:
            return np.random.default_rng(random_state)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"random_state must be a whole number, 0 or more; got {random_state!r}."
            ) from error

    def _rng(self) -> np.random.Generator:
        """Return this process's own generator; a worker's follows from the worker's seed."""
        worker = get_worker_info()
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        key = (os.getpid(), None if worker is None else worker.seed)
        if self._random is None or self._random[0] != key:
            entropy = [self.random_state_, 3, rank] + ([] if worker is None else [worker.seed])
            self._random = (key, np.random.default_rng(entropy))
        return self._random[1]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without training images; the pool, drawn now, travels as its path."""
        if hasattr(self, "random_state_"):
            self._drawn_pool()
        return {**super().__getstate__(), "_random": None}

    # --- keeping ----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a run directory, which `load` and the command line read.

        Raises RunError when the path exists or cannot be written, ConfigError for a generator
        given as an object, NotFittedError before `fit` or when nothing was trained.
        """
        self._check_fitted()
        if isinstance(self.generator, Generator):
            raise ConfigError(
                "A generator given as an object cannot be saved: nothing says how to build it "
                "again. Register it as a plugin and pass its name."
            )
        if self._record is None or self.model_ is None:
            raise ConfigError("Nothing was trained, as no class grows: there is nothing to save.")
        write_fitted(path, self._record, self.model_, self._form, self._labels, self._to_add)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run directory that `save` or ``ganaug fit`` wrote.

        An augmenter from the command line's run grows the trained classes to the largest one.
        `sampling_strategy_` is kept; `sampling_strategy`, `ratio`, `image_transform`, `device`
        and policies that were given built are not: set them again. Draw before data loaders
        fork, or each worker draws for itself. Raises RunError for a run that is missing,
        damaged or of a newer version.
        """
        fitted = read_fitted(path)
        recipe, model = fitted.config.recipe, fitted.model
        value_range, usual = model.output.value_range, DTYPE_RANGES[np.dtype(model.output.dtype)]
        augmenter = cls(
            recipe.generator,
            config=recipe.settings,
            size=recipe.size,
            conditioning=recipe.conditioning,
            total_images=recipe.total_images,
            stop=recipe.stop,
            select=recipe.select,
            filter=None if model.copies is None else "copies",
            value_range=None if value_range == usual else value_range,
            precision=recipe.precision,
            random_state=recipe.random_state,
        )
        augmenter.random_state_ = recipe.random_state
        augmenter.class_names_ = fitted.config.source_class_names
        augmenter.sampling_strategy_ = {
            fitted.labels[index]: n for index, n in fitted.to_add.items()
        }
        augmenter.model_ = model
        augmenter._set_state(fitted.form, fitted.labels, fitted.to_add, Path(path))
        return augmenter


def _check_ratio(ratio: Any) -> None:
    """Raise ConfigError unless `ratio` is a probability."""
    if not isinstance(ratio, float | int | np.number) or not 0.0 <= ratio <= 1.0:
        raise ConfigError(f"ratio is a probability, from 0 to 1; got {ratio!r}.")
