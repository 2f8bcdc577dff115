"""What width, height and mean intensity alone predict of the class: shortcuts in an image set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Probe", "ShortcutProbes", "probe_shortcuts"]

_FOLDS = 5
_TREES = 30

#: A class with fewer images says nothing about a shortcut: each fold would test on one.
_FEWEST_IMAGES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How well one or several numbers an image predict its class.

    name: what was tried, such as ``"width"``. auc: the area under the ROC curve of a classifier
    that sees these numbers only, cross-validated, one class against the rest and averaged over
    classes; .5 is a coin. None when the numbers are the same for every image, or no fold tests on
    two classes.
    """

    name: str
    auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutProbes:
    """The probes of an image set.

    probes: `width`, `height`, `width / height`, `size` (these three together), `mean intensity`
    and `all` together; empty when there is a `reason`. chance: what the AUC of a number without
    any link to the class stays below 97.5 % of the time. images and units: how many were used,
    and how many groups they make (an image without a group is its own). folds: of the
    cross-validation. left_out: classes with too few images or groups.
    """

    probes: tuple[Probe, ...]
    chance: float | None
    images: int
    units: int
    folds: int
    left_out: tuple[str, ...]
    reason: str | None

    def auc(self, name: str) -> float | None:
        """Return the AUC of a probe; None when it was not tried or has nothing to go by."""
        return next((probe.auc for probe in self.probes if probe.name == name), None)


def probe_shortcuts(
    *,
    widths: NDArray[Any],
    heights: NDArray[Any],
    means: NDArray[np.float64],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    units: NDArray[np.int64],
) -> ShortcutProbes:
    """Probe what sizes and mean intensities, (N,) each, predict of the labels, (N,).

    units: int64 (N,); rows of one unit (a group, a cluster of duplicates) are never both trained
    and tested on. Classes of fewer than 10 images or 5 units are left out. Equal arguments give
    equal results.
    """
    kept, left_out = _enough(labels, units, class_names)
    n_units = len(np.unique(units[kept]))
    if len(np.unique(labels[kept])) < 2:
        reason = (
            f"fewer than two classes have {_FEWEST_IMAGES} images of {_FOLDS} groups"
            if len(class_names) > 1
            else "there is one class only"
        )
        return ShortcutProbes(
            probes=(), chance=None, images=int(kept.sum()), units=n_units, folds=_FOLDS,
            left_out=left_out, reason=reason,
        )  # fmt: skip
    tried = _tried(widths[kept], heights[kept], means[kept])
    aucs = _aucs(tried, labels[kept], units[kept])
    return ShortcutProbes(
        probes=tuple(Probe(name=name, auc=auc) for name, auc in aucs.items()),
        chance=_chance(labels[kept], units[kept]),
        images=int(kept.sum()),
        units=n_units,
        folds=_FOLDS,
        left_out=left_out,
        reason=None,
    )


def _tried(
    widths: NDArray[Any], heights: NDArray[Any], means: NDArray[np.float64]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the columns that each probe sees, by the names of the probe and of the column."""
    size = {"width": widths * 1.0, "height": heights * 1.0, "width / height": widths / heights}
    mean = {"mean intensity": means}
    alone = {name: {name: column} for name, column in size.items()}
    return {**alone, "size": size, "mean intensity": mean, "all": {**size, **mean}}


def _aucs(
    tried: Mapping[str, Mapping[str, NDArray[np.float64]]],
    labels: NDArray[np.int64],
    units: NDArray[np.int64],
) -> dict[str, float | None]:
    """Return the AUC of each set of columns; None when all of its columns are constant."""
    from sklearn.model_selection import StratifiedGroupKFold

    folding = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    folds = list(folding.split(labels[:, None], labels, units))
    aucs: dict[tuple[str, ...], float | None] = {(): None}
    results = {}
    for name, columns in tried.items():
        vary = tuple(key for key, column in columns.items() if len(np.unique(column)) > 1)
        if vary not in aucs:
            aucs[vary] = _auc(np.stack([columns[key] for key in vary], axis=1), labels, folds)
        results[name] = aucs[vary]
    return results


def _auc(
    columns: NDArray[np.float64],
    labels: NDArray[np.int64],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> float | None:
    """Return the mean over folds of one class against the rest, then over classes.

    Of extremely randomised trees (Geurts et al. 2006), since a class may sit at any sizes, not
    only at the largest.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score

    scores: dict[int, list[float]] = {}
    for train, test in folds:
        trees = ExtraTreesClassifier(
            _TREES, min_samples_leaf=5, class_weight="balanced", random_state=0
        ).fit(columns[train], labels[train])
        chances = trees.predict_proba(columns[test])
        for index, label in enumerate(trees.classes_.tolist()):
            of_class = labels[test] == label
            if 0 < of_class.sum() < len(test):
                scores.setdefault(label, []).append(roc_auc_score(of_class, chances[:, index]))
    if not scores:  # a few large units: no fold tests on two classes
        return None
    return float(np.mean([np.mean(each) for each in scores.values()]))


def _enough(
    labels: NDArray[np.int64], units: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return the rows of classes that can be probed, and the names of those that cannot."""
    few = [
        label
        for label in range(len(class_names))
        if (labels == label).sum() < _FEWEST_IMAGES
        or len(np.unique(units[labels == label])) < _FOLDS
    ]
    return ~np.isin(labels, few), tuple(class_names[label] for label in few)


def _chance(labels: NDArray[np.int64], units: NDArray[np.int64]) -> float:
    """Return .5 plus 1.96 standard errors of an AUC under no link (Mann and Whitney 1947).

    Images of one unit are alike, so units are counted. Of several classes it is the mean of the
    standard errors, which is at least the standard error of the mean.
    """
    errors = []
    for label in np.unique(labels):
        own = len(np.unique(units[labels == label]))
        rest = len(np.unique(units[labels != label]))
        errors.append(np.sqrt((own + rest + 1) / (12 * own * rest)))
    return float(0.5 + 1.96 * np.mean(errors))
