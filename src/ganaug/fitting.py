"""From images and a recipe to a fitted model: the steps that Python and command line share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ganaug.copies import CopyGate
from ganaug.errors import ConfigError
from ganaug.features import build_extractor
from ganaug.filters import check_filters, fit_filters
from ganaug.generator import Generator
from ganaug.memorisation import audit
from ganaug.model import ImageModel, Output, Source
from ganaug.parts import FINE_TUNING_SHARE, Part, load_at, total_images
from ganaug.randomness import seeded
from ganaug.recipes import Recipe, seed_of
from ganaug.registry import Registry
from ganaug.selection import Choice, Ending, describe, select
from ganaug.shared_features import SharedExtractor
from ganaug.spec import LabelledImages
from ganaug.stopping import History, Progress, StoppingPolicy, first_reason
from ganaug.training import Training, train
from ganaug.validation import DEFAULT_EVAL_EVERY, DEFAULT_EXTRACTOR, Plan, Validation

__all__ = [
    "copies_of",
    "fit_part",
    "make_model",
    "output_of",
    "plan_validations",
    "rows_for_filters",
    "start_training",
]

_UNLIMITED = 2**53


def start_training(part: Part, recipe: Recipe, *, device: str = "auto") -> Training:
    """Return a part's training, at its first step."""
    return train(
        part.generator,
        part.images,
        total_images=total_images(recipe, part) or _UNLIMITED,
        batch_size=recipe.batch_size,
        precision=recipe.precision,
        device=device,
        random_state=seed_of(recipe, part.index, purpose=1),
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
    with seeded(seed_of(recipe, None, purpose=3)):
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
        of = otherwise = ""
        if part.role == "fine-tuning":
            share = f"{FINE_TUNING_SHARE:.0%} of the pretraining's"
            of = f" of the fine-tuning of each class, {share},"
            otherwise = ", or train all classes as one (--conditioning conditional)"
        raise ConfigError(
            f"select='best' needs an evaluation, and the {total:,} training images{of} end before "
            f"the first, at {every:,}. Train for longer, or evaluate more often (--eval-every N, "
            f"eval_every=N){otherwise}."
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
        seed=seed_of(recipe, part.index, purpose=2),
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
    return training.ending or "it was stopped"


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
    registry: Registry | None = None,
) -> ImageModel:
    """Return the fitted model: selected weights, original size and bit depth, gate and audit.

    validations: by training, with the best weights where these are selected. holdout: held-out
    images of the classes, in memory; they are judged at the generator's size. rows: training rows
    of all classes, as `rows_for_filters` returned them; `images` unless given. endings: by
    training; with them the model says which weights it has. registry: where filters find what they
    need; that of all installed plugins unless given.
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
        registry = registry or Registry.load()
        seed = recipe.random_state
        model.add_filters(fit_filters(recipe.filters, model, known, registry, seed=seed))
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
