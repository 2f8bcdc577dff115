"""Tests of paired differences from repeated cross-validation, and what they could detect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["POWER", "PairedTest", "corrected_t", "holm", "smallest_detectable"]

POWER = 0.8

#: Cells that differ, of which there are more, that a deviation is taken from.
_FEWEST = 4

#: What rounding leaves of equal differences.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class PairedTest:
    """What the differences of n cells say. error: the standard error of their mean; p: two-sided.

    None where there is no test: one cell, or cells which all differ by the same.
    """

    n: int
    mean: float
    error: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def corrected_t(
    differences: NDArray[np.float64],
    ratio: float,
    *,
    level: float = 0.05,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> PairedTest:
    """Test whether differences (J,) have a mean of zero: the corrected resampled t-test.

    Cells share training images, so that their differences are not independent. Nadeau and Bengio
    (2003, section 3) take the variance of the mean as (1 / J + ratio) s^2, s^2 the sample variance
    and ratio that of test to training images, and a t-distribution with J - 1 degrees of freedom.
    The interval is of level 1 - level, of this comparison alone. bounds: what the mean can be; an
    interval of few cells may reach beyond, and is cut there.
    """
    from scipy.special import stdtr, stdtrit

    n = len(differences)
    mean = float(np.mean(differences)) if n else float("nan")
    spread = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    if spread <= _ROUNDING:
        return PairedTest(n, mean)
    error = spread * math.sqrt(1 / n + ratio)
    half = float(stdtrit(n - 1, 1 - level / 2)) * error
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    low, high = max(mean - half, bounds[0]), min(mean + half, bounds[1])
    return PairedTest(n, mean, error, low, high, p)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for their number (Holm 1979); those that are None count as 1."""
    order = sorted(range(len(ps)), key=lambda row: _number(ps[row]))
    adjusted, worst = [1.0] * len(ps), 0.0
    for rank, row in enumerate(order):
        worst = max(worst, min(1.0, (len(ps) - rank) * _number(ps[row])))
        adjusted[row] = worst
    return [None if p is None else value for p, value in zip(ps, adjusted, strict=True)]


def _number(p: float | None) -> float:
    return 1.0 if p is None else p


def smallest_detectable(
    differences: NDArray[np.float64], ratio: float, *, level: float, comparisons: int
) -> float | None:
    """Return the mean difference that `corrected_t` would find in four cases of five.

    It is lambda times the standard error, where a noncentral t-distribution with J - 1 degrees of
    freedom and noncentrality lambda exceeds the critical value at level / comparisons, two-sided,
    with a probability of 0.8. That is the level of Holm's first step: where some other arm is
    found, too, smaller differences can be. The sample standard deviation of few cells is too small
    on average, and is divided by what it is for normal differences (c4 of control charts).

    The deviation is that of the cells that differ at all: where images help, cells choose some,
    and those that chose none today say nothing of how much such cells would vary. None where
    fewer than four differ and others do not, or all of these differ by the same.
    """
    from scipy.special import nctdtrinc, poch, stdtrit

    n = len(differences)
    unequal = differences[differences != 0]
    if len(unequal) < min(n, _FEWEST):
        return None
    spread = float(np.std(unequal, ddof=1)) if len(unequal) > 1 else 0.0
    if spread <= _ROUNDING:
        return None
    freedom = len(unequal) - 1
    unbiased = spread / (math.sqrt(2 / freedom) * poch(freedom / 2, 0.5))
    critical = stdtrit(n - 1, 1 - level / comparisons / 2)
    return float(nctdtrinc(n - 1, 1 - POWER, critical) * unbiased * math.sqrt(1 / n + ratio))
