"""Rows drawn again, for floors and for intervals of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ganaug.errors import GanaugError, TooFewImagesError
from ganaug.splits import rows_by_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.evaluator import FeatureEvaluator, Role
    from ganaug.spec import LabelledImages

__all__ = ["HALVES", "beside", "draw_by_class", "half_of", "half_sample_intervals"]

#: How many half samples are scored.
HALVES = 20

# With fewer, the handful of different halves says little of how a score varies.
_FEWEST_UNITS = 4

#: Half of a 95 % interval in standard deviations that are estimated from `HALVES` scores: the
#: 97.5 % quantile of Student's t with 19 degrees of freedom.
_QUANTILE_95 = 2.093


def half_sample_intervals(
    evaluator: FeatureEvaluator,
    values: Mapping[str, float],
    roles: Mapping[Role, LabelledImages],
    rng: np.random.Generator,
) -> tuple[dict[str, tuple[float, float]], str]:
    """Return 95 % intervals of scores by name, and how they were estimated or why there are none.

    A score that is the same for all halves, such as a recall of 0, is left out: how sure it is
    does not show in them.

    This is the delete-half jackknife (Shao and Wu 1989): half of each role's images is drawn
    without replacement, `HALVES` times, and the standard deviation of the scores of halves is
    that of the score. A bootstrap, which draws with replacement, would put the same image twice
    into neighbour distances and kernels. Whole groups are drawn where images have groups, and
    half of each class, since the classes of synthetic images are chosen, not sampled.

    It holds for scores that behave like a mean: whose standard deviation falls with the square
    root of the number of images, as that of shares, medians, distances of means and averages over
    neighbours does. It does not for extremes, nor for a z-score, whose standard deviation is 1 at
    any number: there it would be too small by the root of 2.

    evaluator: has seen the images of `roles`, in their order. values: what it computed of them.
    """
    read = {role: roles[role] for role in evaluator.roles if role in roles}
    grouped = any(rows_by_group(images) for images in read.values())
    units = {role: _units_by_class(images) for role, images in read.items()}
    for role, drawn in units.items():
        if len(drawn) < _FEWEST_UNITS:
            kind = "groups of images" if grouped else "images"
            return {}, f"none: {len(drawn)} {role} {kind} are too few to draw halves of"
    draws = ({role: _half(drawn, rng) for role, drawn in units.items()} for _ in range(HALVES))
    try:
        replicates = [half.compute() for half in evaluator.subsets(draws)]
    except GanaugError as error:
        return {}, f"none: half of the images is too few or cannot be scored ({error})"
    intervals = {}
    for name, value in values.items():
        spread = _QUANTILE_95 * _deviation([scores.get(name, math.nan) for scores in replicates])
        if math.isfinite(spread) and spread > 0:
            intervals[name] = (value - spread, value + spread)
    whole = " of whole groups" if grouped else ""
    return intervals, f"95 %, {HALVES} half samples{whole} (delete-half jackknife)"


def draw_by_class(
    images: LabelledImages, counts: Mapping[str, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw so many different rows of each class, by its name: whole groups, the last ones cut.

    Raises TooFewImagesError for a class that has fewer.
    """
    for name, available in images.counts.items():
        if available < counts[name]:
            raise TooFewImagesError(
                f"class {name!r} has {available} training images, too few to take the place of "
                f"{counts[name]} synthetic ones"
            )
    wanted = [counts[name] for name in images.class_names]
    drawn = []
    units = _units_by_class(images)
    for unit in rng.permutation(len(units)):
        for row in units[unit][1]:
            label = int(images.labels[row])
            if wanted[label]:
                wanted[label] -= 1
                drawn.append(row)
    return np.array(drawn, dtype=np.int64)


def beside(images: LabelledImages, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that are none of these and share no group with them, in order."""
    taken = set(rows.tolist())
    if images.groups is not None:
        named = {images.groups[row] for row in taken} - {""}
        taken |= {row for row, group in enumerate(images.groups) if group in named}
    return np.setdiff1d(np.arange(len(images)), np.array(sorted(taken), dtype=np.int64))


def half_of(images: LabelledImages, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw half of the rows, in order: whole groups, and half of each class to within one.

    A group counts for the class of its first row.
    """
    return _half(_units_by_class(images), rng)


#: Classes, and rows that are drawn together: those of a group, or one alone.
_Units = list[tuple[int, list[int]]]


def _half(units: _Units, rng: np.random.Generator) -> NDArray[np.int64]:
    order = rng.permutation(len(units))
    classes = np.array([class_ for class_, _ in units])[order]
    by_class = order[np.argsort(classes, kind="stable")]
    chosen = by_class[int(rng.integers(2)) :: 2]  # every second of the shuffled units of a class
    rows = chain.from_iterable(units[unit][1] for unit in chosen.tolist())
    return np.sort(np.fromiter(rows, dtype=np.int64))


def _units_by_class(images: LabelledImages) -> _Units:
    groups = rows_by_group(images)
    together = {row for rows in groups.values() for row in rows}
    alone = ([row] for row in range(len(images)) if row not in together)
    return [(int(images.labels[rows[0]]), rows) for rows in (*groups.values(), *alone)]


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1))
