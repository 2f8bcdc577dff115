"""Scores in words and in sensible digits, for a table, for the model card, for a reader."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganaug.resampling import HALVES

if TYPE_CHECKING:
    from ganaug.scoring import Score
    from ganaug.stopping import Progress

__all__ = [
    "ScoreRow",
    "count_text",
    "growth_text",
    "is_primary",
    "is_spread",
    "read_scores",
    "resize_rules",
    "score_rows",
]

#: Names of numbers that only say how sure another one is: spreads and p-values.
_SUPPORTING = re.compile(r"(^|_)(std|p)(_|$)")

#: Metrics of the distance between two sets, the first of which that was computed is read.
_DISTANCES = ("kid", "fid")
_COPYING = "authenticity"

#: What real images get of metrics for which that is known, so that no floor need tell.
_CHANCE = {"c2st": 0.5}

#: How often sentences may find a difference where there is none, over all scores read.
_LEVEL = 0.05

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
    other scores differ from those of real images by more than chance; and whether the measures of
    copying see any. Scores of real images alone are no scores of the synthetic set, and not read.

    A floor is one draw of real images, as noisy as the score itself. So a score differs when its
    floor is farther off than the interval, made wider by the root of 2 for their difference. The
    distance comes first and has the level of 5 % to itself; the others share another 5 %
    (Bonferroni): where nothing differs, 1 report in 20 says that the distance does, and 1 in 20
    or fewer name any other score. `c2st` is compared with one half, which is what real images get.
    """
    read = [score for score in scores if is_primary(score) and not score.name.endswith("_real")]
    distance = _first_distance(read)
    names, sides = _names(read), _sides(read, distance)
    others: dict[str, int | None] = {}
    copying: dict[str, int | None] = {}
    for score, name, side in zip(read, names, sides, strict=True):
        if score is not distance:
            (copying if _base(score) == _COPYING else others)[name] = side
    sentences = []
    if distance is not None:
        sentences.append(_read_distance(distance, sides[read.index(distance)]))
    return sentences + _read_others(others) + _read_copying(copying)


def is_primary(score: Score) -> bool:
    """Say whether a score is more than a spread or a p-value, which say how sure another is."""
    return not is_spread(score.name)


def is_spread(name: str) -> bool:
    """Say whether the name of a number is that of a spread or a p-value."""
    return _SUPPORTING.search(name) is not None


def _base(score: Score) -> str:
    return score.metric.partition(":")[0]


def _first_distance(scores: Sequence[Score]) -> Score | None:
    for metric in _DISTANCES:
        for score in scores:
            if _base(score) == metric:
                return score
    return None


def _names(scores: Sequence[Score]) -> list[str]:
    """Return what sentences call scores: by their names, and metrics where two share one."""
    times = Counter(score.name for score in scores)
    return [
        score.name if times[score.name] == 1 else f"{score.name} ({score.metric})"
        for score in scores
    ]


def _sides(scores: Sequence[Score], first: Score | None) -> list[int | None]:
    """Return 1 for a score above what real images get, -1 below, 0 for neither; None if unknown.

    first: the score that has a level to itself.
    """
    from scipy.stats import t

    others = [s for s in scores if s is not first and s.interval and _reference(s) is not None]
    shared, whole = (
        t.isf(level / 2, HALVES - 1) for level in (_LEVEL / max(len(others), 1), _LEVEL)
    )
    return [_side(score, 1.0 if score is first else shared / whole) for score in scores]


def _reference(score: Score) -> float | None:
    return _CHANCE.get(_base(score), score.floor)


def _side(score: Score, factor: float) -> int | None:
    """See `_sides`; factor: of how much more than 95 % one must be sure."""
    reference = _reference(score)
    if score.interval is None or reference is None:
        return None
    if _base(score) not in _CHANCE:
        factor *= math.sqrt(2)
    low, high = score.interval
    above = score.value - reference > factor * (score.value - low)
    below = reference - score.value > factor * (high - score.value)
    return int(above) - int(below)


def _read_distance(score: Score, side: int | None) -> str:
    (row,) = score_rows([score])
    found = row.name + f" {row.value}" + (f" ({row.interval})" if row.interval else "")
    if not row.floor:
        return f"Synthetic images against held-out ones: {found}; there is no floor to it."
    pair = f"{found}; real images in their place, {row.floor}."
    if side is None:
        return f"Synthetic images against held-out ones: {pair}"
    if side > 0:
        return f"Synthetic images are farther from held-out ones than real images are: {pair}"
    if side < 0:
        return f"Synthetic images are closer to held-out ones than real images are: {pair}"
    return (
        "No difference between synthetic and real images shows in their distance to held-out "
        f"ones: {pair} With these images, only one above {_smallest_shown(score)} would show."
    )


def _smallest_shown(score: Score) -> str:
    """Return how far above its floor a score with this interval must be; see `_side`."""
    low, high = score.interval or (math.nan, math.nan)
    shown = math.sqrt(2) * (score.value - low)
    return _text(shown, _digits([score.value, low, high]))


def _read_others(sides: Mapping[str, int | None]) -> list[str]:
    """Name the scores that differ from those of real images, and those that do not."""
    apart = [name for name, side in sides.items() if side]
    alike = [name for name, side in sides.items() if side == 0]
    sentences = []
    if apart:
        sentences.append(f"Unlike real images, by more than chance: {', '.join(apart)}.")
    if alike:
        sentences.append(f"No difference from real images shows in: {', '.join(alike)}.")
    return sentences


def _read_copying(sides: Mapping[str, int | None]) -> list[str]:
    """Say whether synthetic images lie closer to training images than real ones do."""
    closer = [name for name, side in sides.items() if side == -1]
    if closer:
        return [
            "Closer to training images than other real images are, which copies would be, by "
            f"{', '.join(closer)}: look at the closest pairs."
        ]
    if sides and None not in sides.values():
        return [
            f"Not shown to be closer to training images than real ones are, by {', '.join(sides)}; "
            "single copies can hide in these, so look at the closest pairs."
        ]
    return []


def _better(score: Score) -> str:
    if score.higher_is_better is None:
        return "" if score.floor is None else "at floor"
    return "higher" if score.higher_is_better else "lower"


def _digits(numbers: Sequence[float]) -> int | None:
    """Return the decimals with which the largest of some numbers shows three digits.

    None where that would take a long text: such numbers are written with a power of ten.
    """
    largest = max(abs(number) for number in numbers)
    if largest == 0 or not math.isfinite(largest):
        return 2
    return None if not 1e-4 <= largest < 1e5 else max(2 - math.floor(math.log10(largest)), 0)


def _text(number: float, digits: int | None) -> str:
    if digits is None:
        return f"{number:.2e}" if number else "0"
    text = f"{number:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text  # no negative zero


def _interval(interval: tuple[float, float], digits: int | None) -> str:
    return " to ".join(_text(bound, digits) for bound in interval)


def growth_text(progress: Progress, side: int) -> str:
    """Say how far a generator was in its stages after a step; nothing where that was all the way.

    side: of the images that it makes, in pixels.
    """
    reached = progress.resolution
    fading = ", which was still fading in" if progress.is_fading else ""
    if reached is None:
        unfinished = "ended in a stage before the last one; images are not yet what they are to be"
        return unfinished if progress.is_growing else ""
    if reached >= side and not fading:
        return ""
    enlarged = f"; images are enlarged to {side} px" if reached < side else ""
    return f"trained up to {reached} px of {side}{fading}{enlarged}"
