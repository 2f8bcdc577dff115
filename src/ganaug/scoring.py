"""Scores of synthetic images, each with what a reader needs to believe it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from ganaug.config import split_choice
from ganaug.errors import ConfigError, DataError, GanaugError, ShapeError, TooFewImagesError
from ganaug.evaluator import Evaluator, FeatureEvaluator
from ganaug.pixels import to_signed
from ganaug.randomness import seeded
from ganaug.resampling import draw_by_class, half_sample_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ganaug.evaluator import FeatureExtractor, Role
    from ganaug.features import CachedExtractor
    from ganaug.registry import Registry
    from ganaug.spec import LabelledImages

__all__ = ["ImageRoles", "Score", "build_evaluator", "score_images"]

_OWN = "95 %, the metric's own estimate"
_NONE = "none: this score has no interval"

ResultT = TypeVar("ResultT")


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
    plugin = registry.evaluators[name]
    return plugin.build(plugin.config.from_strings(assignments), extractor)


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
    asked: list[_Metric] = []
    for text in metrics:
        try:
            asked.append(_Metric(text, extractor, registry, random_state))
        except GanaugError as error:
            if failed is None:
                raise
            failed[text] = error
    with seeded(random_state):  # for metrics that draw from torch's global generator
        _measure(asked, roles.by_name, batch_size)
        for metric in asked:
            if metric.error is not None:
                if failed is None:
                    raise metric.error
                failed[metric.text] = metric.error
        able = [metric for metric in asked if metric.error is None]
        if floors:
            _measure_floors(able, roles, registry, batch_size)
        if intervals:
            for metric in able:
                metric.estimate_intervals(roles)
    return [score for metric in able for score in metric.scores(roles, rows, resize)]


def _refuse_repeats(metrics: Sequence[str]) -> None:
    for text, times in Counter(metrics).items():
        if times > 1:
            raise ConfigError(f"Each metric can be named once; got {text!r} {times} times.")


class _Metric:
    """A metric at work on images by role.

    used: whether it has asked the extractor for anything. error: why it cannot be computed.
    values: what it computed. floor, intervals: of these, by name; with how, or why not.
    """

    def __init__(
        self, text: str, extractor: CachedExtractor | None, registry: Registry, seed: int
    ) -> None:
        self.text = text
        self.extractor = extractor
        self.seed = seed
        self.evaluator = build_evaluator(text, extractor, registry)
        self.used = False
        self.error: GanaugError | None = None
        self.values: Mapping[str, float] = {}
        self.floor: Mapping[str, float] = {}
        self.floor_method: str | None = None
        self.intervals: dict[str, tuple[float, float]] = {}
        self.interval_methods: dict[str, str] = {}

    @property
    def reads(self) -> tuple[Role, ...]:
        """The roles whose images it looks at; all of them for a metric that does not say."""
        if isinstance(self.evaluator, FeatureEvaluator):
            return self.evaluator.roles
        return "train", "holdout", "synthetic"

    def update(self, images: Tensor, role: Role, labels: Tensor) -> None:
        """Show it a batch."""
        self._attempt(lambda: self.evaluator.update(images, role=role, labels=labels))

    def compute(self) -> None:
        """Let it compute; a score that is not finite is an error."""
        with seeded(self.seed):  # whatever other metrics have drawn
            self._attempt(self._compute)

    def estimate_intervals(self, roles: ImageRoles) -> None:
        """Take the metric's own intervals; half samples for the scores that it does not name."""
        try:
            with seeded(self.seed):
                own = self._call(self.evaluator.intervals)
                others = [name for name in self.values if name not in own]
                found, how = self._call(lambda: self._half_samples(others, roles))
        except GanaugError as error:
            own, found, how = {}, {}, f"none: {error}"
        self.interval_methods = {
            name: how if name not in own else _NONE if own[name] is None else _OWN
            for name in self.values
        }
        for name, pair in {**found, **own}.items():
            if pair is not None and np.isfinite(pair).all():
                low, high = self.evaluator.ranges.get(name, (-math.inf, math.inf))
                self.intervals[name] = (max(pair[0], low), min(pair[1], high))
            else:
                self.interval_methods[name] = _NONE

    def scores(self, roles: ImageRoles, rows: str, resize: str) -> list[Score]:
        """Return what it computed, with all that belongs to it."""
        space = self.extractor if self.used else None
        resized = [resize, "none" if space is None else space.resize]
        return [
            Score(
                metric=self.text,
                name=name,
                value=value,
                interval=self.intervals.get(name),
                interval_method=self.interval_methods.get(name),
                floor=self.floor.get(name),
                floor_method=self.floor_method,
                n={role: len(found) for role, found in roles.by_name.items() if role in self.reads},
                higher_is_better=self.evaluator.higher_is_better,
                extractor=None if space is None else space.name,
                extractor_hash=None if space is None else space.fingerprint,
                resize="; ".join(rule for rule in resized if rule != "none") or "none",
                rows=rows,
            )
            for name, value in self.values.items()
        ]

    def _half_samples(
        self, names: Sequence[str], roles: ImageRoles
    ) -> tuple[Mapping[str, tuple[float, float]], str]:
        """Return intervals of these scores, and how they were estimated or why there are none."""
        evaluator = self.evaluator
        if not names:
            return {}, ""
        if not isinstance(evaluator, FeatureEvaluator):
            return {}, "none: the metric gives none, and keeps no features to draw halves of"
        rng = np.random.default_rng([self.seed, 1])
        values = {name: self.values[name] for name in names}
        return half_sample_intervals(evaluator, values, roles.by_name, rng)

    def _compute(self) -> None:
        values = {name: float(value) for name, value in self.evaluator.compute().items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise DataError(
                    f"Metric {self.text!r}: {name} is {value}, which is no score. Look for images "
                    "that are all alike, and for features that do not vary."
                )
        self.values = values

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do something with the evaluator unless it has failed; keep the error if it does."""
        if self.error is None:
            try:
                self._call(action)
            except GanaugError as error:
                self.error = error

    def _call(self, action: Callable[[], ResultT]) -> ResultT:
        """Do something with the evaluator; see whether that uses the extractor."""
        if self.extractor is not None:
            self.extractor.used = False
        result = action()
        self.used |= self.extractor is not None and self.extractor.used
        return result


def _measure(
    metrics: Sequence[_Metric], roles: Mapping[Role, LabelledImages], batch_size: int
) -> None:
    """Show images by role to metrics, and let them compute."""
    _show(metrics, roles, batch_size)
    for metric in metrics:
        metric.compute()


def _show(
    metrics: Sequence[_Metric], roles: Mapping[Role, LabelledImages], batch_size: int
) -> None:
    """Show images by role, each batch to all metrics that read the role."""
    for role, images in roles.items():
        readers = [metric for metric in metrics if role in metric.reads]
        for start in range(0, len(images) if readers else 0, batch_size):
            part = slice(start, start + batch_size)
            batch = to_signed(np.asarray(images.pixels[part]), images.value_range)
            labels = torch.from_numpy(images.labels[part])
            for metric in readers:
                metric.update(batch, role, labels)


def _measure_floors(
    metrics: Sequence[_Metric], roles: ImageRoles, registry: Registry, batch_size: int
) -> None:
    """Let fresh evaluators score training images in place of the synthetic ones.

    As many of each class; the training rows that are left stay what they are, so that no row
    plays two roles.
    """
    chosen, method = _stand_ins(roles, metrics[0].seed if metrics else 0)
    for metric in metrics:
        metric.floor_method = method
    if chosen is None or roles.train is None:
        return
    kept: dict[Role, NDArray[np.int64]] = {
        "train": np.setdiff1d(np.arange(len(roles.train)), chosen),
        "holdout": np.arange(len(roles.holdout)),
        "synthetic": np.arange(0),
    }
    again = [_Metric(m.text, m.extractor, registry, m.seed) for m in metrics]
    anew = []
    for metric, fresh in zip(metrics, again, strict=True):
        if isinstance(metric.evaluator, FeatureEvaluator):
            fresh.evaluator = metric.evaluator.subset(kept)  # it has looked at these
        else:
            anew.append(fresh)
    synthetic = roles.train.subset(chosen)
    rest: dict[Role, LabelledImages] = {
        "train": roles.train.subset(kept["train"]),
        "holdout": roles.holdout,
    }
    _show(anew, rest, batch_size)
    _measure(again, {"synthetic": synthetic}, batch_size)
    for metric, fresh in zip(metrics, again, strict=True):
        metric.floor = fresh.values
        if fresh.error is not None:
            metric.floor_method = f"none: {fresh.error}"


def _stand_ins(roles: ImageRoles, seed: int) -> tuple[NDArray[np.int64] | None, str]:
    """Draw training rows to take the place of the synthetic images; say what, or why not."""
    if roles.train is None:
        return None, "none: there are no training images to take the place of the synthetic ones"
    rng = np.random.default_rng([seed, 0])
    try:
        chosen = draw_by_class(roles.train, roles.synthetic.counts, rng)
    except TooFewImagesError as error:
        return None, f"none: {error}"
    return chosen, f"{len(chosen)} training images in place of the synthetic ones"
