"""The front door: `SyntheticAugmenter` grows rare classes in any training loop."""

from __future__ import annotations

import copy
import logging
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ganaug.arrays import append, images_from_arrays, strategy_by_index
from ganaug.datasets import labelled_images
from ganaug.duplicates import find_duplicates
from ganaug.errors import ConfigError, NotFittedError
from ganaug.fitting import fit_part, make_model, plan_validations, rows_for_filters, start_training
from ganaug.generator import Generator
from ganaug.hashes import ImageHashes, hash_images
from ganaug.items import ItemFormat
from ganaug.model import ImageModel, Source
from ganaug.outlet import ExtendedDataset
from ganaug.parameters import check_parameters, check_ratio, make_recipe, recorded_parameters
from ganaug.parts import Part, plan_parts, with_conditioning
from ganaug.reading import growth_text
from ganaug.recipes import Recipe, policies_of, with_validation
from ganaug.registry import Registry
from ganaug.run_config import describe_run
from ganaug.saving import Record, read_fitted, write_fitted
from ganaug.selection import Ending
from ganaug.spec import LabelledImages
from ganaug.splits import cut_validation
from ganaug.stopping import History, StoppingPolicy
from ganaug.strategy import SamplingStrategy, counts_to_add
from ganaug.synthesis import Synthesizer
from ganaug.training import Training
from ganaug.validation import Validation

__all__ = ["SyntheticAugmenter"]

_logger = logging.getLogger(__name__)


class SyntheticAugmenter(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Trains a generator on an image set and grows its rare classes with new images.

    generator: a plugin's name, or a built `Generator` of the grown classes.
    config: fields of the plugin's config.
    size: pixels a side to train at; images come out at their original size all the same. None
        for the images' own size, or the next power of two where the generator needs one.
    conditioning: "conditional" (one generator, told the class), "per-class" (one each) or
        "pretrain-finetune" (one each, which goes on from a training on all images that `fit` is
        given, those of classes that do not grow included). None for "pretrain-finetune" where
        some class does not grow and the generator's training has no stages, else "conditional".
    sampling_strategy: imbalanced-learn's: a float, "auto", "minority", "not minority",
        "not majority", "all", a dict of final counts by class name or index, or a callable.
    ratio: in batch mode, the probability that an image of a grown class is replaced.
    total_images: training images to see, per class when per class; the pretraining's, and a
        quarter of it for each class that is fine-tuned; None for 100,000.
    stop: stopping policies, by name (``"loop-breaker"``, ``"plateau and max-images:images=9000"``)
        or built; the first that has a reason ends the training.
    select: which weights to hand out, "last", "average" or "best".
    eval_every, metrics, extractor: score the averaged weights every so many training images, by
        these metrics in this feature space; the first metric decides what is best. Where this,
        select="best" or a policy needs scores, a tenth of the images that `fit` is given are
        validation rows and not trained on, by class and with groups whole; 5,000 images, "kid"
        and "random-conv" unless told.
    filter: what images must pass before they are handed out, a name or several; None hands out
        everything. "copies" drops near copies of training images, and warns after `fit` when the
        generator makes more of them than chance does. "classifier" drops what a classifier,
        trained on the rows of `fit`, takes for another class; "discriminator" the quarter that the
        trained discriminator scores lowest. ``model_.tallies`` counts what went, and why.
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
        eval_every: int | None = None,
        metrics: Sequence[str] = (),
        extractor: str | None = None,
        filter: str | Sequence[str] | None = "copies",
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
        self.eval_every = eval_every
        self.metrics = metrics
        self.extractor = extractor
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
        groups: the patient or lesion of each row; validation rows are cut by it, and a saved run
            keeps it.

        Raises DataError for images or labels that cannot be used, ConfigError for a wrong
        parameter, ShapeError for a size the generator cannot do, TrainingFailedError when the
        losses stay non-finite.
        """
        images = labelled_images(dataset, groups=groups, value_range=self.value_range)
        form = ItemFormat.of(dataset, images.value_range)
        labels = list(range(len(images.class_names)))
        self._fit(images, self.sampling_strategy, form, labels)
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
        strategy = strategy_by_index(self.sampling_strategy, np.asarray(y), values.tolist())
        form = ItemFormat.of([(X[0], 0)], images.value_range)
        pool = self._fit(images, strategy, form, values.tolist()).pool
        if not len(pool):
            return append(X, None), append(y, None)
        return append(X, pool.rows(np.arange(len(pool)))), append(y, values[pool.labels])

    def _fit(
        self,
        images: LabelledImages,
        strategy: SamplingStrategy,
        form: ItemFormat,
        labels: Sequence[Any],
    ) -> Synthesizer:
        """Train on the classes that grow; what was fitted before is replaced only at the end."""
        to_add = counts_to_add(strategy, images.labels, images.class_names)
        check_parameters(self.get_params(deep=False))
        seed = secrets.randbits(32) if self.random_state is None else int(self.random_state)
        grown = [index for index, n in to_add.items() if n > 0]
        model, record = self._train(images, grown, seed) if grown else (None, None)
        synthesizer = Synthesizer(
            model,
            class_names=images.class_names,
            labels=labels,
            to_add={index: to_add[index] for index in grown},
            form=form,
            random_state=seed,
        )
        self._set_fitted(synthesizer, record, to_add)
        _ = synthesizer.pool  # drawn now, before data loaders fork their workers
        return synthesizer

    def _set_fitted(
        self,
        synthesizer: Synthesizer,
        record: Record | Path | None,
        to_add: Mapping[int, int],
    ) -> None:
        """Set the fitted attributes. record: what `save` writes, or the run it copies."""
        self.random_state_ = synthesizer.random_state
        self.class_names_ = synthesizer.class_names
        self.sampling_strategy_ = {synthesizer.labels[index]: n for index, n in to_add.items()}
        self.model_ = synthesizer.model
        self._synthesizer, self._record = synthesizer, record

    def _train(
        self, images: LabelledImages, grown: list[int], seed: int
    ) -> tuple[ImageModel, Record | None]:
        registry = Registry.load()
        recipe = make_recipe(self.get_params(deep=False), registry, seed=seed)
        policies = policies_of(recipe, registry)  # of minutes nothing is said here
        policies += [policy for policy in self.stop if not isinstance(policy, str)]
        recipe = with_validation(recipe, policies)
        # A copy: fitting again starts from the generator as it was given.
        built = copy.deepcopy(self.generator) if isinstance(self.generator, Generator) else None
        splits, hashes = _cut(images, recipe)
        validation = images.subset(np.flatnonzero(splits == "validation"))
        training = images
        if len(validation):
            training = images.subset(np.flatnonzero(splits == "training"))
        if built is None and self.conditioning is None:
            recipe = with_conditioning(recipe, training, grown, registry)
        chosen = training.only(grown)
        parts = plan_parts(chosen, recipe, registry, built, pretraining=training)
        validations = plan_validations(
            *(chosen, validation.only(grown), parts, policies, recipe, registry),
            tell=_logger.warning,
            pretraining_rows=validation,
        )
        known = rows_for_filters(training, parts, recipe, registry)
        trainings, endings = self._fit_parts(parts, policies, validations, recipe)
        source = None if built is not None else Source(recipe.generator, recipe.settings)
        model = make_model(
            chosen,
            parts,
            trainings,
            recipe,
            validations=validations,
            rows=known,
            source=source,
            endings=endings,
            registry=registry,
        )
        if model.memorisation is not None and model.memorisation.flagged:
            warnings.warn(
                f"The generator has memorised training images: {model.memorisation}. Near copies "
                "are dropped, but others may be missed; fit on more images, or for less long.",
                stacklevel=4,
            )
        if source is None:
            return model, None
        config = describe_run(training, parts, recipe, registry, source="python")
        hashes = hash_images(images) if hashes is None else hashes
        rows = replace(images.without_pixels(), splits=tuple(splits.tolist()))
        return model, Record(config, rows, hashes, tuple(ending.history for ending in endings))

    def _fit_parts(
        self,
        parts: Sequence[Part],
        policies: Sequence[StoppingPolicy],
        validations: Sequence[Validation | None],
        recipe: Recipe,
    ) -> tuple[list[Training], list[Ending]]:
        """Train each part; return the trainings and how they ended."""
        trainings: list[Training] = []
        endings = []
        for part, validation in zip(parts, validations, strict=True):
            training, history = start_training(part, recipe, device=self.device), History()
            reason = fit_part(
                training,
                policies,
                history=history,
                validation=validation,
                pretrained=trainings[0] if part.role == "fine-tuning" else None,
            )
            _logger.info("classes %s: stopped since %s", part.name, reason)
            if history and (text := growth_text(history[-1], part.images.spec.height)):
                _logger.warning("classes %s: %s. Raise total_images or minutes.", part.name, text)
            trainings.append(training)
            endings.append(Ending(history, reason))
        return trainings, endings

    # --- using what was fitted --------------------------------------------------------------

    def extend(self, dataset: Any) -> ExtendedDataset:
        """Return a dataset of the originals, then the synthetic images that balance it.

        Synthetic items have the form of `dataset`'s own. Raises NotFittedError before `fit`,
        DataError for items with more than image and label, ShapeError for images of other
        channels than those of `fit`.
        """
        return self._fitted().extend(dataset, image_transform=self.image_transform)

    def sample(self, class_: str | int, n: int, *, random_state: int | None = None) -> Any:
        """Draw n new images of a class, by name or label.

        Returns them as the dataset of `fit` had them: a list of Pillow images, or one tensor or
        array (n, ...). The same `random_state` gives the same images; None draws anew each time.
        Raises ConfigError for a class that is unknown or was not trained.
        """
        return self._fitted().sample(class_, n, random_state=random_state)

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
        fitted = self._fitted()
        check_ratio(ratio)
        return fitted.replace(
            images,
            labels,
            ratio,
            image_transform=self.image_transform,
            random_state=random_state,
        )

    def _fitted(self) -> Synthesizer:
        fitted: Synthesizer | None = getattr(self, "_synthesizer", None)
        if fitted is None:
            raise NotFittedError("This SyntheticAugmenter is not fitted; call fit(dataset) first.")
        return fitted

    # --- keeping ----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a run directory, which `load` and the command line read.

        Raises RunError when the path exists or cannot be written, ConfigError for a generator
        given as an object, NotFittedError before `fit` or when nothing was trained.
        """
        fitted = self._fitted()
        if isinstance(self.generator, Generator):
            raise ConfigError(
                "A generator given as an object cannot be saved: nothing says how to build it "
                "again. Register it as a plugin and pass its name."
            )
        if self._record is None or fitted.model is None:
            raise ConfigError("Nothing was trained, as no class grows: there is nothing to save.")
        write_fitted(path, self._record, fitted.model, fitted.form, fitted.labels, fitted.to_add)

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
        augmenter = cls(**recorded_parameters(recipe, model))
        synthesizer = Synthesizer(
            model,
            class_names=fitted.config.source_class_names,
            labels=fitted.labels,
            to_add=fitted.to_add,
            form=fitted.form,
            random_state=recipe.random_state,
        )
        augmenter._set_fitted(synthesizer, Path(path), fitted.to_add)
        return augmenter


def _cut(images: LabelledImages, recipe: Recipe) -> tuple[NDArray[np.str_], ImageHashes | None]:
    """Return the split of each row, and the hashes of all images where they were needed.

    The caller's dataset is the training set, whatever it says of its rows itself.
    """
    splits = ("training",) * len(images)
    if recipe.eval_every is None:
        return np.array(splits), None
    hashes = hash_images(images)
    near = find_duplicates(images, hashes).near
    return np.array(cut_validation(images, splits, near, random_state=recipe.random_state)), hashes
