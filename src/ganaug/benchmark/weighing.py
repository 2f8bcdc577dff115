"""Parts of measures, as functions of the weights of images.

Each takes weights, float64 (B, N), N images weighed in B ways, and returns float64 (B,). A whole
number w as weight is as good as w copies of the image; NaN is what cannot be computed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Weighed", "area_under_pr", "area_under_roc", "mean_over", "undefined"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Weighed = Callable[[Floats], Floats]


def undefined(weights: Floats) -> Floats:
    """Return NaN."""
    return np.full(len(weights), np.nan)


def mean_over(values: Bools | Floats, among: Bools) -> Weighed:
    """Return the mean of values (N,) over the images among which it is asked."""
    products, counted = values * among, among.astype(np.float64)
    return lambda weights: _divide(weights @ products, weights @ counted)


def area_under_roc(truth: Bools, scores: Floats) -> Weighed:
    """Return the area under the ROC curve, in which ties count half."""
    order, ends = _by_score(scores)

    def area(weights: Floats) -> Floats:
        hits, misses = _cumulated(weights, truth, order, ends)
        heights = hits + np.pad(hits, ((0, 0), (1, 0)))[:, :-1]
        steps = np.diff(misses, axis=1, prepend=0.0)
        return _divide((steps * heights).sum(axis=1) / 2, hits[:, -1] * misses[:, -1])

    return area if len(scores) else undefined


def area_under_pr(truth: Bools, scores: Floats) -> Weighed:
    """Return average precision; unknown without images of the class or without others."""
    order, ends = _by_score(scores)

    def area(weights: Floats) -> Floats:
        hits, misses = _cumulated(weights, truth, order, ends)
        called = hits + misses
        precision = hits / np.where(called > 0, called, 1.0)
        steps = np.diff(hits, axis=1, prepend=0.0)
        value = _divide((steps * precision).sum(axis=1), hits[:, -1])
        return np.where(misses[:, -1] > 0, value, np.nan)

    return area if len(scores) else undefined


def _by_score(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows from the highest score down, and where in them a tie ends."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    return order, ends


def _cumulated(
    weights: Floats, truth: Bools, order: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the weight of the class and of the others at or above each score, (B, scores)."""
    ordered, positive = weights[:, order], truth[order]
    hits = np.cumsum(ordered * positive, axis=1)[:, ends]
    return hits, np.cumsum(ordered * ~positive, axis=1)[:, ends]


def _divide(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
