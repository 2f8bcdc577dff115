"""What a report says: rows of a benchmark, summed up once for every form that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.benchmark.measures import MEASURES, decide, measure
from ganaug.benchmark.pairing import ratio_of_test
from ganaug.benchmark.significance import corrected_t
from ganaug.benchmark.statistics import Difference, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.benchmark.outcomes import Outcome
    from ganaug.scoring import Score
    from ganaug.study import Reported, Study

__all__ = ["ArmSummary", "Findings", "Picture", "Spread"]

#: Measures over all classes that the table of arms has, beside the study's own.
_SHOWN = ("balanced_accuracy", "auroc", "auprc", "sensitivity_at_specificity", "brier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure of images: png, the file's bytes."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Spread:
    """A number over cells: its mean, standard deviation, and a 95 % interval of the mean.

    NaN where there is none.
    """

    mean: float
    deviation: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, values: Sequence[float], ratio: float = 0.0, most: float = math.inf) -> Spread:
        """Sum up the values that are known, from 0 to `most`; ratio: as `corrected_t` has it."""
        known = np.array([value for value in values if np.isfinite(value)])
        if not len(known):
            return cls(math.nan)
        deviation = float(known.std(ddof=1)) if len(known) > 1 else math.nan
        found = corrected_t(known, ratio, bounds=(0.0, most))
        if found.low is None or found.high is None:
            return cls(found.mean, deviation)
        return cls(found.mean, deviation, found.low, found.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """An arm at a training size. ratios: how often each candidate was chosen."""

    arm: str
    fraction: float
    cells: int
    measures: Mapping[str, Spread]
    ratios: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSummary:
    """The generators of a benchmark, one a training part.

    n: how many. parameters: of each, all networks together; drawing: of what makes images.
    minutes: of training. dropped: draws that filters held back, in all. memorised: how many
    generators were found to give out copies of training images more often than by chance.
    """

    n: int
    parameters: int
    drawing: int
    minutes: Spread
    dropped: int
    memorised: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that a report says.

    study: what was run. outcomes: of its cells. differences: of its arms from the reference, on
    the study's measure. effects: of arms with synthetic images from their partners, which are the
    same but for the images. facts: what was run with which versions, in words, by name.
    protocol: folds, repeats, seed and what else programs want to know of it, as JSON takes it.
    is_screening: whether there are fewer than 5 x 5 cells an arm. pictures: of images, where
    wanted. scores: of synthetic images, by the study's extras.
    """

    study: Study
    outcomes: Sequence[Outcome]
    differences: Sequence[Difference]
    facts: Mapping[str, str]
    is_screening: bool
    protocol: Mapping[str, Any] = field(default_factory=dict)
    effects: Sequence[Difference] = field(default=())
    pictures: Sequence[Picture] = field(default=())
    scores: Sequence[Score] = field(default=())

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the task."""
        return self.outcomes[0].class_names

    @cached_property
    def values(self) -> list[dict[str, float]]:
        """Every measure of each outcome, in their order."""
        return [measure(each, specificity=self.study.specificity) for each in self.outcomes]

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """The arms that there are results of, in the study's order."""
        there = {outcome.cell.arm for outcome in self.outcomes}
        return tuple(arm.name for arm in self.study.arms if arm.name in there)

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """The training sizes, the largest last."""
        return tuple(sorted({outcome.cell.fraction for outcome in self.outcomes}))

    @cached_property
    def shown_measures(self) -> tuple[str, ...]:
        """The measures of the table of arms, the study's first."""
        return tuple(dict.fromkeys((self.study.measure, *_SHOWN)))

    @cached_property
    def summaries(self) -> list[ArmSummary]:
        """Every arm at every training size."""
        return [self._sum_up(arm, fraction) for fraction in self.fractions for arm in self.arms]

    def summary(self, arm: str, fraction: float) -> ArmSummary:
        """Return one of the summaries."""
        return next(s for s in self.summaries if (s.arm, s.fraction) == (arm, fraction))

    @cached_property
    def final(self) -> list[Difference]:
        """The differences at the largest training size."""
        return self._at_last(self.differences)

    @cached_property
    def final_effects(self) -> list[Difference]:
        """The effects at the largest training size."""
        return self._at_last(self.effects)

    def _at_last(self, differences: Sequence[Difference]) -> list[Difference]:
        return [each for each in differences if each.fraction == self.fractions[-1]]

    @cached_property
    def answers(self) -> list[Difference]:
        """What the verdict rests on, at the largest training size, by arm.

        Each arm with synthetic images beside the real ones against its partner; one without a
        partner against the reference.
        """
        synthetic = [arm.name for arm in self.study.arms if arm.adds_images]
        found = {each.arm: each for each in (*self.final, *self.final_effects)}
        return [found[arm] for arm in synthetic if arm in found]

    def beside_reference(self, answer: Difference) -> Difference | None:
        """Return how the arm of an answer differs from the reference, where it is another one."""
        found = (each for each in self.final if each.arm == answer.arm)
        return next((each for each in found if each.reference != answer.reference), None)

    @property
    def reference(self) -> str | None:
        """What arms were compared with at the largest training size."""
        return self.final[0].reference if self.final else None

    @property
    def verdict(self) -> str:
        """The answer in a word: helps, harms, mixed, no benefit shown, or not asked.

        An arm that is better than its partner and worse than the reference shows no benefit.
        """
        found = {self._verdict(each) for each in self.answers}
        if not found:
            return "not asked"
        if "helps" in found:
            return "mixed" if "harms" in found else "helps"
        return "harms" if found == {"harms"} else "no benefit shown"

    @property
    def headline(self) -> str:
        """The answer in a sentence or two."""
        name = self.study.measure.replace("_", " ")
        if self.verdict == "not asked":
            return "No arm with synthetic images was compared with another one."
        found = self._sentence(name)
        if self.is_screening:
            found = f"In this screening, {found[0].lower()}{found[1:]}"
        if self.verdict in ("mixed", "no benefit shown") and any(
            each.verdict == "harms" for each in self.answers
        ):
            found += " Other arms with synthetic images did harm."
        return found

    def _verdict(self, answer: Difference) -> Verdict:
        beside = self.beside_reference(answer)
        outdone = answer.verdict == "helps" and beside is not None and beside.verdict == "harms"
        return "no benefit shown" if outdone else answer.verdict

    def _sentence(self, name: str) -> str:
        word = {"mixed": "helps"}.get(self.verdict, self.verdict)
        best = max(
            (each for each in self.answers if self._verdict(each) == word),
            key=lambda each: (each.verdict == "helps", self.sign * each.mean),
        )
        if word != best.verdict:
            return self._outdone(best, name)
        if best.verdict == "no benefit shown":
            if any(each.is_too_small for each in self.answers):
                return (
                    f"No benefit of synthetic images was shown for {name}. There are too few cells "
                    "to show any."
                )
            known = [each.detectable for each in self.answers if each.detectable is not None]
            if_all = ", if every cell took some" if any(each.equal for each in self.answers) else ""
            power = (
                f" A difference of {100 * max(known):.1f} points would have been found in four of "
                f"five such benchmarks{if_all}."
                if known
                else ""
            )
            return f"No benefit of synthetic images was shown for {name}.{power}"
        change = f"{100 * best.mean:+.1f} points of {name}"
        if self.study.partners.get(best.arm) == best.reference:
            did = "helped" if best.verdict == "helps" else "did harm"
            return (
                f"Synthetic images {did}: {best.arm} is {change} from {best.reference}, which is "
                f"the same but for the images.{self._rest(best)}"
            )
        did = "better" if best.verdict == "helps" else "worse"
        return (
            f"{best.arm} did {did} than {best.reference}, by {change}. The two differ in more than "
            "synthetic images."
        )

    def _rest(self, answer: Difference) -> str:
        """Return what is to be said of an arm that helped, beside the reference."""
        beside = self.beside_reference(answer)
        if answer.verdict != "helps" or beside is None:
            return ""
        points = f"{100 * beside.mean:+.1f} points"
        return {
            "helps": f" It is {points} from the reference, {beside.reference}, too.",
            "no benefit shown": f" From the reference, {beside.reference}, it is {points}, which "
            "shows no benefit.",
        }.get(beside.verdict, "")

    def _outdone(self, answer: Difference, name: str) -> str:
        """Return what is to be said of an arm that images helped, and that is worse than others."""
        beside = self.beside_reference(answer)
        assert beside is not None
        return (
            f"No benefit of synthetic images was shown for {name}: {answer.arm} is "
            f"{100 * beside.mean:+.1f} points from the reference, {beside.reference}. The images "
            f"did help it; it is {100 * answer.mean:+.1f} points from {answer.reference}, which is "
            "the same but for these."
        )

    @property
    def sign(self) -> int:
        """1 where more of the study's measure is better, else -1."""
        return 1 if MEASURES[self.study.measure.partition(":")[0]].higher_is_better else -1

    @cached_property
    def generators(self) -> GeneratorSummary | None:
        """What is known of the generators that were trained; None where none was."""
        made = [outcome.details.get("generator") for outcome in self.outcomes]
        by_run = {each["run"]: each for each in made if each}
        if not by_run:
            return None
        several = list(by_run.values())
        return GeneratorSummary(
            n=len(several),
            parameters=several[0]["parameters"],
            drawing=several[0]["drawing"],
            minutes=Spread.of([each["seconds"] / 60 for each in several]),
            dropped=sum(sum(each["dropped"].values()) for each in several),
            memorised=sum(bool(each["memorised"]) for each in several),
        )

    def real_images(self, fraction: float) -> float:
        """Return how many real images of the rare classes a cell was trained on, in the mean.

        Of all classes where the study names none.
        """
        names = self.study.rare or self.class_names
        rare = [self.class_names.index(name) for name in names if name in self.class_names]
        counts = [
            np.isin(outcome.train.labels, rare).sum()
            for outcome in self.outcomes
            if outcome.cell.fraction == fraction
        ]
        return float(np.mean(counts))

    def confusion(self, arm: str) -> NDArray[np.float64]:
        """Return what images of each class (rows) are taken for, in fractions, of all cells.

        At the largest training size, by `decide`; NaN for a class without images.
        """
        names = self.class_names
        counts = np.zeros((len(names), len(names)))
        for outcome in self._of(arm, self.fractions[-1]):
            np.add.at(counts, (outcome.test.labels, decide(outcome)), 1)
        totals = counts.sum(axis=1, keepdims=True)
        return np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)

    @property
    def reported(self) -> list[tuple[Reported, Spread | None]]:
        """The paper's figures, with ours of the same measure where there is one."""
        return [(each, self._ours(each)) for each in self.study.reported]

    def _ours(self, reported: Reported) -> Spread | None:
        if reported.arm in self.arms:
            return self.summary(reported.arm, self.fractions[-1]).measures.get(reported.measure)
        made = self.generators
        if made is None or reported.network != self.study.generator:
            return None
        ours = {score.name: Spread(score.value) for score in self.scores}
        ours |= {"parameters": Spread(made.parameters), "minutes": made.minutes}
        return ours.get(reported.measure)

    def to_fields(self) -> dict[str, Any]:
        """Return it for JSON, which has no NaN: such numbers are None."""
        return {
            "study": self.study.name,
            "verdict": self.verdict,
            "headline": self.headline,
            "screening": self.is_screening,
            "cells": len(self.outcomes),
            **self.protocol,
            "measure": self.study.measure,
            "reference": self.reference,
            "effects": [each.to_fields() for each in self.effects],
            "differences": [each.to_fields() for each in self.differences],
            "arms": [
                {
                    "arm": each.arm,
                    "fraction": each.fraction,
                    "cells": each.cells,
                    "ratios": dict(each.ratios),
                    "measures": {
                        name: {
                            "mean": _number(spread.mean),
                            "sd": _number(spread.deviation),
                            "low": _number(spread.low),
                            "high": _number(spread.high),
                        }
                        for name, spread in each.measures.items()
                    },
                }
                for each in self.summaries
            ],
            "reported": [
                {**asdict(each), "ours": None if ours is None else _number(ours.mean)}
                for each, ours in self.reported
            ],
            "generators": None if self.generators is None else asdict(self.generators),
            "scores": [score.to_fields() for score in self.scores],
            "facts": dict(self.facts),
        }

    def _of(self, arm: str, fraction: float) -> list[Outcome]:
        return [o for o in self.outcomes if (o.cell.arm, o.cell.fraction) == (arm, fraction)]

    def _sum_up(self, arm: str, fraction: float) -> ArmSummary:
        rows = [
            (outcome, values)
            for outcome, values in zip(self.outcomes, self.values, strict=True)
            if (outcome.cell.arm, outcome.cell.fraction) == (arm, fraction)
        ]
        share = ratio_of_test([outcome for outcome, _ in rows])
        ratios = [outcome.details.get("ratio") for outcome, _ in rows]
        chosen = [float(ratio) for ratio in ratios if ratio is not None]
        return ArmSummary(
            arm=arm,
            fraction=fraction,
            cells=len(rows),
            measures={
                name: Spread.of([values[name] for _, values in rows], share, _most(name))
                for name in self.values[0]
            },
            ratios={f"{ratio:g}": chosen.count(ratio) for ratio in sorted(set(chosen))},
        )


def _most(measure: str) -> float:
    return MEASURES[measure.partition(":")[0]].highest


def _number(value: float) -> float | None:
    """Return a number as JSON has it; it has no NaN."""
    return value if np.isfinite(value) else None
