"""Scores in words and in sensible digits, for a table, for the model card, for a reader."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganaug.scoring import Score

__all__ = ["ScoreRow", "count_text", "is_primary", "read_scores", "resize_rules", "score_rows"]

#: Names of numbers that only say how sure another one is: spreads and p-values.
_SUPPORTING = re.compile(r"(^|_)(std|p)(_|$)")

#: Metrics of the distance between two sets, the first of which that was computed is read.
_DISTANCES = ("kid", "fid")
_COPYING = "authenticity"

_ROLES = {"holdout": "held out", "synthetic": "synthetic", "train": "training"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """A score as text: interval and floor are empty where there is none.

    metric: as it was asked for. better: "higher", "lower", or "at floor" where neither end is.
    n: images by role.
    """

    metric: str
    name: str
    value: str
    interval: str
    floor: str
    better: str
    n: Mapping[str, int]


def score_rows(scores: Sequence[Score]) -> list[ScoreRow]:
    """Return scores as text, without those that only say how sure another one is.

    All numbers of a score have the digits that its largest needs to show three.
    """
    rows = []
    for score in filter(is_primary, scores):
        low, high = score.interval or (score.value, score.value)
        numbers = [score.value, low, high, score.value if score.floor is None else score.floor]
        digits = _digits(numbers)
        rows.append(
            ScoreRow(
                metric=score.metric,
                name=score.name,
                value=_text(score.value, digits),
                interval="" if score.interval is None else _interval(score.interval, digits),
                floor="" if score.floor is None else _text(score.floor, digits),
                better=_better(score),
                n=score.n,
            )
        )
    return rows


def count_text(n: Mapping[str, int]) -> str:
    """Return images by role as text, such as ``1,198 held out, 1,198 synthetic``."""
    return ", ".join(f"{n[role]:,} {name}" for role, name in _ROLES.items() if role in n)


def resize_rules(scores: Sequence[Score]) -> list[str]:
    """Return how images came to the sizes they were scored at, each rule once."""
    rules = [rule for score in scores for rule in score.resize.split("; ") if rule != "none"]
    return list(dict.fromkeys(rules))


def read_scores(scores: Sequence[Score]) -> list[str]:
    """Say in plain sentences what the scores say, and no more.

    How far the synthetic set is from the held-out images beside how far real ones are; which
    other scores differ from those of real images by more than their interval; and whether the
    measures of copying see any.
    """
    primary = [score for score in scores if is_primary(score)]
    distance = _first_distance(primary)
    copying = [score for score in primary if _base(score) == _COPYING]
    others = [score for score in primary if score is not distance and score not in copying]
    sentences = []
    if distance is not None:
        sentences.append(_read_distance(distance))
    sentences += _read_others(others)
    sentences += _read_copying(copying)
    return sentences


def is_primary(score: Score) -> bool:
    """Say whether a score is more than a spread or a p-value, which say how sure another is."""
    return not _SUPPORTING.search(score.name)


def _base(score: Score) -> str:
    return score.metric.partition(":")[0]


def _first_distance(scores: Sequence[Score]) -> Score | None:
    for metric in _DISTANCES:
        for score in scores:
            if _base(score) == metric:
                return score
    return None


def _side(score: Score) -> int | None:
    """Return 1 when the whole interval is above the floor, -1 below, 0 around; None if unknown."""
    if score.interval is None or score.floor is None:
        return None
    low, high = score.interval
    return int(low > score.floor) - int(high < score.floor)


def _read_distance(score: Score) -> str:
    (row,) = score_rows([score])
    found = row.name + f" {row.value}" + (f" ({row.interval})" if row.interval else "")
    if not row.floor:
        return f"Synthetic images against held-out ones: {found}; there is no floor to it."
    pair = f"{found}; real images in their place, {row.floor}."
    side = _side(score)
    if side is None:
        return f"Synthetic images against held-out ones: {pair}"
    if side > 0:
        return f"Synthetic images are farther from held-out ones than real images are: {pair}"
    if side < 0:
        return f"Synthetic images are closer to held-out ones than real images are: {pair}"
    return (
        "No difference between synthetic and real images shows in their distance to held-out "
        f"ones: {pair}"
    )


def _read_others(scores: Sequence[Score]) -> list[str]:
    """Name the scores that lie outside of what real images get, and those that do not."""
    sides = {score.name: _side(score) for score in scores}
    apart = [name for name, side in sides.items() if side]
    alike = [name for name, side in sides.items() if side == 0]
    sentences = []
    if apart:
        sentences.append(f"Unlike real images, by more than the interval: {', '.join(apart)}.")
    if alike:
        sentences.append(f"Like real images, within the interval: {', '.join(alike)}.")
    return sentences


def _read_copying(scores: Sequence[Score]) -> list[str]:
    """Say whether synthetic images lie closer to training images than real ones do."""
    sides = {score.name: _side(score) for score in scores}
    closer = [name for name, side in sides.items() if side == -1]
    if closer:
        return [
            "Closer to training images than other real images are, which copies would be, by "
            f"{', '.join(closer)}: look at the closest pairs."
        ]
    if sides and None not in sides.values():
        return [
            f"No closer to training images than other real images are, by {', '.join(sides)}; "
            "single copies can hide in these, so look at the closest pairs."
        ]
    return []


def _better(score: Score) -> str:
    if score.higher_is_better is None:
        return "" if score.floor is None else "at floor"
    return "higher" if score.higher_is_better else "lower"


def _digits(numbers: Sequence[float]) -> int:
    """Return the decimals with which the largest of some numbers shows three digits."""
    largest = max(abs(number) for number in numbers)
    if largest == 0 or not math.isfinite(largest):
        return 2
    return min(max(2 - math.floor(math.log10(largest)), 0), 6)


def _text(number: float, digits: int) -> str:
    text = f"{number:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text  # no negative zero


def _interval(interval: tuple[float, float], digits: int) -> str:
    return " to ".join(_text(bound, digits) for bound in interval)
