"""Metrics at work: what they compute of images, how sure that is, and what real images get."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from ganaug.errors import DataError, GanaugError, TooFewImagesError
from ganaug.evaluator import FeatureEvaluator
from ganaug.pixels import to_signed
from ganaug.randomness import seeded
from ganaug.resampling import beside, draw_by_class, half_sample_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ganaug.evaluator import Evaluator, Role
    from ganaug.features import CachedExtractor
    from ganaug.spec import LabelledImages

__all__ = ["Measurement", "measure", "measure_floors"]

_OWN = "95 %, the metric's own estimate"
_NONE = "none: this score has no interval"
_SAME = "none: it is the same for all half samples"

ResultT = TypeVar("ResultT")


class Measurement:
    """A metric at work on images by role.

    text: the metric as it was asked for. build: makes an evaluator that has seen nothing.
    seed: of what it draws. used: whether it has asked the extractor for anything.
    error: why it cannot be computed.
    values: what it computed. floor, intervals: of these, by name; with how, or why not.
    """

    def __init__(
        self,
        text: str,
        build: Callable[[], Evaluator],
        extractor: CachedExtractor | None,
        seed: int,
    ) -> None:
        self.text = text
        self.build = build
        self.extractor = extractor
        self.seed = seed
        self.evaluator = build()
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

    def add_groups(self, groups: Sequence[str], role: Role) -> None:
        """Say of which group each image of a role is, once it has seen them."""
        evaluator = self.evaluator
        if isinstance(evaluator, FeatureEvaluator):
            self._attempt(lambda: evaluator.add_groups(groups, role=role))

    def compute(self) -> None:
        """Let it compute; a score that is not finite is an error."""
        with seeded(self.seed):  # whatever other metrics have drawn
            self._attempt(self._compute)

    def estimate_intervals(self, roles: Mapping[Role, LabelledImages]) -> None:
        """Take the metric's own intervals; half samples for the scores that it does not name."""
        try:
            with seeded(self.seed):
                own = self._call(self.evaluator.intervals)
                others = [name for name in self.values if name not in own]
                found, how = self._call(lambda: self._half_samples(others, roles))
        except GanaugError as error:
            own, found, how = {}, {}, f"none: {error}"
        without = how if how.startswith("none") else _SAME
        for name in self.values:
            pair = own[name] if name in own else found.get(name)
            if pair is not None and np.isfinite(pair).all():
                low, high = self.evaluator.ranges.get(name, (-math.inf, math.inf))
                self.intervals[name] = (max(pair[0], low), min(pair[1], high))
                self.interval_methods[name] = _OWN if name in own else how
            else:
                self.interval_methods[name] = _NONE if name in own else without

    def _half_samples(
        self, names: Sequence[str], roles: Mapping[Role, LabelledImages]
    ) -> tuple[Mapping[str, tuple[float, float]], str]:
        """Return intervals of these scores, and how they were estimated or why there are none."""
        evaluator = self.evaluator
        if not names:
            return {}, ""
        if not isinstance(evaluator, FeatureEvaluator):
            return {}, "none: the metric gives none, and keeps no features to draw halves of"
        rng = np.random.default_rng([self.seed, 1])
        values = {name: self.values[name] for name in names}
        return half_sample_intervals(evaluator, values, roles, rng)

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


def measure(
    metrics: Sequence[Measurement], roles: Mapping[Role, LabelledImages], batch_size: int
) -> None:
    """Show images by role to metrics, and let them compute."""
    _show(metrics, roles, batch_size)
    for metric in metrics:
        metric.compute()


def _show(
    metrics: Sequence[Measurement], roles: Mapping[Role, LabelledImages], batch_size: int
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
        for metric in readers if images.groups is not None else ():
            metric.add_groups(images.groups or (), role)


def measure_floors(
    metrics: Sequence[Measurement], roles: Mapping[Role, LabelledImages], batch_size: int
) -> None:
    """Let fresh evaluators score training images in place of the synthetic ones.

    As many of each class, and whole groups but for the last ones, which are cut. The training
    rows that are left stay what they are, without those that share a group with a stand-in: so
    no row plays two roles, nor does a patient, whose images resemble each other as copies do.
    """
    chosen, method = _stand_ins(roles, metrics[0].seed if metrics else 0)
    for metric in metrics:
        metric.floor_method = method
    if chosen is None:
        return
    train = roles["train"]
    left = beside(train, chosen)
    enough = [metric for metric in metrics if _has_enough(metric, len(left), len(chosen))]
    kept: dict[Role, NDArray[np.int64]] = {
        "train": left,
        "holdout": np.arange(len(roles["holdout"])),
        "synthetic": np.arange(0),
    }
    again = [Measurement(m.text, m.build, m.extractor, m.seed) for m in enough]
    anew = []
    for metric, fresh in zip(enough, again, strict=True):
        if isinstance(metric.evaluator, FeatureEvaluator):
            fresh.evaluator = metric.evaluator.subset(kept)  # it has looked at these
        else:
            anew.append(fresh)
    _show(anew, {"train": train.subset(left), "holdout": roles["holdout"]}, batch_size)
    measure(again, {"synthetic": train.subset(chosen)}, batch_size)
    for metric, fresh in zip(enough, again, strict=True):
        metric.floor = fresh.values
        if fresh.error is not None:
            metric.floor_method = f"none: {fresh.error}"


def _has_enough(metric: Measurement, left: int, stand_ins: int) -> bool:
    """Whether a metric that reads training images has some to read; says so if not.

    With fewer than there are stand-ins, the floor would be of another question: distances to a
    handful of training images are not those to all of them.
    """
    if "train" not in metric.reads or left >= stand_ins:
        return True
    metric.floor_method = (
        f"none: beside {stand_ins:,} training images in place of the synthetic ones, {left:,} are "
        "left that share no group with them; there must be as many"
    )
    return False


def _stand_ins(
    roles: Mapping[Role, LabelledImages], seed: int
) -> tuple[NDArray[np.int64] | None, str]:
    """Draw training rows to take the place of the synthetic images; say what, or why not."""
    if "train" not in roles:
        return None, "none: there are no training images to take the place of the synthetic ones"
    train = roles["train"]
    rng = np.random.default_rng([seed, 0])
    try:
        chosen = draw_by_class(train, roles["synthetic"].counts, rng)
    except TooFewImagesError as error:
        return None, f"none: {error}"
    whole = " of whole groups" if train.groups is not None and any(train.groups) else ""
    return chosen, f"{len(chosen):,} training images{whole} in place of the synthetic ones"
