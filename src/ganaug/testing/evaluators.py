"""What every metric promises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from ganaug.config import Config
from ganaug.errors import TooFewImagesError
from ganaug.evaluator import Evaluator, FeatureExtractor
from ganaug.plugins import EvaluatorPlugin
from ganaug.randomness import seeded
from ganaug.spec import ImageSpec
from ganaug.testing.checks import check_table, config_round_trip, expect, expect_kind, failing
from ganaug.testing.extractors import as_batch
from ganaug.testing.images import example_images

__all__ = ["CHECKS", "EvaluatorSubject"]

CHECKS, _check = check_table()
_check(config_round_trip)

_ROLES = ("train", "holdout", "synthetic")
_N, _CLASSES = 48, 3
_TOLERANCE = 1e-3

#: Other orders of images, and how many standard deviations of their scores may lie between them
#: and the first: of what is drawn at random, one score in a thousand is further away.
_ORDERS, _DEVIATIONS = 8, 6


class _Columns(FeatureExtractor):
    """Mean colours of a 4 x 4 grid, and how near they are to those of each class."""

    name = "columns"
    dimension = 48
    channels = 3
    size = None
    dtype = "float32"
    resize = "none"

    def prepare(self, images: Any) -> None:
        features = self.extract(as_batch(images))
        labels = torch.from_numpy(images.labels)
        self._means = torch.stack([features[labels == c].mean(0) for c in range(_CLASSES)])

    def extract(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)

    def logits(self, images: Tensor) -> Tensor:
        return -4 * torch.cdist(self.extract(images), self._means)

    @property
    def fingerprint(self) -> str:
        return "columns"


@dataclass
class EvaluatorSubject:
    """A metric under test. settings: fields of its config."""

    record: EvaluatorPlugin
    settings: dict[str, Any]

    @cached_property
    def config(self) -> Config:
        """The config that it is built with."""
        return self.record.config.from_fields(self.settings)

    @cached_property
    def roles(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Images and labels by role, three samples of one law."""
        spec = ImageSpec(channels=3, height=32, width=32, class_names=("a", "b", "c"))
        found = {}
        for seed, role in enumerate(_ROLES):
            images = example_images(spec, n=_N, seed=seed)
            found[role] = (as_batch(images), torch.from_numpy(images.labels))
        return found

    def build(self) -> Evaluator:
        """Build it, with an extractor that tells the classes apart."""
        extractor = _Columns()
        spec = ImageSpec(channels=3, height=32, width=32, class_names=("a", "b", "c"))
        extractor.prepare(example_images(spec, n=_N, seed=0))
        evaluator = self.record.build(self.config, extractor)
        expect_kind(evaluator, Evaluator, "build")
        return evaluator

    def scores(
        self,
        roles: Mapping[str, tuple[Tensor, Tensor]],
        *,
        batch: int = _N,
        evaluator: Evaluator | None = None,
    ) -> dict[str, float]:
        """Return the scores of images by role, in their order, given in batches of a size.

        Torch's global random numbers are seeded, as they are wherever ganaug computes scores.
        """
        evaluator = evaluator or self.build()
        with seeded(0):
            for role, (images, labels) in roles.items():
                for start in range(0, len(images), batch):
                    rows = slice(start, start + batch)
                    evaluator.update(images[rows], role=role, labels=labels[rows])  # type: ignore[arg-type]  # one of the roles
            return dict(evaluator.compute())


def _shuffled(
    roles: Mapping[str, tuple[Tensor, Tensor]], rng: torch.Generator
) -> dict[str, tuple[Tensor, Tensor]]:
    found = {}
    for role, (images, labels) in roles.items():
        order = torch.randperm(len(images), generator=rng)
        found[role] = (images[order], labels[order])
    return found


def _expect_equal(wanted: dict[str, float], found: dict[str, float], when: str) -> None:
    expect(wanted.keys() == found.keys(), f"{when} it has the scores {', '.join(found)}")
    for name, value in wanted.items():
        same = math.isclose(value, found[name], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        expect(same, f"{name} is {value:.6g}, and {found[name]:.6g} {when}")


@_check
def named_finite_numbers(subject: EvaluatorSubject) -> None:
    """It computes one named number or more, within the ranges that it states."""
    scores = subject.scores(subject.roles)
    ranges = subject.build().ranges
    expect(bool(scores), "it computed no score")
    for name, value in scores.items():
        expect(
            isinstance(name, str) and isinstance(value, float) and math.isfinite(value),
            f"the score {name!r} is {value!r}; expected a finite float",
        )
        low, high = ranges.get(name, (-math.inf, math.inf))
        expect(low <= value <= high, f"{name} is {value:g}; it states [{low:g}, {high:g}]")


@_check
def better_for_the_same_law(subject: EvaluatorSubject) -> None:
    """Images of the same law score better than distorted ones, where either end is better."""
    better = subject.build().higher_is_better
    if better is None:
        return
    images, labels = subject.roles["synthetic"]
    distorted = (0.2 * images.flip(3) - 0.7).clamp(-1, 1)
    same = subject.scores(subject.roles)
    other = subject.scores({**subject.roles, "synthetic": (distorted, labels)})
    name = next(iter(same))
    sign = 1 if better else -1
    expect(
        sign * same[name] > sign * other[name],
        f"{name} is {same[name]:.4g} for images of the same law and {other[name]:.4g} for "
        f"distorted ones, and it states higher_is_better={better}",
    )


@_check
def any_batch_size(subject: EvaluatorSubject) -> None:
    """Scores do not depend on how images were cut into batches."""
    wanted = subject.scores(subject.roles)
    _expect_equal(wanted, subject.scores(subject.roles, batch=7), "in batches of 7")


@_check
def any_order_of_roles(subject: EvaluatorSubject) -> None:
    """Scores do not depend on which role's images come first."""
    wanted = subject.scores(subject.roles)
    backwards = {role: subject.roles[role] for role in reversed(_ROLES)}
    _expect_equal(wanted, subject.scores(backwards), "with the roles in another order")


@_check
def any_order_within_roles(subject: EvaluatorSubject) -> None:
    """The order of a role's images decides which are in a random subset, and nothing else.

    So the scores of one order look like those of others, which are the same but for metrics that
    draw; here that order puts images of one class at the same places of all roles.
    """
    wanted = subject.scores(subject.roles)
    rng = torch.Generator().manual_seed(0)
    shuffled = [subject.scores(_shuffled(subject.roles, rng)) for _ in range(_ORDERS)]
    for name, value in wanted.items():
        others = [scores[name] for scores in shuffled]
        apart = abs(value - fmean(others))
        chance = _DEVIATIONS * stdev(others) + _TOLERANCE * (1 + abs(value))
        expect(
            apart <= chance,
            f"{name} is {value:.6g}, and {fmean(others):.6g} in the mean of other orders of the "
            "images of each role: images at the same place, or side by side, are no pairs",
        )


@_check
def forgets_on_reset(subject: EvaluatorSubject) -> None:
    """After reset it has seen nothing, and computes what a new one does."""
    evaluator = subject.build()
    images, labels = subject.roles["synthetic"]
    other = {**subject.roles, "synthetic": (images.flip(2) * 0.5, labels)}
    subject.scores(other, evaluator=evaluator)
    evaluator.reset()
    found = subject.scores(subject.roles, evaluator=evaluator)
    _expect_equal(subject.scores(subject.roles), found, "after reset")


@_check
def refuses_too_few(subject: EvaluatorSubject) -> None:
    """Without images it raises TooFewImagesError."""
    evaluator = subject.build()
    with failing(TooFewImagesError, "it was asked to compute scores of no images"):
        evaluator.compute()
