"""How many synthetic images an arm gets: the rule by which validation images choose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganaug.benchmark.bootstrap import bootstrap_measure
from ganaug.benchmark.measures import check_measure, measure_one

if TYPE_CHECKING:
    from ganaug.benchmark.outcomes import Outcome

__all__ = ["Choice", "choose_ratio"]

Ratio = float | None

#: Draws of validation groups; 400 know a standard error to 4 %.
_DRAWS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which ratio was chosen, and why.

    scores: of each candidate, on validation images; NaN where it cannot be measured. errors: the
    standard error of the difference from the first candidate, of each other one.
    """

    ratio: Ratio
    scores: Mapping[Ratio, float]
    errors: Mapping[Ratio, float] = field(default_factory=dict)


def choose_ratio(
    candidates: Mapping[Ratio, Outcome], measure: str, *, specificity: float, seed: int
) -> Choice:
    """Choose from candidates, the first of which is what is done without a reason to change.

    candidates: outcomes by ratio, each of one training. Their validation images are measured,
    nobody looks at others.

    Another ratio than the first replaces it when it is better by more than one standard error of
    the difference; of several, the best, of equals the first (after Breiman et al. 1984). The
    error is that of a bootstrap over validation groups, the same draws for all candidates. The
    largest of five noisy scores is larger than the first most of the time even where all
    classifiers are worth the same, and arms without synthetic images have one try.
    """
    judged = {ratio: _on_validation(each, measure) for ratio, each in candidates.items()}
    rises = check_measure(measure, next(iter(judged.values())).class_names).higher_is_better
    scores = {
        ratio: measure_one(each, measure, specificity=specificity) for ratio, each in judged.items()
    }
    if len(judged) == 1:
        return Choice(ratio=next(iter(scores)), scores=scores)
    draws = {
        ratio: bootstrap_measure([each], measure, specificity=specificity, draws=_DRAWS, seed=seed)
        for ratio, each in judged.items()
    }
    first, *others = judged
    errors = {ratio: _deviation(draws[ratio] - draws[first]) for ratio in others}
    best, most = first, 0.0
    for ratio in others:
        gain = (scores[ratio] - scores[first]) * (1 if rises else -1)
        if gain > errors[ratio] and gain > most:  # nothing is larger than NaN
            best, most = ratio, gain
    return Choice(ratio=best, scores=scores, errors=errors)


def _on_validation(outcome: Outcome, measure: str) -> Outcome:
    """Return the outcome with validation images where the measure looks, and as the test."""
    part = check_measure(measure, outcome.class_names).part
    train = outcome.validation if part == "train" else outcome.train
    return replace(outcome, train=train, test=outcome.validation)


def _deviation(differences: NDArray[np.float64]) -> float:
    known = differences[np.isfinite(differences)]
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan
