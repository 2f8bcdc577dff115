"""From images and a recipe to a fitted model: the steps that Python and command line share."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ganaug.config import Config, split_choice
from ganaug.copies import CopyGate
from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.features import build_extractor
from ganaug.filters import FilterName, check_filters, fit_filters
from ganaug.generator import Generator
from ganaug.memorisation import audit
from ganaug.model import ImageModel, Output, Source
from ganaug.randomness import seeded
from ganaug.registry import Registry
from ganaug.selection import Choice, Ending, Selection, check_selection, describe, select
from ganaug.shared_features import SharedExtractor
from ganaug.spec import ImageSpec, LabelledImages
from ganaug.stopping import AllOf, AnyOf, History, Progress, StoppingPolicy, first_reason
from ganaug.training import Training, train
from ganaug.validation import (
    DEFAULT_EVAL_EVERY,
    DEFAULT_EXTRACTOR,
    DEFAULT_METRICS,
    Plan,
    Validation,
)

__all__ = [
    "Conditioning",
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
    "rows_for_filters",
    "start_training",
    "time_share",
    "total_images",
    "with_validation",
]

#: What `total_images` is when neither images nor minutes are given: minutes at 32 px on a laptop.
DEFAULT_TOTAL_IMAGES = 100_000
_UNLIMITED = 2**53

#: Words between policies: alone, or at an end, where they are missing a policy.
_BETWEEN_AND, _BETWEEN_OR = (re.compile(rf"(?<!\S){word}(?!\S)") for word in ("and", "or"))

Conditioning = Literal["conditional", "per-class", "pretrain-finetune"]

#: How long a class is fine-tuned, in terms of the pretraining. A quarter is not measured to be
#: best; it keeps the whole of few classes near the length of one training.
_FINE_TUNING_SHARE = 0.25

_SMALLEST, _LARGEST = 16, 256


class Recipe(Config):
    """How a model is fitted; with the images, everything that its weights follow from.

    generator, settings: the plugin's name and its config's fields.
    size: pixels a side to train at; None for the images' own size where the generator can do it.
    conditioning: "conditional" (one generator, told the class), "per-class" (one each) or
        "pretrain-finetune" (one each, which goes on from a training on all classes as one).
    total_images: training images to see, per class when per class; the pretraining's, and a
        quarter of it for each class, when that is fine-tuned; None for 100,000, or no limit when
        there is one in minutes. minutes: of training, shared by the classes; each fine-tuning has
        a quarter of the pretraining's.
    stop: policies, as `build_policy` takes them; any of them ends a training.
    select: "last", "average" or "best".
    eval_every: images between evaluations on validation rows; None for none at all. metrics,
        extractor: what is scored there, ``NAME`` or ``NAME:FIELD=VALUE,...``; the first metric
        decides what is best. `with_validation` fills them in where scores are needed.
    filters: what images must pass before they are handed out; see `ganaug.filters`.
    """

    generator: str = "dcgan"
    settings: dict[str, Any] = Field(default_factory=dict)
    size: int | None = Field(default=None, ge=4, le=4096)
    conditioning: Conditioning = "conditional"
    total_images: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=64, ge=1)
    stop: tuple[str, ...] = ()
    select: Selection = "last"
    eval_every: int | None = Field(default=None, ge=1)
    metrics: tuple[str, ...] = ()
    extractor: str | None = None
    filters: tuple[FilterName, ...] = ("copies",)
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    random_state: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One training of a recipe: all classes, or one of them.

    index, name: the class, or None and "all" or "pretraining". images: loaded, at the generator's
    size. role: the model is made of all parts but the pretraining, which comes first and which
    fine-tunings go on from.
    """

    index: int | None
    name: str
    images: LabelledImages
    generator: Generator
    role: Literal["alone", "pretraining", "fine-tuning"] = "alone"

    @property
    def weight(self) -> float:
        """How long it is trained, in terms of a part that is not fine-tuned."""
        return _FINE_TUNING_SHARE if self.role == "fine-tuning" else 1.0


def resolve_config(registry: Registry, recipe: Recipe) -> Config:
    """Return the generator's config with every default filled in. Raises ConfigError."""
    return registry.generators[recipe.generator].config.from_fields(recipe.settings)


def build_policy(text: str, registry: Registry) -> StoppingPolicy:
    """Build a policy from ``NAME`` or ``NAME:FIELD=VALUE,...``, or several joined by words.

    ``A and B`` stops once both have a reason at one step, ``A or B`` once either has; "and" binds
    more tightly. The words are the core's: a plugin builds its policy from its own fields alone.

    Raises ConfigError, and UnknownPluginError for a name that no plugin has.
    """
    ways = [
        [_build_named(name, text, registry) for name in _BETWEEN_AND.split(way)]
        for way in _BETWEEN_OR.split(text)
    ]
    choices = [way[0] if len(way) == 1 else AllOf(way) for way in ways]
    return choices[0] if len(choices) == 1 else AnyOf(choices)


def _build_named(choice: str, text: str, registry: Registry) -> StoppingPolicy:
    """Build one policy of a text. Raises ConfigError."""
    if not choice.strip():
        raise ConfigError(f"{text!r}: expected a stopping policy before and after each and, or.")
    name, assignments = split_choice(choice.strip())
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
    images: LabelledImages,
    recipe: Recipe,
    registry: Registry,
    built: Generator | None = None,
    *,
    pretraining: LabelledImages | None = None,
) -> list[Part]:
    """Check the images, load them at the generator's size and build what will be trained.

    built: a generator to use instead of the recipe's plugin, of the images' own spec.
    pretraining: what a pretraining sees, of all classes there are; `images` unless given.
    Raises DataError, ShapeError or ConfigError; nothing was trained then.
    """
    check_selection(recipe.select)
    _check_classes(images)
    pretrained = recipe.conditioning == "pretrain-finetune"
    if built is not None:
        if pretrained or (len(images.class_names) > 1 and recipe.conditioning == "per-class"):
            raise ConfigError(
                f"conditioning={recipe.conditioning!r} needs a generator by name, to build one "
                "each."
            )
        loaded = load_at(images, *built.spec.shape[1:])
        return [Part(index=None, name="all", images=loaded, generator=built)]
    config = resolve_config(registry, recipe)
    build = registry.generators[recipe.generator].build
    parts = []
    for index, chosen in _divide(images, recipe, images if pretraining is None else pretraining):
        with seeded(_seed(recipe, index, purpose=0)):
            generator, loaded = _build(lambda spec: build(config, spec), chosen, recipe.size)
        name = "all" if index is None else images.class_names[index]
        parts.append(Part(index=index, name=name, images=loaded, generator=generator))
    if pretrained:
        parts[0] = replace(parts[0], name="pretraining", role="pretraining")
        parts[1:] = [replace(part, role="fine-tuning") for part in parts[1:]]
        _check_stages(parts, recipe)
    return parts


def _check_stages(parts: Sequence[Part], recipe: Recipe) -> None:
    """Raise ConfigError where a class cannot go on from the stage that a pretraining ends at.

    Only where that is known beforehand: minutes and policies can end it anywhere. Should it end
    within a step of a change of stage, `Training.go_on_from` is the one to notice.
    """
    first, total = parts[0], total_images(recipe, parts[0])
    if total is None or recipe.minutes is not None or recipe.stop:
        return
    with seeded(0):
        ended = copy.deepcopy(first.generator)
        ended.advance(total - 1, first.images)
        for part in parts[1:]:
            if copy.deepcopy(ended).advance(total - 1, part.images):
                raise ConfigError(
                    f"The pretraining on {len(first.images):,} images would end at another stage "
                    f"than a training on the {len(part.images):,} of class {part.name!r} is at "
                    f"after {total:,} images: the schedule of {type(ended).__name__} follows from "
                    "their number. Set the schedule in images "
                    "(ganaug plugins show NAME), or use 'per-class' or 'conditional'."
                )


def _divide(
    images: LabelledImages, recipe: Recipe, pretraining: LabelledImages
) -> Iterator[tuple[int | None, LabelledImages]]:
    """Yield what each part is trained on, with its class. Raises ConfigError; see `plan_parts`."""
    if recipe.conditioning == "pretrain-finetune":
        yield None, _as_pretraining(pretraining)
    elif len(images.class_names) == 1 or recipe.conditioning == "conditional":
        yield None, images
        return
    for index in range(len(images.class_names)):
        yield index, images.only([index])


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


def _as_pretraining(images: LabelledImages) -> LabelledImages:
    """Return images as a pretraining sees them, each as often. Raises ConfigError for one class."""
    present = [name for name, n in images.counts.items() if n]
    if len(present) == 1:
        raise ConfigError(
            "conditioning='pretrain-finetune' trains on all classes before it fine-tunes each, and "
            f"there is only class {present[0]!r}. Give images of more classes, or use "
            "'conditional' or 'per-class'."
        )
    return images.as_one_class()


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
        total_images=total_images(recipe, part) or _UNLIMITED,
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
    pretraining_rows: LabelledImages | None = None,
) -> list[Validation | None]:
    """Return what scores each part during its training; None each where nothing needs scores.

    images, rows: training and validation images of the trained classes; each part is scored on
    the rows of its own. tell: takes lines for the user in the course of training.
    pretraining_rows: validation images for a pretraining; `rows` unless given.

    Raises, before anything is trained, TooFewImagesError or ConfigError; see `Validation`.
    """
    if recipe.eval_every is None:
        return [None for _ in parts]
    best = recipe.select == "best"
    if best:
        _check_evaluated(recipe, parts)
    whole = parts[0].index is None and parts[0].role == "alone"
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
    general = rows if pretraining_rows is None else pretraining_rows
    own = [_rows_of(part, general if part.role == "pretraining" else rows) for part in parts]
    validations = [_validate(*pair, plan, recipe) for pair in zip(parts, own, strict=True)]
    for policy in policies:
        _check_metrics(policy, validations[0])
    return [*validations]


def _check_evaluated(recipe: Recipe, parts: Sequence[Part]) -> None:
    """Raise ConfigError where a part would end before its first evaluation."""
    every = recipe.eval_every or DEFAULT_EVAL_EVERY
    for part in parts:
        total = total_images(recipe, part)
        if total is None or total >= every:
            continue
        of = ""
        if part.role == "fine-tuning":
            share = f"{_FINE_TUNING_SHARE:.0%} of the pretraining's"
            of = f" of the fine-tuning of each class, {share},"
        raise ConfigError(
            f"select='best' needs an evaluation, and the {total:,} training images{of} end before "
            f"the first, at {every:,}. Train for longer, or evaluate more often (--eval-every N, "
            "eval_every=N)."
        )


def _rows_of(part: Part, rows: LabelledImages) -> LabelledImages:
    """Return the rows that a part is scored on, of its classes."""
    if part.role == "pretraining":
        return rows.as_one_class()
    return rows if part.index is None else rows.only([part.index])


def _validate(part: Part, rows: LabelledImages, plan: Plan, recipe: Recipe) -> Validation:
    return Validation(
        load_at(rows, *part.images.spec.shape[1:]) if len(rows) else rows,
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
    pretrained: Training | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> str:
    """Train to the end, or until a policy gives its reason; return why it ended, as a clause.

    validation: puts scores into the history, which policies and `on_step` then see. pretrained:
        what a training that has not begun goes on from.
    """
    history = History() if history is None else history
    if pretrained is not None and training.step == 0:
        training.go_on_from(pretrained)
    for progress in training:
        history.record(progress)
        if validation is not None:
            validation.update(training, history)
        if on_step is not None:
            on_step(history[-1])
        if reason := first_reason(policies, history):
            return reason
    return f"{training.images_seen:,} images were seen"


def time_share(part: Part, parts: Sequence[Part]) -> float:
    """Return the share of a recipe's minutes that one of its parts has."""
    return part.weight / sum(each.weight for each in parts)


def policies_of(recipe: Recipe, registry: Registry, share: float = 1.0) -> list[StoppingPolicy]:
    """Build the recipe's policies; share: of its minutes, see `time_share`."""
    texts = list(recipe.stop)
    if recipe.minutes is not None:
        texts.append(f"max-seconds:seconds={recipe.minutes * 60 * share!r}")
    return [build_policy(text, registry) for text in texts]


def make_model(
    images: LabelledImages,
    parts: Sequence[Part],
    trainings: Sequence[Training],
    recipe: Recipe,
    *,
    validations: Sequence[Validation | None] = (),
    holdout: LabelledImages | None = None,
    rows: LabelledImages | None = None,
    source: Source | None = None,
    endings: Sequence[Ending] = (),
) -> ImageModel:
    """Return the fitted model: selected weights, original size and bit depth, gate and audit.

    validations: by training, with the best weights where these are selected. holdout: held-out
    images of the classes, in memory; they are judged at the generator's size. rows: training rows
    of all classes, as `rows_for_filters` returned them; `images` unless given. endings: by
    training; with them the model says which weights it has.
    """
    scored = validations or [None] * len(trainings)
    bests = [None if validation is None else validation.best for validation in scored]
    model = ImageModel(
        generators=[
            _with_judge(select(training, recipe.select, best), training, recipe)
            for part, training, best in zip(parts, trainings, bests, strict=True)
            if part.role != "pretraining"
        ],
        class_names=images.class_names,
        output=output_of(parts),
        copies=copies_of(parts) if "copies" in recipe.filters else None,
        source=source,
    )
    if endings:
        ended = zip(parts, trainings, scored, endings, strict=True)
        used = (each for each in ended if each[0].role != "pretraining")
        model.choices = tuple(map(partial(_describe, recipe), model.generators, used))
    held = None if holdout is None or not len(holdout) else holdout
    if held is not None:
        held = load_at(held, *parts[0].generator.spec.shape[1:])
    model.memorisation = audit(model, held)
    if len(recipe.filters) > ("copies" in recipe.filters):
        known = load_at(images, *parts[0].generator.spec.shape[1:]) if rows is None else rows
        model.add_filters(
            fit_filters(recipe.filters, model, known, Registry.load(), seed=recipe.random_state)
        )
    return model


def rows_for_filters(
    rows: LabelledImages, parts: Sequence[Part], recipe: Recipe, registry: Registry
) -> LabelledImages | None:
    """Return what a recipe's filters learn from, at the generator's size; None if they do not.

    rows: training rows of all classes. Raises, before anything is trained, what `check_filters`
    raises, and DataError or ShapeError for rows that cannot be loaded.
    """
    if not set(recipe.filters) - {"copies"}:
        return None
    loaded = load_at(rows, *parts[0].generator.spec.shape[1:])
    grown = [part for part in parts if part.role != "pretraining"]
    names = [name for part in grown for name in part.images.class_names]
    check_filters(recipe.filters, grown[0].generator, loaded, names, registry)
    return loaded


def _with_judge(generator: Generator, training: Training, recipe: Recipe) -> Generator:
    """Give selected weights what judged them at the end: the average has none of its own."""
    if "discriminator" not in recipe.filters:
        return generator
    judge = training.generator.state_dict().items()
    own = {name: value for name, value in judge if not name.startswith("network.")}
    generator.load_state_dict(own, strict=False)
    return generator


def _describe(
    recipe: Recipe,
    generator: Generator,
    trained: tuple[Part, Training, Validation | None, Ending],
) -> Choice:
    """Say which weights a generator has; they are scored where they were not while it trained."""
    part, training, validation, ending = trained
    best = None if validation is None else validation.best
    name = "all classes" if part.index is None else part.name
    choice = describe(training, recipe.select, best, ending, part=name)
    if choice.scores or validation is None:
        return choice
    return replace(choice, scores=validation.score(generator))


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
    images = parts[0].images  # a pretraining's are those of all parts
    if len(parts) > 1 and parts[0].role != "pretraining":
        # One set of all classes: near duplicates may lie in two of them.
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


def total_images(recipe: Recipe, part: Part) -> int | None:
    """Return the training images that a part sees; None without a limit."""
    images = recipe.total_images or (None if recipe.minutes else DEFAULT_TOTAL_IMAGES)
    return None if images is None else max(round(images * part.weight), 1)


def _seed(recipe: Recipe, index: int | None, *, purpose: int) -> int:
    entropy = [recipe.random_state, purpose, 0 if index is None else index + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 16)
