"""How well readers tell synthetic images from real ones.

The statistics are of these readers, for images like those shown: images are what was sampled.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.readers.answers import Answers, Key

__all__ = [
    "AUC_METHOD",
    "PROPORTION_METHOD",
    "Estimate",
    "ReaderScore",
    "score_answers",
    "smallest_detectable_auc",
]

PROPORTION_METHOD = "Wilson; several readers' answers about one image are not independent"
AUC_METHOD = (
    "DeLong over images, on the logit scale (without variance: Wilson); of readers, the mean, in "
    "which those who answered less count less"
)

_FIRST_SYNTHETIC = 4  # the lowest answer that says synthetic
_POWER = 0.8
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderScore:
    """How well a reader told the images of a class apart; None: all readers, all classes.

    n_real, n_synthetic: answers. accuracy: of answers that are right. sensitivity: of synthetic
    images that were called synthetic; specificity: of real ones that were called real. auc: the
    chance that a synthetic image is rated more synthetic than a real one, ties half; 0.5: the
    readers cannot tell. None where there were no images to ask. seconds: median of an answer.
    """

    reader: str | None
    class_name: str | None
    n_real: int
    n_synthetic: int
    accuracy: Estimate | None
    sensitivity: Estimate | None
    specificity: Estimate | None
    auc: Estimate | None
    seconds: float | None

    def to_fields(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def score_answers(key: Key, answers: Answers) -> list[ReaderScore]:
    """Score each reader and then all of them, over all classes and then each class."""
    readers: list[tuple[str | None, slice]] = [
        (name, slice(row, row + 1)) for row, name in enumerate(answers.readers)
    ]
    scores = []
    for reader, rows in [*readers, (None, slice(None))]:
        for class_name in [None, *sorted(set(key.class_names))]:
            chosen = np.array([class_name in (None, name) for name in key.class_names])
            scores.append(
                _score(
                    answers.ratings[rows][:, chosen],
                    answers.milliseconds[rows][:, chosen],
                    key.is_synthetic[chosen],
                    reader,
                    class_name,
                )
            )
    return scores


def _score(
    ratings: NDArray[np.float64],
    milliseconds: NDArray[np.float64],
    is_synthetic: NDArray[np.bool_],
    reader: str | None,
    class_name: str | None,
) -> ReaderScore:
    right = np.where((ratings >= _FIRST_SYNTHETIC) == is_synthetic, 1.0, 0.0)
    right[np.isnan(ratings)] = np.nan
    answered = ~np.isnan(ratings)
    timed = milliseconds[np.isfinite(milliseconds)]
    return ReaderScore(
        reader=reader,
        class_name=class_name,
        n_real=int(answered[:, ~is_synthetic].sum()),
        n_synthetic=int(answered[:, is_synthetic].sum()),
        accuracy=_proportion(right),
        sensitivity=_proportion(right[:, is_synthetic]),
        specificity=_proportion(right[:, ~is_synthetic]),
        auc=_auc(ratings, is_synthetic),
        seconds=float(np.median(timed)) / 1000 if len(timed) else None,
    )


def _proportion(right: NDArray[np.float64]) -> Estimate | None:
    """Estimate the share of ones among answers (R, N), NaN where there is none.

    Answers about one image go together, so that Wilson's interval takes the number of independent
    answers that would vary as much (Korn and Graubard 1998); at least one an image.
    """
    asked = ~np.isnan(right)
    each, total = asked.sum(axis=0), int(asked.sum())
    if not total:
        return None
    share = float(np.nansum(right)) / total
    images = int((each > 0).sum())
    deviations = np.nansum(right, axis=0) - share * each
    variance = float((deviations**2).sum()) / total**2 * images / max(images - 1, 1)
    effective = share * (1 - share) / variance if variance else 0.0
    low, high = _wilson(share, min(max(effective, images), total))
    return Estimate(share, low, high)


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's (1927) interval of a share of n."""
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _auc(ratings: NDArray[np.float64], is_synthetic: NDArray[np.bool_]) -> Estimate | None:
    """Estimate the mean over readers of the area under the ROC curve, from ratings (R, N).

    A reader counts by how sure their own area is (`_weight`), so that one who answered little
    adds little. The variance is that of DeLong et al. (1988) over images, which all readers share,
    each reader's share of it by their own number of images; the interval is symmetric on the logit
    scale, so that it stays within 0 and 1. Where there is no variance, as with an AUC of 1, it is
    Wilson's of as many comparisons as there are images of the rarer kind: each image is compared
    with another one of the other kind.
    """
    values, weights = [], []
    influence = np.zeros(ratings.shape[1])  # what each image adds to the sum's deviation
    for row in ratings:
        synthetic, real = (np.flatnonzero(~np.isnan(row) & kind) for kind in _both(is_synthetic))
        if not len(synthetic) or not len(real):
            continue
        weight = _weight(len(synthetic), len(real))
        wins = (np.sign(row[synthetic][:, None] - row[real]) + 1) / 2
        values.append(float(wins.mean()))
        weights.append(weight)
        for rows, means in ((synthetic, wins.mean(axis=1)), (real, wins.mean(axis=0))):
            n = len(rows)  # n (n - 1) in place of n^2: deviations are from their own mean
            influence[rows] += weight * (means - means.mean()) / math.sqrt(n * max(n - 1, 1))
    if not values:
        return None
    area = float(np.average(values, weights=weights))
    asked = ~np.isnan(ratings).all(axis=0)
    rarer = min(int((asked & kind).sum()) for kind in _both(is_synthetic))
    variance = float((influence**2).sum()) / sum(weights) ** 2
    if rarer < 2 or variance < 1e-12 or area in (0.0, 1.0):
        return Estimate(area, *_wilson(area, rarer))
    half = _Z * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return Estimate(area, *(1 / (1 + math.exp(-edge)) for edge in (logit - half, logit + half)))


def _weight(n_synthetic: int, n_real: int) -> float:
    """Return what a reader's area counts: as the inverse of its variance by chance (Noether)."""
    return n_synthetic * n_real / (n_synthetic + n_real + 1)


def _both(is_synthetic: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return is_synthetic, ~is_synthetic


def smallest_detectable_auc(n_real: int, n_synthetic: int) -> float | None:
    """Return the AUC that one reader must have to be told from chance in 4 studies of 5.

    Two-sided at 5 %, by Noether (1987, section 3) for the Mann-Whitney test; None when so few
    images cannot show even an AUC of 1.
    """
    n = n_real + n_synthetic
    if not n_real or not n_synthetic:
        return None
    z = _Z + NormalDist().inv_cdf(_POWER)
    area = 0.5 + z / math.sqrt(12 * n * (n_real / n) * (n_synthetic / n))
    return area if area <= 1.0 else None
