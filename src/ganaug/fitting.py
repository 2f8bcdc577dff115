"""From images and a recipe to a fitted model: the steps that Python and command line share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ganaug.config import Config, split_choice
from ganaug.copies import CopyGate
from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.features import build_extractor
from ganaug.generator import Generator
from ganaug.memorisation import audit
from ganaug.model import ImageModel, Output, Source
from ganaug.randomness import seeded
from ganaug.selection import Selection, check_selection, select
from ganaug.shared_features import SharedExtractor
from ganaug.spec import ImageSpec, LabelledImages
from ganaug.stopping import History, Progress, StoppingPolicy, first_reason
from ganaug.training import Training, train
from ganaug.validation import (
    DEFAULT_EVAL_EVERY,
    DEFAULT_EXTRACTOR,
    DEFAULT_METRICS,
    Plan,
    Validation,
)

if TYPE_CHECKING:
    from ganaug.registry import Registry

__all__ = [
    "Part",
    "Recipe",
    "build_policy",
    "copies_of",
    "fit_part",
    "load_at",
    "make_model",
    "output_of",
    "plan_parts",
    "plan_validations",
    "policies_of",
    "resolve_config",
    "start_training",
    "with_validation",
]

#: What `total_images` is when neither images nor minutes are given: minutes at 32 px on a laptop.
DEFAULT_TOTAL_IMAGES = 100_000
_UNLIMITED = 2**53

_SMALLEST, _LARGEST = 16, 256


class Recipe(Config):
    """How a model is fitted; with the images, everything that its weights follow from.

    generator, settings: the plugin's name and its config's fields.
    size: pixels a side to train at; None for the images' own size where the generator can do it.
    conditioning: "conditional" (one generator, told the class) or "per-class" (one each).
    total_images: training images to see, per class when per class; None for 100,000, or no
        limit when there is one in minutes. minutes: of training, shared by the classes.
    stop: policies, ``NAME`` or ``NAME:FIELD=VALUE,...``.
    select: "last", "average" or "best".
    eval_every: images between evaluations on validation rows; None for none at all. metrics,
        extractor: what is scored there, ``NAME`` or ``NAME:FIELD=VALUE,...``; the first metric
        decides what is best. `with_validation` fills them in where scores are needed.
    """

    generator: str = "dcgan"
    settings: dict[str, Any] = Field(default_factory=dict)
    size: int | None = Field(default=None, ge=4, le=4096)
    conditioning: Literal["conditional", "per-class"] = "conditional"
    total_images: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=64, ge=1)
    stop: tuple[str, ...] = ()
    select: Selection = "last"
    eval_every: int | None = Field(default=None, ge=1)
    metrics: tuple[str, ...] = ()
    extractor: str | None = None
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    random_state: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One training of a recipe: all classes, or one of them.

    index, name: the class, or None and "all". images: loaded, at the generator's size.
    """

    index: int | None
    name: str
    images: LabelledImages
    generator: Generator


def resolve_config(registry: Registry, recipe: Recipe) -> Config:
    """Return the generator's config with every default filled in. Raises ConfigError."""
    return registry.generators[recipe.generator].config.from_fields(recipe.settings)


def build_policy(text: str, registry: Registry) -> StoppingPolicy:
    """Build a policy from ``NAME`` or ``NAME:FIELD=VALUE,...``. Raises ConfigError."""
    name, assignments = split_choice(text)
    plugin = registry.stopping_policies[name]
    return plugin.build(plugin.config.from_strings(assignments))


def with_validation(recipe: Recipe, policies: Sequence[StoppingPolicy]) -> Recipe:
    """Return the recipe with what is scored during training filled in, if anything needs it.

    Scores are needed for select="best", by policies that read metrics, and when `eval_every`,
    `metrics` or `extractor` were given.
    """
    asked = recipe.eval_every or recipe.metrics or recipe.extractor
    if not (asked or recipe.select == "best" or any(p.needs_metrics for p in policies)):
        return recipe
    filled = {
        "eval_every": recipe.eval_every or DEFAULT_EVAL_EVERY,
        "metrics": recipe.metrics or DEFAULT_METRICS,
        "extractor": recipe.extractor or DEFAULT_EXTRACTOR,
    }
    return recipe.model_copy(update=filled)


def plan_parts(
    images: LabelledImages, recipe: Recipe, registry: Registry, built: Generator | None = None
) -> list[Part]:
    """Check the images, load them at the generator's size and build what will be trained.

    built: a generator to use instead of the recipe's plugin, of the images' own spec.
    Raises DataError, ShapeError or ConfigError; nothing was trained then.
    """
    check_selection(recipe.select)
    _check_classes(images)
    if len(images.class_names) == 1 or recipe.conditioning == "conditional":
        groups: list[tuple[int | None, LabelledImages]] = [(None, images)]
    else:
        groups = [(i, images.only([i])) for i in range(len(images.class_names))]
    if built is not None:
        if len(groups) > 1:
            raise ConfigError(
                "conditioning='per-class' needs a generator by name, to build one each."
            )
        loaded = load_at(images, *built.spec.shape[1:])
        return [Part(index=None, name="all", images=loaded, generator=built)]
    config = resolve_config(registry, recipe)
    build = registry.generators[recipe.generator].build
    parts = []
    for index, chosen in groups:
        with seeded(_seed(recipe, index, purpose=0)):
            generator, loaded = _build(lambda spec: build(config, spec), chosen, recipe.size)
        name = "all" if index is None else images.class_names[index]
        parts.append(Part(index=index, name=name, images=loaded, generator=generator))
    return parts


def load_at(images: LabelledImages, height: int, width: int) -> LabelledImages:
    """Load images at the size of a generator, as those that it is trained on.

    Raises ShapeError for images of another size than one that is not square: only squares are
    resized to.
    """
    if height == width:
        return images.load(height)
    loaded = images.load()
    if loaded.spec.shape[1:] != (height, width):
        raise ShapeError(
            f"The generator makes images of {height}x{width}; these are "
            f"{loaded.spec.height}x{loaded.spec.width}. Images are resized to squares only: "
            "resize them first, or build the generator for their size."
        )
    return loaded


def _check_classes(images: LabelledImages) -> None:
    if not len(images):
        raise DataError("There are no images to learn from.")
    for name, n in images.counts.items():
        if n < 2:
            raise DataError(
                f"Class {name!r} has {n} training image{'s' * (n != 1)}; a generator needs at "
                "least 2 to learn a class from. Add images, or leave the class out."
            )


def _build(
    build: Callable[[ImageSpec], Generator], images: LabelledImages, size: int | None
) -> tuple[Generator, LabelledImages]:
    """Build for the images' size; where that cannot be done, for the next power of two."""
    loaded = images.load(size)
    try:
        return build(loaded.spec), loaded
    except ShapeError:
        if size is not None:
            raise
        side = max(loaded.spec.height, loaded.spec.width)
        nearest = min(max(1 << (side - 1).bit_length(), _SMALLEST), _LARGEST)
        loaded = loaded.load(nearest)
        return build(loaded.spec), loaded


def start_training(part: Part, recipe: Recipe, *, device: str = "auto") -> Training:
    """Return a part's training, at its first step."""
    return train(
        part.generator,
        part.images,
        total_images=_total_images(recipe),
        batch_size=recipe.batch_size,
        precision=recipe.precision,
        device=device,
        random_state=_seed(recipe, part.index, purpose=1),
    )


def plan_validations(
    images: LabelledImages,
    rows: LabelledImages,
    parts: Sequence[Part],
    policies: Sequence[StoppingPolicy],
    recipe: Recipe,
    registry: Registry,
    *,
    tell: Callable[[str], None],
) -> list[Validation | None]:
    """Return what scores each part during its training; None each where nothing needs scores.

    images, rows: training and validation images of the trained classes; each part is scored on
    the rows of its own. tell: takes lines for the user in the course of training.

    Raises, before anything is trained, TooFewImagesError or ConfigError; see `Validation`.
    """
    if recipe.eval_every is None:
        return [None for _ in parts]
    best, total = recipe.select == "best", _total_images(recipe)
    if best and total < recipe.eval_every:
        raise ConfigError(
            f"select='best' needs an evaluation, and {total:,} training images end before the "
            f"first, at {recipe.eval_every:,}. Train for longer, or evaluate more often "
            "(--eval-every N, eval_every=N)."
        )
    whole = parts[0].index is None
    training = parts[0].images if whole else load_at(images, *parts[0].images.spec.shape[1:])
    extractor = build_extractor(recipe.extractor or DEFAULT_EXTRACTOR, training.spec, registry)
    with seeded(_seed(recipe, None, purpose=3)):
        extractor.prepare(training)
    plan = Plan(
        metrics=recipe.metrics,
        extractor=SharedExtractor(extractor),
        registry=registry,
        every=recipe.eval_every,
        keep_best=best,
        tell=tell,
    )
    validations = [_validate(part, rows, plan, recipe) for part in parts]
    for policy in policies:
        _check_metrics(policy, validations[0])
    return [*validations]


def _validate(part: Part, rows: LabelledImages, plan: Plan, recipe: Recipe) -> Validation:
    own = rows if part.index is None else rows.only([part.index])
    return Validation(
        load_at(own, *part.images.spec.shape[1:]) if len(own) else own,
        part.images,
        plan,
        name="all classes" if part.index is None else f"class {part.name!r}",
        seed=_seed(recipe, part.index, purpose=2),
    )


def _check_metrics(policy: StoppingPolicy, validation: Validation) -> None:
    """Refuse a policy that would wait for ever for a score that nobody computes."""
    for name in policy.metric_names:
        if name not in validation.names:
            raise ConfigError(
                f"{type(policy).__name__} reads the score {name!r}, and the metrics give "
                f"{', '.join(validation.names)}. Add it (--metric NAME, metrics=), or let the "
                "policy read one of them."
            )


def fit_part(
    training: Training,
    policies: Sequence[StoppingPolicy],
    *,
    history: History | None = None,
    validation: Validation | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> str:
    """Train to the end, or until a policy gives its reason; return why it ended, as a clause.

    validation: puts scores into the history, which policies and `on_step` then see.
    """
    history = History() if history is None else history
    for progress in training:
        history.record(progress)
        if validation is not None:
            validation.update(training, history)
        if on_step is not None:
            on_step(history[-1])
        if reason := first_reason(policies, history):
            return reason
    return f"{training.images_seen:,} images were seen"


def policies_of(recipe: Recipe, registry: Registry, parts: int) -> list[StoppingPolicy]:
    """Build the recipe's policies; its minutes are shared by the parts."""
    texts = list(recipe.stop)
    if recipe.minutes is not None:
        texts.append(f"max-seconds:seconds={recipe.minutes * 60 / parts!r}")
    return [build_policy(text, registry) for text in texts]


def make_model(
    images: LabelledImages,
    parts: Sequence[Part],
    trainings: Sequence[Training],
    recipe: Recipe,
    *,
    validations: Sequence[Validation | None] = (),
    holdout: LabelledImages | None = None,
    keep_copies: bool = False,
    source: Source | None = None,
) -> ImageModel:
    """Return the fitted model: selected weights, original size and bit depth, gate and audit.

    validations: by training, with the best weights where these are selected. holdout: held-out
    images of the classes, in memory; they are judged at the generator's size. keep_copies: hand
    out everything.
    """
    scored = validations or [None] * len(trainings)
    bests = [None if validation is None else validation.best for validation in scored]
    model = ImageModel(
        generators=[
            select(training, recipe.select, best)
            for training, best in zip(trainings, bests, strict=True)
        ],
        class_names=images.class_names,
        output=output_of(parts),
        copies=None if keep_copies else copies_of(parts),
        source=source,
    )
    held = None if holdout is None or not len(holdout) else holdout
    if held is not None:
        held = load_at(held, *parts[0].generator.spec.shape[1:])
    model.memorisation = audit(model, held)
    return model


def output_of(parts: Sequence[Part]) -> Output:
    """Say what images look like on the way out: as they came in, if they were all of one size."""
    loaded = parts[0].images
    sizes = {part.images.original_size for part in parts}
    height, width = (len(sizes) == 1 and sizes.pop()) or loaded.spec.shape[1:]
    return Output(
        height=height,
        width=width,
        dtype=str(np.asarray(loaded.pixels).dtype),
        value_range=loaded.value_range,
    )


def copies_of(parts: Sequence[Part]) -> CopyGate:
    """Return the gate of all parts' training images, at the size they are generated at."""
    images = parts[0].images
    if len(parts) > 1:  # one set of all classes: near duplicates may lie in two of them
        several = [part.images for part in parts]
        groups = [group for some in several for group in some.groups or ("",) * len(some)]
        images = LabelledImages(
            pixels=np.concatenate([np.asarray(some.pixels) for some in several]),
            labels=np.zeros(len(groups), dtype=np.int64),
            class_names=("image",),
            value_range=images.value_range,
            groups=tuple(groups),
        )
    return CopyGate.of(images)


def _total_images(recipe: Recipe) -> int:
    return recipe.total_images or (_UNLIMITED if recipe.minutes else DEFAULT_TOTAL_IMAGES)


def _seed(recipe: Recipe, index: int | None, *, purpose: int) -> int:
    entropy = [recipe.random_state, purpose, 0 if index is None else index + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 16)
