"""What a measure of a grid of cells would be with other patients: a bootstrap over groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganaug.benchmark.measures import weighed_measure

if TYPE_CHECKING:
    from ganaug.benchmark.outcomes import Outcome

__all__ = ["bootstrap_interval", "bootstrap_measure"]

_AT_ONCE = 100  # draws, which bounds the memory: so many numbers for each test image


def bootstrap_measure(
    outcomes: Sequence[Outcome], measure: str, *, specificity: float, draws: int, seed: int
) -> NDArray[np.float64]:
    """Return a measure's mean over cells, float64 (draws,), for groups drawn with replacement.

    In each draw all groups that were tested in any cell are drawn, as many as there are, and every
    cell is measured anew with the images of its groups as often as they were drawn. So a group
    counts the same in every repeat. Arms of the same cells and seed get the same draws, so that
    their differences are paired. Classifiers and thresholds stay as they are: this is the chance of
    which patients are tested, not of training. NaN where no cell of a draw can be measured, and
    everywhere when there is one group only.
    """
    names = sorted({group for outcome in outcomes for group in outcome.test.groups})
    if len(names) < 2:
        return np.full(draws, np.nan)
    place = {name: number for number, name in enumerate(names)}
    cells = [
        (
            weighed_measure(outcome, measure, specificity=specificity),
            np.array([place[group] for group in outcome.test.groups], dtype=np.int64),
        )
        for outcome in outcomes
    ]
    rng = np.random.default_rng(seed)
    chunks = [np.empty((len(cells), 0))]
    for start in range(0, draws, _AT_ONCE):
        size = min(_AT_ONCE, draws - start)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        weights = drawn.astype(np.float64)
        chunks.append(np.stack([function(weights[:, rows]) for function, rows in cells]))
    values = np.concatenate(chunks, axis=1)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # 0 / 0 where no cell could be measured
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


def bootstrap_interval(
    values: NDArray[np.float64], *, level: float = 0.05
) -> tuple[float, float] | None:
    """Return the percentile interval of draws; None when there are none that are known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [level / 2, 1 - level / 2])
    return float(low), float(high)
