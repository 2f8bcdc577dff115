"""Whether an arm helped: paired differences of a benchmark, and a verdict on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ganaug.benchmark.bootstrap import bootstrap_interval, bootstrap_measure
from ganaug.benchmark.measures import MEASURES, check_compared, check_measure, measure_one
from ganaug.benchmark.pairing import Cells, pair_cells, ratio_of_test
from ganaug.benchmark.significance import corrected_t, holm, smallest_detectable
from ganaug.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from ganaug.benchmark.outcomes import Outcome

__all__ = ["Difference", "Verdict", "choose_reference", "compare", "points"]

Verdict = Literal["helps", "no benefit shown", "harms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An arm against the reference, on the same cells.

    fraction: of the training groups. value, reference_value: the measure, averaged over the n
    cells where it is known; mean: value - reference_value, so that less is better where less of
    the measure is. low, high, p: of the corrected resampled t-test, for this comparison alone.
    p_holm: p adjusted for all comparisons that were made together; it decides the verdict.
    bootstrap_low, bootstrap_high: of the difference, with other patients tested by the same
    classifiers. detectable: the true difference that would be found in four grids of five. equal:
    cells that do not differ at all, as where no synthetic images were chosen.

    None: there is no such number, since there is one cell only, or every cell says the same, or
    no bootstrap was asked for.
    """

    arm: str
    reference: str
    measure: str
    fraction: float
    value: float
    reference_value: float
    mean: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    bootstrap_low: float | None
    bootstrap_high: float | None
    detectable: float | None
    verdict: Verdict
    n: int
    equal: int = 0

    @property
    def is_too_small(self) -> bool:
        """Whether there are too few cells to find any difference: measures lie within 0 and 1."""
        return self.detectable is not None and self.detectable >= 1

    def words(self) -> str:
        """Return the verdict with what it rests on; a point is a hundredth."""
        if self.verdict != "no benefit shown":
            return f"{self.verdict} ({100 * self.mean:+.1f} points)"
        if self.is_too_small:
            return f"{self.verdict} ({self.n} cells are too few to show any)"
        if self.detectable is not None:
            return f"{self.verdict} (could detect {100 * self.detectable:.1f} points)"
        if self.n == 0:
            return f"{self.verdict} ({self.measure} could not be computed in any cell)"
        if self.n == 1:
            return f"{self.verdict} (one cell, so that chance is unknown)"
        if self.equal:
            cells = "every cell" if self.equal == self.n else f"{self.equal} of {self.n} cells"
            return f"{self.verdict} (the same in {cells})"
        return f"{self.verdict} ({100 * self.mean:+.1f} points in every cell, so no test)"

    def to_fields(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "words": self.words()}


def points(value: float | None) -> str:
    """Return a difference in points, hundredths of the measure; nothing where there is none."""
    text = "" if value is None else f"{100 * value:+.1f}"
    return {"+nan": "", "nan": "", "+0.0": "0.0", "-0.0": "0.0"}.get(text, text)


def compare(
    outcomes: Sequence[Outcome],
    measure: str,
    *,
    reference: str | None = None,
    candidates: Sequence[str] = (),
    partners: Mapping[str, str] | None = None,
    specificity: float = 0.9,
    level: float = 0.05,
    bootstraps: int = 1000,
    seed: int = 0,
) -> list[Difference]:
    """Compare every arm with a reference, cell by cell, by fraction and then by arm as they come.

    measure: ``NAME`` or ``NAME:CLASS`` of `MEASURES`, on test images. reference: an arm; None: the
    one among candidates (the arms without synthetic images) that is best on validation images,
    for each fraction (`choose_reference`). partners: what each of some arms is compared with, too,
    by its name; or alone, without reference and candidates. Two arms that are compared for both
    reasons are compared once. bootstraps: draws of groups, from seed; 0 for none.

    Differences of cells are tested by the corrected resampled t-test (`corrected_t`), and p-values
    are adjusted by Holm's method for all that is returned, arms and fractions alike, so that the
    chance of any false verdict is at most level. Fractions that are to be a family of their own
    are compared on their own.

    Test images are those of all cells of a fraction: the ratio of test to training images is
    that of a fold to the rest, also where a fraction of the rest was trained on, since it is
    shared images that make cells alike.

    Raises ConfigError for an unknown measure or arm, and RunError when arms do not have the same
    cells, or not the same test images in them.
    """
    partners = partners or {}
    named = [*partners, *partners.values(), *candidates]
    _check(outcomes, measure, [*named, *([reference] if reference else [])], specificity, level)
    question = _Question(measure, specificity, level, bootstraps, seed)
    pairs: list[_Pair] = []
    for fraction in dict.fromkeys(outcome.cell.fraction for outcome in outcomes):
        chosen = [outcome for outcome in outcomes if outcome.cell.fraction == fraction]
        cells = pair_cells(chosen)
        asked = [*partners.items()]
        if reference or candidates or not partners:
            against = reference or choose_reference(
                chosen, measure, candidates, specificity=specificity
            )
            asked += [(arm, against) for arm in cells if arm != against]
        pairs += _pairs(cells, list(dict.fromkeys(asked)), question)
    return _judge(pairs, question)


def choose_reference(
    outcomes: Sequence[Outcome],
    measure: str,
    candidates: Sequence[str],
    *,
    specificity: float = 0.9,
) -> str:
    """Return the candidate with the best mean of the measure on validation images.

    Test images have no say, so that the reference is not one that was lucky with them; the first
    of equals. Images that validate one fold are tested in another, though, so that the choice is
    a little in favour of the reference: it errs against the arms that are compared with it.
    Raises ConfigError without candidates, or when none of them can be measured.
    """
    about = check_measure(measure, outcomes[0].class_names)
    best, best_value = None, -np.inf
    for arm in candidates:
        values = [
            measure_one(replace(outcome, test=outcome.validation), measure, specificity=specificity)
            for outcome in outcomes
            if outcome.cell.arm == arm
        ]
        value = float(np.mean([value for value in values if np.isfinite(value)] or [np.nan]))
        if (value if about.higher_is_better else -value) > best_value:
            best, best_value = arm, value if about.higher_is_better else -value
    if best is None:
        raise ConfigError(
            f"A reference is needed to compare with: none of the candidates "
            f"({', '.join(candidates) or 'none given'}) has a known {measure} on validation "
            "images. Name an arm as reference."
        )
    return best


def _check(
    outcomes: Sequence[Outcome],
    measure: str,
    named: Sequence[str],
    specificity: float,
    level: float,
) -> None:
    if not outcomes:
        raise DataError("There are no results to compare; run the benchmark first.")
    check_measure(measure, outcomes[0].class_names)
    check_compared(measure)
    for name, value in (("specificity", specificity), ("level", level)):
        if not 0 < value < 1:
            raise ConfigError(f"{name} is between 0 and 1; got {value}.")
    arms = list(dict.fromkeys(outcome.cell.arm for outcome in outcomes))
    for arm in named:
        if arm not in arms:
            raise ConfigError(
                f"There are no results of the arm {arm!r}; there are of {', '.join(arms)}."
                f"{nearest(arm, arms)}"
            )


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of every pair of arms."""

    measure: str
    specificity: float
    level: float
    bootstraps: int
    seed: int

    def values(self, outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
        """Return the measure of each cell."""
        return np.array(
            [measure_one(each, self.measure, specificity=self.specificity) for each in outcomes]
        )

    def draws(self, outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
        """Return the measure's mean in each draw of the bootstrap."""
        return bootstrap_measure(
            outcomes,
            self.measure,
            specificity=self.specificity,
            draws=self.bootstraps,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """An arm and the reference, where both are known. ratio: as `corrected_t` has it."""

    arm: str
    reference: str
    fraction: float
    value: float
    reference_value: float
    ratio: float
    differences: NDArray[np.float64]
    interval: tuple[float, float] | None


def _pairs(cells: Cells, asked: Sequence[tuple[str, str]], question: _Question) -> list[_Pair]:
    """Compare arms of one fraction, each with what it is compared with."""
    keys = sorted(next(iter(cells.values())))
    arms = dict.fromkeys(arm for pair in asked for arm in pair)
    by_arm = {arm: [cells[arm][key] for key in keys] for arm in arms}
    values = {arm: question.values(of_arm) for arm, of_arm in by_arm.items()}
    draws = {arm: question.draws(of_arm) for arm, of_arm in by_arm.items()}
    pairs = []
    for arm, reference in asked:
        known = np.isfinite(values[arm]) & np.isfinite(values[reference])
        ours, theirs = values[arm][known], values[reference][known]
        pairs.append(
            _Pair(
                arm=arm,
                reference=reference,
                fraction=by_arm[arm][0].cell.fraction,
                value=_mean(ours),
                reference_value=_mean(theirs),
                ratio=ratio_of_test(by_arm[reference]),
                differences=ours - theirs,
                interval=bootstrap_interval(draws[arm] - draws[reference], level=question.level),
            )
        )
    return pairs


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _judge(pairs: Sequence[_Pair], question: _Question) -> list[Difference]:
    """Test all pairs, adjust the p-values for their number, and give a verdict on each."""
    about, level = MEASURES[question.measure.partition(":")[0]], question.level
    bounds = -about.highest, about.highest
    tests = [
        corrected_t(pair.differences, pair.ratio, level=level, bounds=bounds) for pair in pairs
    ]
    rows = []
    for pair, test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        verdict: Verdict = "no benefit shown"
        if p is not None and p < level:
            verdict = "helps" if (test.mean > 0) == about.higher_is_better else "harms"
        rows.append(
            Difference(
                arm=pair.arm,
                reference=pair.reference,
                measure=question.measure,
                fraction=pair.fraction,
                value=pair.value,
                reference_value=pair.reference_value,
                mean=test.mean,
                low=test.low,
                high=test.high,
                p=test.p,
                p_holm=p,
                bootstrap_low=pair.interval[0] if pair.interval else None,
                bootstrap_high=pair.interval[1] if pair.interval else None,
                detectable=smallest_detectable(
                    pair.differences, pair.ratio, level=level, comparisons=len(pairs)
                ),
                verdict=verdict,
                n=test.n,
                equal=int(np.sum(pair.differences == 0)),
            )
        )
    return rows
