"""Scores of synthetic images, each with what a reader needs to believe it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ganaug.config import split_choice
from ganaug.errors import ConfigError, DataError, GanaugError, ShapeError
from ganaug.evaluator import Evaluator
from ganaug.measuring import Measurement, measure, measure_floors
from ganaug.randomness import seeded

if TYPE_CHECKING:
    from ganaug.evaluator import FeatureExtractor, Role
    from ganaug.features import CachedExtractor
    from ganaug.registry import Registry
    from ganaug.spec import LabelledImages

__all__ = ["ImageRoles", "Score", "build_evaluator", "score_images"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRoles:
    """Images in memory, by the part they play; all of one size and with the same class names.

    train: what the generator learned from, if it is known. holdout: real images that it has not
    seen. synthetic: its own.

    Raises ShapeError for images that differ in channels, height or width, or are not loaded, and
    DataError for other class names.
    """

    train: LabelledImages | None
    holdout: LabelledImages
    synthetic: LabelledImages

    def __post_init__(self) -> None:
        expected = self.holdout.spec
        for role, images in self.by_name.items():
            if images.spec.shape != expected.shape:
                found, wanted = ("x".join(map(str, s.shape)) for s in (images.spec, expected))
                raise ShapeError(
                    f"The {role} images are {found} and the holdout images {wanted} (channels x "
                    "height x width); they must be the same to be compared. Load all of them at "
                    "one size."
                )
            if images.class_names != expected.class_names:
                raise DataError(
                    f"The {role} images have the classes {', '.join(images.class_names)} and the "
                    f"holdout images {', '.join(expected.class_names)}; expected the same, in "
                    "the same order."
                )

    @property
    def by_name(self) -> dict[Role, LabelledImages]:
        """The roles that there are images for."""
        roles: dict[Role, LabelledImages] = {} if self.train is None else {"train": self.train}
        return {**roles, "holdout": self.holdout, "synthetic": self.synthetic}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number that a metric gave, and how far to trust it.

    metric: as it was asked for, such as ``kid:subsets=50``. name: of this number among the
        metric's, such as ``precision``.
    interval: lowest and highest of 95 %, or None. interval_method: how it was estimated, or why
        there is none; None when none was wanted.
    floor: the same number for real images in place of the synthetic ones, which no generator can
        be expected to beat, or None. floor_method: which real images, or why there is none; None
        when none was wanted.
    n: images by role, of the roles that the metric reads.
    extractor, extractor_hash: the feature space, where the metric used one.
    resize: how images came to the size they were scored at. rows: which real rows they are.
    """

    metric: str
    name: str
    value: float
    interval: tuple[float, float] | None
    interval_method: str | None
    floor: float | None
    floor_method: str | None = None
    n: Mapping[str, int]
    higher_is_better: bool | None
    extractor: str | None
    extractor_hash: str | None
    resize: str
    rows: str

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        interval = None if self.interval is None else list(self.interval)
        return {**asdict(self), "interval": interval, "n": dict(self.n)}


def build_evaluator(text: str, extractor: FeatureExtractor | None, registry: Registry) -> Evaluator:
    """Build a metric from ``NAME`` or ``NAME:FIELD=VALUE,...``.

    Raises UnknownPluginError, and ConfigError for a bad field.
    """
    name, assignments = split_choice(text)
    config = registry.evaluators[name].config.from_strings(assignments)
    return registry.evaluators.make(name, lambda it: it.build(config, extractor), Evaluator)


def score_images(
    metrics: Sequence[str],
    roles: ImageRoles,
    registry: Registry,
    *,
    extractor: CachedExtractor | None,
    rows: str,
    resize: str = "none",
    random_state: int = 0,
    batch_size: int = 256,
    floors: bool = True,
    intervals: bool = True,
    failed: dict[str, GanaugError] | None = None,
) -> list[Score]:
    """Score synthetic images by metrics, each ``NAME`` or ``NAME:FIELD=VALUE,...``.

    rows: what to call the real rows that are scored against. resize: how the images came to
    their size. random_state: of floors, of half samples, and of metrics that draw numbers from
    torch's global generator. failed: takes the error of each metric that cannot be computed,
    and the others go on; without it, the first such error is raised.

    Raises ConfigError for a metric that is named twice or has a bad field, UnknownPluginError,
    and whatever a metric raises: DataError for a score that is not a finite number,
    TooFewImagesError, ConfigError for a missing extractor.
    """
    _refuse_repeats(metrics)
    asked: list[Measurement] = []
    for text in metrics:
        build = partial(build_evaluator, text, extractor, registry)
        try:
            asked.append(Measurement(text, build, extractor, random_state))
        except GanaugError as error:
            if failed is None:
                raise
            failed[text] = error
    with seeded(random_state):  # for metrics that draw from torch's global generator
        measure(asked, roles.by_name, batch_size)
        for metric in asked:
            if metric.error is not None:
                if failed is None:
                    raise metric.error
                failed[metric.text] = metric.error
        able = [metric for metric in asked if metric.error is None]
        if floors:
            measure_floors(able, roles.by_name, batch_size)
        if intervals:
            for metric in able:
                metric.estimate_intervals(roles.by_name)
    return [score for metric in able for score in _scores(metric, roles, rows, resize)]


def _refuse_repeats(metrics: Sequence[str]) -> None:
    for text, times in Counter(metrics).items():
        if times > 1:
            raise ConfigError(f"Each metric can be named once; got {text!r} {times} times.")


def _scores(metric: Measurement, roles: ImageRoles, rows: str, resize: str) -> list[Score]:
    """Return what a metric computed, with all that belongs to it."""
    space = metric.extractor if metric.used else None
    resized = [resize, "none" if space is None else space.resize]
    return [
        Score(
            metric=metric.text,
            name=name,
            value=value,
            interval=metric.intervals.get(name),
            interval_method=metric.interval_methods.get(name),
            floor=metric.floor.get(name),
            floor_method=metric.floor_method,
            n={role: len(found) for role, found in roles.by_name.items() if role in metric.reads},
            higher_is_better=metric.evaluator.higher_is_better,
            extractor=None if space is None else space.name,
            extractor_hash=None if space is None else space.fingerprint,
            resize="; ".join(rule for rule in resized if rule != "none") or "none",
            rows=rows,
        )
        for name, value in metric.values.items()
    ]
