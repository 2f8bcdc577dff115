"""Which rows train, validate and test: repeated, grouped, stratified cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganaug.errors import ConfigError, DataError
from ganaug.splits import bundle_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.spec import LabelledImages
    from ganaug.study import Budget, Study

__all__ = ["Fold", "Protocol", "deal", "folds"]

#: A class of fewer training images cannot be learned from, by a generator least of all.
_LEAST = 2

# What random numbers are for, so that no two draws share theirs.
_TEST, _VALIDATION, _FRACTION = range(3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """Rows of one fold of a repeat, each int64 (n,), ascending; together they are all rows."""

    repeat: int
    fold: int
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


class Protocol:
    """The folds of a benchmark, and the training rows of a fraction of each.

    images: all rows; what their source says of splits does not count here. clusters: rows that
    belong together beside groups, as `find_duplicates` finds them: groups, clusters and what they
    join (bundles, from here on) are never divided.

    Raises what `folds` raises.
    """

    def __init__(
        self,
        images: LabelledImages,
        study: Study,
        budget: Budget,
        seed: int,
        *,
        clusters: Sequence[Sequence[int]] = (),
    ) -> None:
        self.images = images
        self.seed = seed
        self.bundle_of = np.empty(len(images), dtype=np.int64)
        for number, rows in enumerate(bundle_rows(images, clusters)):
            self.bundle_of[rows] = number
        every = folds(images, study, budget, seed, clusters=clusters)
        self.folds = {(fold.repeat, fold.fold): fold for fold in every}
        self.groups = _names(images, self.bundle_of)

    def training(self, fold: Fold, fraction: float) -> NDArray[np.int64]:
        """Return training rows of whole bundles, about `fraction` of each class; ascending.

        A smaller fraction is a part of a larger one. Every class keeps at least two images.
        Raises DataError where one cannot.
        """
        if fraction == 1.0:
            return fold.training
        rng = np.random.default_rng([self.seed, fold.repeat, _FRACTION, fold.fold])
        bundles = _bundles(fold.training, self.bundle_of)
        taken = _take(self.images.labels, bundles, fraction, rng)
        rows = np.sort(np.concatenate([bundles[i] for i in taken]))
        where = f"{fraction:g} of the training part of {_place(fold)}"
        _check_counts(self.images, rows, _LEAST, where, "Use a larger --fraction.")
        return rows


def folds(
    images: LabelledImages,
    study: Study,
    budget: Budget,
    seed: int,
    *,
    clusters: Sequence[Sequence[int]] = (),
) -> list[Fold]:
    """Return ``budget.folds`` folds a repeat; groups and clusters whole, classes in proportion.

    Each row is tested once a repeat. From what is left, a fraction ``study.validation`` is cut in
    the same way. A repeat follows from the seed and its number alone, so that further repeats
    leave earlier ones as they are.

    Raises ConfigError for fewer than two folds or a validation fraction outside (0, 1), and
    DataError where there are fewer groups than folds, where a class is absent from a test or
    validation part, or where one has less than two images to train with.
    """
    if budget.folds < 2 or budget.repeats < 1:
        raise ConfigError(
            "Cross-validation needs 2 folds and 1 repeat at least; got "
            f"{budget.folds} and {budget.repeats}."
        )
    if not 0.0 < study.validation < 1.0:
        raise ConfigError(f"validation must be between 0 and 1; got {study.validation}.")
    bundles = [np.array(rows) for rows in bundle_rows(images, clusters)]
    _check_bundles(images, bundles, budget.folds)
    found = []
    for repeat in range(budget.repeats):
        rng = np.random.default_rng([seed, repeat, _TEST])
        parts = deal(images.labels, bundles, [1 / budget.folds] * budget.folds, rng)
        for number in range(budget.folds):
            rng = np.random.default_rng([seed, repeat, _VALIDATION, number])
            tested = [rows for rows, part in zip(bundles, parts, strict=True) if part == number]
            others = [rows for rows, part in zip(bundles, parts, strict=True) if part != number]
            shares = [1 - study.validation, study.validation]
            cut = deal(images.labels, others, shares, rng)
            trained, validated = (
                [rows for rows, part in zip(others, cut, strict=True) if part == which]
                for which in (0, 1)
            )
            fold = Fold(
                repeat=repeat,
                fold=number,
                training=_join(trained),
                validation=_join(validated),
                test=_join(tested),
            )
            _check_fold(images, fold)
            found.append(fold)
    return found


def deal(
    labels: NDArray[np.int64],
    bundles: Sequence[NDArray[np.int64]],
    shares: Sequence[float],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Divide bundles of rows into parts; return the part of each bundle, int64 (bundles,).

    labels: int64 (N,), of all rows. shares: of the parts; they add up to 1.

    A bundle counts for the rarest of its classes. Rarest classes first and large bundles first,
    each goes to the part that has least of its class for its share, half of the bundle counted
    (Sainte-Lague's quotient, which rounds to the nearest); then to the smaller part, then by
    chance. scikit-learn's StratifiedGroupKFold only knows equal parts.
    """
    counts, home = _classes_of(labels, bundles)
    weights = np.asarray(shares)
    given = np.zeros((len(shares), counts.shape[1]))
    parts = np.empty(len(bundles), dtype=np.int64)
    order = rng.permutation(len(bundles))
    own = counts[np.arange(len(bundles)), home]
    order = order[np.lexsort((-own[order], home[order], counts.sum(axis=0)[home[order]]))]
    for bundle in order:
        quotients = (given[:, home[bundle]] + own[bundle] / 2) / weights
        loads = given.sum(axis=1) / weights
        chance = rng.random(len(shares))
        part = np.lexsort((chance, loads, quotients))[0]
        parts[bundle] = part
        given[part] += counts[bundle]
    return parts


def _take(
    labels: NDArray[np.int64],
    bundles: Sequence[NDArray[np.int64]],
    fraction: float,
    rng: np.random.Generator,
) -> list[int]:
    """Return which bundles make up a fraction: of each class, the first ones in a random order."""
    counts, home = _classes_of(labels, bundles)
    order = rng.permutation(len(bundles))
    taken: list[int] = []
    for class_ in np.unique(home):
        own = order[home[order] == class_]
        sizes = counts[own, class_].cumsum()
        n = 1 + int(np.abs(sizes - fraction * sizes[-1]).argmin())
        n = max(n, 1 + int(np.searchsorted(sizes, _LEAST)))
        taken += own[:n].tolist()
    return taken


def _classes_of(
    labels: NDArray[np.int64], bundles: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return images by bundle and class, (B, K), and the rarest class of each bundle, (B,)."""
    classes = int(labels.max()) + 1
    counts = np.stack([np.bincount(labels[rows], minlength=classes) for rows in bundles])
    totals = np.where(counts > 0, counts.sum(axis=0), len(labels) + 1)
    return counts, totals.argmin(axis=1)


def _bundles(rows: NDArray[np.int64], bundle_of: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows by bundle, in the order of the bundles' numbers."""
    order = rows[np.argsort(bundle_of[rows], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(bundle_of[order])) + 1)


def _join(bundles: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *bundles]))


def _names(images: LabelledImages, bundle_of: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the name of each row's bundle: of its first group, or the id of its first image.

    Where some rows have groups and others none, the latter say so: an id may be another's group.
    """
    groups = images.groups or ("",) * len(images)
    mark = "image " if any(groups) else ""
    names: dict[int, str] = {}
    for bundle, group in zip(bundle_of.tolist(), groups, strict=True):
        if group:
            names.setdefault(bundle, group)
    for bundle, id_ in zip(bundle_of.tolist(), images.ids, strict=True):
        names.setdefault(bundle, f"{mark}{id_}")
    return tuple(names[bundle] for bundle in bundle_of.tolist())


# --- checks -----------------------------------------------------------------------------------


def _check_bundles(images: LabelledImages, bundles: Sequence[NDArray[np.int64]], n: int) -> None:
    """Refuse fewer groups than folds, of all images or of a class."""
    if len(images.class_names) < 2:
        only = images.class_names[0] if images.class_names else "none"
        raise DataError(f"There is nothing to tell apart: the one class is {only!r}.")
    one = "image" if len(bundles) == len(images) else "group"
    if len(bundles) < n:
        raise DataError(
            f"{n} folds need {n} {one}s at least, and there {_are(len(bundles), one)}; groups and "
            f"near duplicates are never divided. {_fewer(len(bundles))} more images."
        )
    for index, name in enumerate(images.class_names):
        has = sum(bool((images.labels[rows] == index).any()) for rows in bundles)
        if has < n:
            raise DataError(
                f"Class {name!r} would be absent from a test fold: there {_are(has, one)} of it, "
                f"and {n} folds. {_fewer(has)} more images of it, leave the class out, or "
                "join it with another one (the study's classes)."
            )


def _check_fold(images: LabelledImages, fold: Fold) -> None:
    advice = (
        "Use fewer folds (--folds N, folds=N) or another validation fraction, give more images "
        "of it, leave the class out, or join it with another one (the study's classes)."
    )
    for rows, least, what in (
        (fold.test, 1, "test"),
        (fold.validation, 1, "validation"),
        (fold.training, _LEAST, "training"),
    ):
        _check_counts(images, rows, least, f"the {what} part of {_place(fold)}", advice)


def _check_counts(
    images: LabelledImages, rows: NDArray[np.int64], least: int, where: str, advice: str
) -> None:
    for index, name in enumerate(images.class_names):
        every = np.flatnonzero(images.labels == index)
        n = int(np.isin(rows, every).sum())
        if n < least:
            groups = len({_group(images, row) for row in every.tolist()})
            one = "image" if groups == len(every) else "group"
            has = f"{n} image{'s' * (n != 1)}"
            raise DataError(
                f"Class {name!r} has {has} in {where}, which needs {least}: there "
                f"{_are(groups, one)} of it in all, and groups and near duplicates are never "
                f"divided. {advice}"
            )


def _group(images: LabelledImages, row: int) -> str | int:
    return (images.groups[row] if images.groups else "") or row


def _place(fold: Fold) -> str:
    return f"fold {fold.fold + 1} of repeat {fold.repeat + 1}"


def _are(n: int, one: str) -> str:
    return f"is 1 {one}" if n == 1 else f"are {n} {one}s"


def _fewer(n: int) -> str:
    return f"Use --folds {n} (folds={n}), or give" if n > 1 else "Give"
