"""Measures of one class against the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganaug.benchmark.weighing import Weighed, area_under_pr, area_under_roc, mean_over, undefined

__all__ = ["OneClass", "against_rest", "choose_threshold"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class OneClass:
    """Whether images are of a class, bool (N,), and how probable that is said to be, (N,)."""

    truth: Bools
    scores: Floats


def against_rest(base: str, test: OneClass, valid: OneClass, specificity: float) -> Weighed:
    """Return a measure by name; those that need a threshold choose it on validation images."""
    if base in _FREE:
        return _FREE[base](test.truth, test.scores)
    threshold = choose_threshold(valid, _RULES[base], specificity)
    if np.isnan(threshold):
        return undefined
    positive = test.scores >= threshold
    if base == "f1":
        return _f1(test.truth, positive)
    found, left_out = mean_over(positive, test.truth), mean_over(~positive, ~test.truth)
    if base == "balanced_accuracy":
        return lambda weights: (found(weights) + left_out(weights)) / 2
    return _where_known(left_out, test.truth) if base == "specificity" else found


_RULES = {
    "balanced_accuracy": "both",
    "sensitivity": "both",
    "specificity": "both",
    "f1": "f1",
    "sensitivity_at_specificity": "specificity",
}


def _where_known(function: Weighed, truth: Bools) -> Weighed:
    """Return the function where there are images of the class, so that means are of the same."""
    return lambda weights: np.where(weights @ truth > 0, function(weights), np.nan)


def _f1(truth: Bools, positive: Bools) -> Weighed:
    """Return 2 TP / (2 TP + FP + FN); unknown without images of the class."""

    def f1(weights: Floats) -> Floats:
        total = weights @ truth + weights @ positive
        return 2 * (weights @ (positive & truth)) / np.where(total > 0, total, 1.0)

    return _where_known(f1, truth)


def choose_threshold(valid: OneClass, rule: str, specificity: float) -> float:
    """Choose a threshold on validation images.

    rule: "both": sensitivity and specificity add up to most (Youden 1950); "f1": F1 is best;
    "specificity": the lowest with that specificity. NaN without images of the class or others;
    infinite where calling nothing positive is what the rule asks for.
    """
    from sklearn.metrics import roc_curve

    truth = valid.truth
    if truth.all() or not truth.any():
        return float("nan")
    others, found, edges = roc_curve(truth, valid.scores, drop_intermediate=False)
    if rule == "specificity":
        best = int(np.flatnonzero(others <= 1 - specificity + 1e-12)[-1])
    elif rule == "f1":
        hits, misses = found * truth.sum(), others * (~truth).sum()
        best = int(np.argmax(2 * hits / (hits + misses + truth.sum())))
    else:
        best = int(np.argmax(found - others))
    # Just at a validation image is too high: a test image a little below is as good as it is.
    below = edges[best + 1] if best + 1 < len(edges) else 0.0
    middle = (edges[best] + below) / 2
    return float(middle if middle > below else edges[best])


def _brier(truth: Bools, scores: Floats) -> Weighed:
    """Return the mean squared error of the class's probability; unknown without the class."""
    return _where_known(mean_over((scores - truth) ** 2, np.ones(len(truth), dtype=bool)), truth)


def _calibration_error(truth: Bools, scores: Floats) -> Weighed:
    """Return the expected calibration error of the class, in bins of equal mass.

    The class-wise error of Kull et al. (2019) with the bins of Nixon et al. (2019), ten, or one an
    image where there are fewer; equal probabilities share a bin. Always above zero for few images,
    which are never exactly as frequent as they should be.
    """
    from scipy.stats import rankdata

    bins = min(_BINS, len(scores))
    place = np.floor((rankdata(scores) - 0.5) * bins / max(len(scores), 1)).astype(np.int64)
    inside = place[:, None] == np.arange(bins)
    gaps = inside * (scores - truth)[:, None]

    def error(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        return np.asarray(np.abs(weights @ gaps).sum(axis=1) / np.where(total > 0, total, 1.0))

    return _where_known(error, truth)


_FREE: Mapping[str, Callable[[Bools, Floats], Weighed]] = {
    "auroc": area_under_roc,
    "auprc": area_under_pr,
    "brier": _brier,
    "calibration_error": _calibration_error,
}
