"""Which rows train, which validate, and which are held out; and the file that records it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganaug.errors import ConfigError, DataError
from ganaug.files import write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.spec import LabelledImages

__all__ = [
    "SPLITS",
    "bundle_rows",
    "cut_validation",
    "divide",
    "kept_whole",
    "match_splits",
    "read_splits",
    "rows_by_group",
    "split_rows",
    "splits_from_file",
    "torn_apart",
    "write_splits",
]

#: What a row can be.
SPLITS = ("training", "validation", "holdout")

_COLUMNS = ("id", "label", "group", "split")

#: The fraction of the training rows that is cut for scores during training.
_VALIDATION = 0.1


def split_rows(
    images: LabelledImages,
    *,
    holdout: float,
    validation: float,
    random_state: int,
    clusters: Sequence[Sequence[int]] = (),
) -> tuple[str, ...]:
    """Return "training", "validation" or "holdout" for each row, stratified by class.

    holdout: the fraction of all rows to hold out. validation: the fraction of the remaining rows
    to cut from training. Either may be 0. clusters: rows that belong together, as
    `find_duplicates` finds them. Groups and clusters stay whole, and so does what they join, so
    fractions are met as nearly as they allow; every class keeps a training row, so one with a
    single image or group is not cut. Equal arguments give equal splits. Where the source says
    which row is what, that stays, wherever groups and clusters lie: `holdout` is not applied, and
    `validation` only if the source has no validation rows.
    Raises ConfigError for a fraction outside [0, 1), and DataError when nothing can be cut.
    """
    for name, fraction in (("holdout", holdout), ("validation", validation)):
        if not 0.0 <= fraction < 1.0:
            raise ConfigError(f"{name} must be a fraction, at least 0 and below 1; got {fraction}.")
    splits = np.array(_given_splits(images) or ["training"] * len(images), dtype=object)
    rng = np.random.default_rng(random_state)
    bundles = bundle_rows(images, clusters)
    whole = "groups and near duplicates" if clusters else "groups"
    if images.splits is None and holdout > 0:
        held = _cut(images.labels, bundles, holdout, rng)
        if not held:
            raise DataError(
                f"No rows can be held out of {_counted(len(images), 'image')} in "
                f"{_counted(len(bundles), 'group')}: each class must keep a training row, and "
                f"{whole} stay whole. Use --holdout 0 (holdout=0)."
            )
        splits[held] = "holdout"
    if "validation" not in splits and validation > 0:
        training = set(np.flatnonzero(splits == "training").tolist())
        left = [[row for row in rows if row in training] for rows in bundles]
        cut = _cut(images.labels, [rows for rows in left if rows], validation, rng)
        if not cut:
            raise DataError(
                "No validation rows can be cut from the training rows: each class must keep a "
                f"training row, and {whole} stay whole. Use --validation 0 (validation=0): "
                "then there is no stopping policy and no selection that needs them."
            )
        splits[cut] = "validation"
    return tuple(splits.tolist())


def cut_validation(
    images: LabelledImages,
    splits: Sequence[str],
    clusters: Sequence[Sequence[int]],
    *,
    random_state: int,
) -> tuple[str, ...]:
    """Return the splits with a tenth of the training rows as "validation", unless some are.

    Cut as `split_rows` does; raises DataError when nothing can be.
    """
    given, n = replace(images, splits=tuple(splits)), list(splits).count("training")
    try:
        return split_rows(
            given, holdout=0.0, validation=_VALIDATION, random_state=random_state, clusters=clusters
        )
    except DataError as error:
        raise DataError(
            f"Scores during training need validation rows, and none can be cut from the {n:,} "
            "training rows: each class must keep a training row, and groups and near duplicates "
            "stay whole. Give more images, or do without select='best', policies that read "
            "metrics, and --eval-every."
        ) from error


def write_splits(path: str | Path, images: LabelledImages, splits: Sequence[str]) -> None:
    """Write a CSV file with the columns id, label (a class name), group and split.

    The file is written whole or not at all. Raises RunError when it cannot be.
    """
    groups = images.groups or ("",) * len(images)
    labels = (images.class_names[label] for label in images.labels)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(zip(images.ids, labels, groups, splits, strict=True))
    write_text(path, text.getvalue())


def read_splits(path: str | Path) -> dict[str, str]:
    """Read the split of each id from a CSV file with at least the columns id and split.

    Raises DataError when the file cannot be read, lacks a column, names an id twice or has a
    split that is none of `SPLITS`.
    """
    return {id_: row["split"] for id_, row in _read_rows(path).items()}


def match_splits(images: LabelledImages, splits: Mapping[str, str]) -> tuple[str, ...]:
    """Return the split of each image, by its id.

    Raises DataError when the ids are not the same, since then the data are not those split.
    """
    without = [id_ for id_ in images.ids if id_ not in splits]
    if without or len(splits) != len(images):
        missing = set(splits) - set(images.ids)
        example = f"{without[0]!r} has no split" if without else f"{min(missing)!r} is not there"
        raise DataError(
            f"The splits do not belong to these images: {len(without)} of {len(images)} images "
            f"have no split and {len(missing)} split ids have no image ({example}). Give the "
            "data that were split, or split anew."
        )
    return tuple(splits[id_] for id_ in images.ids)


def splits_from_file(images: LabelledImages, path: str | Path) -> tuple[str, ...]:
    """Return the split of each image as `write_splits` recorded it.

    Raises DataError as `read_splits` and `match_splits` do, and when the file has labels that
    are not those of the images: ids may be mere numbers, which any other data have too.
    """
    rows = _read_rows(path)
    splits = match_splits(images, {id_: row["split"] for id_, row in rows.items()})
    for id_, label in zip(images.ids, images.labels, strict=True):
        found, recorded = images.class_names[label], rows[id_].get("label")
        if recorded is not None and recorded != found:
            raise DataError(
                f"The splits do not belong to these images: {id_!r} is {found!r} here and "
                f"{recorded!r} in {path}. Give the data that were split, or split anew."
            )
    return splits


def kept_whole(images: LabelledImages, clusters: Sequence[Sequence[int]]) -> tuple[str, str]:
    """Return a line on the groups and a line on the near duplicates that share a split each."""
    groups = rows_by_group(images)
    by_group = "none in the source: every image counts as independent of the others"
    if groups:
        by_group = f"{len(groups):,}, the largest of {max(map(len, groups.values())):,} images"
    if not clusters:
        return by_group, "none found"
    plural = "s" * (len(clusters) > 1)
    look_alikes = f"{sum(map(len, clusters)):,} images in {len(clusters):,} cluster{plural}"
    for column, what in ((images.groups, "groups"), (images.splits, "splits of the source")):
        across = sum(len({column[row] for row in rows}) > 1 for rows in clusters) if column else 0
        if across:
            look_alikes += f", {across:,} of them across {what}"
    return by_group, look_alikes


def torn_apart(
    images: LabelledImages, splits: Sequence[str], clusters: Sequence[Sequence[int]]
) -> tuple[int, int]:
    """Return how many groups, and how many clusters of rows, have rows in several splits."""
    groups, look_alikes = (
        sum(len({splits[row] for row in rows}) > 1 for rows in bundles)
        for bundles in (rows_by_group(images).values(), clusters)
    )
    return groups, look_alikes


def _read_rows(path: str | Path) -> dict[str, dict[str, str]]:
    """Read the rows of a file of splits, by id; see `read_splits`."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read the splits {path}: {error}.") from error
    if not {"id", "split"} <= set(columns):
        found = ", ".join(columns) or "none"
        raise DataError(f"{path} needs the columns id and split; its columns are {found}.")
    by_id = {row["id"]: row for row in rows}
    if len(by_id) < len(rows):
        twice = next(id_ for id_, count in Counter(row["id"] for row in rows).items() if count > 1)
        raise DataError(f"{path} names the id {twice!r} more than once.")
    _check_names((row["split"] or "" for row in rows), str(path))
    return by_id


def _given_splits(images: LabelledImages) -> list[str] | None:
    if images.splits is None:
        return None
    _check_names(images.splits, "The source")
    if "training" not in images.splits:
        raise DataError("The source has no training rows; expected at least one.")
    return list(images.splits)


def _check_names(splits: Iterable[str], where: str) -> None:
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise DataError(f"{where} has the split {unknown[0]!r}; expected {', '.join(SPLITS)}.")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _cut(
    labels: NDArray[np.int64],
    groups: Sequence[list[int]],
    fraction: float,
    rng: np.random.Generator,
) -> list[int]:
    """Return the rows of whole groups, about `fraction` of each class; empty if none can be cut.

    Groups are taken in random order whenever they bring the cut nearer to its fraction of each
    class (squared distance of the shares), and never when a class would be left without a row.
    scikit-learn's splitters are no help here: the stratified ones that know groups only cut
    into equal folds, and those that do not refuse a class of one image.
    """
    totals = Counter(int(labels[row]) for rows in groups for row in rows)
    cut: Counter[int] = Counter()
    taken: list[int] = []
    spare: list[tuple[float, list[int]]] = []
    for index in rng.permutation(len(groups)):
        members = groups[index]
        counts = Counter(int(labels[row]) for row in members)
        if any(cut[label] + count >= totals[label] for label, count in counts.items()):
            continue
        change = sum(
            ((cut[label] + count) / totals[label] - fraction) ** 2
            - (cut[label] / totals[label] - fraction) ** 2
            for label, count in counts.items()
        )
        if change < 0:
            taken += members
            cut += counts
        elif not taken:
            spare.append((change, members))
    if not taken and spare:  # every group is larger than the fraction: take the one that fits best
        taken = min(spare, key=lambda item: item[0])[1]
    return taken


def bundle_rows(images: LabelledImages, clusters: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the rows that belong together, by groups and clusters, in order; most are alone."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    together = [*rows_by_group(images).values(), *clusters]
    edges = [(rows[0], row) for rows in together for row in rows[1:]]
    first, second = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    shape = (len(images), len(images))
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (first, second)), shape=shape)
    bundles: dict[int, list[int]] = {}
    for row, home in enumerate(connected_components(graph, directed=False)[1].tolist()):
        bundles.setdefault(home, []).append(row)
    return list(bundles.values())


def rows_by_group(images: LabelledImages) -> dict[str, list[int]]:
    """Return the rows of each group that has a name."""
    members: dict[str, list[int]] = {}
    for row, group in enumerate(images.groups or ()):
        if group:
            members.setdefault(group, []).append(row)
    return members


def divide(n: int, counts: Sequence[int]) -> list[int]:
    """Divide n in the proportions of counts; the largest remainders get what is left over."""
    exact = np.array(counts) * n / sum(counts)
    shares = np.floor(exact).astype(np.int64)
    first = np.argsort(shares - exact, kind="stable")[: n - int(shares.sum())]
    shares[first] += 1
    found: list[int] = shares.tolist()
    return found
