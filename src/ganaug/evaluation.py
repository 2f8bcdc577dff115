"""A run's synthetic images against the real ones that it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ganaug.errors import ConfigError, DataError, GanaugError, RunError
from ganaug.features import CachedExtractor
from ganaug.learned import learn_extractor, learned_path
from ganaug.parts import load_at
from ganaug.randomness import class_seed
from ganaug.scoring import ImageRoles, Score, build_evaluator, score_images
from ganaug.spec import LabelledImages, class_indices
from ganaug.splits import divide

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.registry import Registry
    from ganaug.runs import Run

__all__ = ["DEFAULT_METRICS", "Evaluation", "evaluate_run", "keep_features"]

#: What is computed unless metrics are named; and ``cas``, for more than one class.
DEFAULT_METRICS = (
    "kid",
    "prc",
    "density-coverage",
    "c2st",
    "authenticity",
    "ms-ssim",
    "colour-stats",
)

# A class of fewer training images teaches a classifier little that holds for others.
_ENOUGH_TO_LEARN = 10

_FOREIGN_TRAINING = (
    "The training rows are those of the split that was named, which the run may not have learned "
    "from: what compares with them says nothing about copies of what it did learn from."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The scores of a run, and the images that they are about.

    skipped: metrics of the default set that could not be computed, and why. notes: what else a
    reader must know, a sentence each. roles: the images, loaded. extractor: its name. space: the
    extractor, with the features of the images. seed: what the synthetic images were drawn with.
    rows: what the real rows are called.
    """

    scores: tuple[Score, ...]
    skipped: Mapping[str, str]
    notes: tuple[str, ...] = ()
    roles: ImageRoles
    extractor: str
    space: CachedExtractor
    seed: int
    rows: str


def evaluate_run(
    run: Run,
    images: LabelledImages,
    registry: Registry,
    *,
    metrics: Sequence[str] = (),
    extractor: str | None = None,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    n: int | None = None,
    random_state: int = 0,
) -> Evaluation:
    """Score a run's synthetic images against real ones that it was not trained on.

    images: all rows of the source, not decoded. metrics: each ``NAME`` or
        ``NAME:FIELD=VALUE,...``; `DEFAULT_METRICS` unless named. extractor: likewise; unless
        named, ``classifier`` where two classes have training images enough, else ``random-conv``.
    splits: what each row is, when the caller says so; else as the run recorded it. Holdout rows
        are scored, training rows serve the floors and the extractor; validation rows, which
        chose the generator, serve nothing.
    classes: of those that the run was trained on; all unless named.
    n: synthetic images in all, in the proportions of the holdout; as many as it unless given.
    random_state: what they are drawn with, as ``ganaug sample --seed`` draws; and of the scores.

    Images are compared at the size that the generator was trained at. What the extractor learned
    is kept in RUN/extractors and features in RUN/features, and manifest.json lists both; of an
    extractor that `keeps_pixels`, neither is kept.

    Raises RunError for other images than the run's (without splits) and for a damaged run,
    LeakageError when rows of the caller's holdout overlap with those that the run was trained on
    or validated with, DataError without holdout rows, ConfigError for a class that was not trained
    or a bad setting, and what a metric that was named raises.
    """
    if n is not None and n < 1:
        raise ConfigError(f"n, the synthetic images to score, must be at least 1; got {n}.")
    names = _trained(run, classes)
    for text in metrics:
        build_evaluator(text, None, registry)  # a slip is better found before an hour's work
    model = run.read_model(registry).at_trained_size()
    train, holdout, rows = _real_images(run, images, splits, names, model.shape[1:])
    synthetic, notes = _draw(model, holdout, n, random_state, run=str(run.path))
    text = extractor or _default_extractor(train)
    space, trouble = learn_extractor(text, train, run.path, registry)
    of_classes = train.only(class_indices(names, train.class_names))
    roles = ImageRoles(
        train=of_classes if len(of_classes) else None, holdout=holdout, synthetic=synthetic
    )
    if splits is not None and roles.train is not None:
        notes.append(_FOREIGN_TRAINING)
    failed: dict[str, GanaugError] = {}
    try:
        scores = score_images(
            metrics or _default_metrics(names),
            roles,
            registry,
            extractor=space,
            rows=rows,
            resize=_resize_rule(holdout),
            random_state=random_state,
            failed=None if metrics else failed,
        )
    finally:  # what was learned and seen serves the next time, also when a metric refuses
        trouble += keep_features(space, run)
    if not scores:
        reasons = " ".join(f"{metric}: {error}" for metric, error in failed.items())
        raise DataError(f"None of the metrics can be computed. {reasons}")
    return Evaluation(
        scores=tuple(scores),
        skipped={metric: str(error) for metric, error in failed.items()},
        notes=(*notes, *trouble),
        roles=roles,
        extractor=space.name,
        space=space,
        seed=random_state,
        rows=rows,
    )


def _trained(run: Run, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes to score, in the order of the run. Raises ConfigError."""
    known = run.config.class_names
    return tuple(known[i] for i in sorted(class_indices(classes or known, known)))


def _default_metrics(class_names: Sequence[str]) -> tuple[str, ...]:
    return (*DEFAULT_METRICS, "cas") if len(class_names) > 1 else DEFAULT_METRICS


def _default_extractor(train: LabelledImages) -> str:
    learnable = sum(count >= _ENOUGH_TO_LEARN for count in train.counts.values())
    return "classifier" if learnable >= 2 else "random-conv"


def _real_images(
    run: Run,
    images: LabelledImages,
    splits: Sequence[str] | None,
    names: Sequence[str],
    size: tuple[int, int],
) -> tuple[LabelledImages, LabelledImages, str]:
    """Return training rows of all classes and holdout rows of some, loaded; and what they are.

    size: height and width that they are loaded at, the generator's.
    """
    held = run.held_out(images, splits)
    column = run.recorded_splits(images) if splits is None else splits
    training = images.subset([row for row, split in enumerate(column) if split == "training"])
    held = held.only(class_indices(names, images.class_names))
    rows = f"holdout of {run.path}" if splits is None else "holdout that the caller named"
    if not len(held):
        raise DataError(
            f"There are no images of {', '.join(names)} in the {rows}, so that there is nothing "
            "to score against. Say which rows are held out with --split FILE (splits=), or fit "
            "a run with a holdout."
        )
    if splits is None:
        run.check_pixels(training)
    held = load_at(held, *size)
    return load_at(training, *size) if len(training) else _none_like(held, images), held, rows


def _none_like(loaded: LabelledImages, images: LabelledImages) -> LabelledImages:
    """Return no rows of the size of loaded images, with all classes of the source."""
    return replace(loaded.subset([]), class_names=images.class_names)


def _resize_rule(images: LabelledImages) -> str:
    height, width = images.spec.shape[1:]
    if images.original_size == (height, width):
        return "none"
    came = (
        "various sizes" if images.original_size is None else "{}x{}".format(*images.original_size)
    )
    return f"{came} to {height}x{width}, bicubic with antialiasing"


def _draw(
    model: ImageModel, holdout: LabelledImages, n: int | None, seed: int, *, run: str
) -> tuple[LabelledImages, list[str]]:
    """Draw images of the holdout's classes, copies left out; return them and notes.

    Raises DataError when the generator hands out none.
    """
    pixels, labels, notes = [], [], []
    counts = divide(len(holdout) if n is None else n, list(holdout.counts.values()))
    for index, (name, count) in enumerate(zip(holdout.class_names, counts, strict=True)):
        place = model.class_names.index(name)
        with warnings.catch_warnings():  # the note below says it
            warnings.filterwarnings("ignore", message=r"Class .* images; of .* drawn")
            drawn = model.draw(place, count, seed=class_seed(seed, place))
        pixels.append(drawn)
        labels += [index] * len(drawn)
        if len(drawn) < count:
            notes.append(
                f"Class {name!r}: {len(drawn)} of {count} synthetic images; the run's filters "
                "dropped the others that were drawn."
            )
    if not labels:
        raise DataError(
            f"{run} hands out no image: its filters drop all that its generator draws "
            f"({model.explain_drops()}). Fit it again, on more images or with other filters."
        )
    synthetic = LabelledImages(
        pixels=np.concatenate(pixels),
        labels=np.array(labels, dtype=np.int64),
        class_names=holdout.class_names,
        value_range=model.output.value_range,
    )
    return synthetic, [*notes, *_notes_on_drops(model)]


def _notes_on_drops(model: ImageModel) -> list[str]:
    """Say how many draws filters dropped, and what the audit found where it found much."""
    notes, dropped = [], sum(model.dropped.values())
    if dropped:
        notes.append(
            f"{dropped:,} draw{'s' * (dropped > 1)} that the run's filters dropped took no part "
            f"({model.explain_drops()}): scores are of images as the run hands them out."
        )
    if model.memorisation is not None and model.memorisation.flagged:
        notes.append(f"The run has memorised training images: {model.memorisation}.")
    return notes


def keep_features(space: CachedExtractor, run: Run) -> list[str]:
    """Write features that are new into the run; return a note when they cannot be.

    Lists the files of features and of what the extractor learned in the run's manifest.
    """
    before = list((run.path / "features").glob("*"))
    try:
        space.save()
        files = [learned_path(run.path, space.name), space.path]
        kept = [path for path in files if path is not None and path.exists()]
        run.reseal([*kept, *(path for path in before if not path.exists())])
    except RunError as error:
        return [f"Features were not kept for the next time: {error}"]
    return []
