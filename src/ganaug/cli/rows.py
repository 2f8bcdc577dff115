"""Which rows a run is about: cutting the holdout, and finding a run's rows again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.errors import ConfigError, DataError, RunError

if TYPE_CHECKING:
    from ganaug.runs import Run
    from ganaug.spec import LabelledImages

__all__ = ["DEFAULT_HOLDOUT", "cut_rows", "recorded_rows", "training_rows", "training_set"]

#: The fraction of rows that is held out unless told otherwise.
DEFAULT_HOLDOUT = 0.2


def cut_rows(
    images: LabelledImages, *, holdout: float | None, split: Path | None, random_state: int
) -> tuple[str, ...]:
    """Return the split of each row: from a file, from the source itself, or cut anew.

    Raises ConfigError when both a file and a fraction are given, DataError when the file does not
    belong to the images or nothing can be held out.
    """
    from ganaug.splits import match_splits, read_splits, split_rows

    if split is not None:
        if holdout is not None:
            raise ConfigError("Give --split or --holdout, not both.")
        return match_splits(images, read_splits(split))
    if holdout is not None and images.splits is not None:
        raise ConfigError(
            "This source says itself which images are held out, so --holdout cannot be applied. "
            "Leave it out, or give the split of each image with --split."
        )
    fraction = DEFAULT_HOLDOUT if holdout is None else holdout
    return split_rows(images, holdout=fraction, validation=0.0, random_state=random_state)


def training_rows(images: LabelledImages, splits: Sequence[str]) -> LabelledImages:
    """Return the training rows of all classes, as they are."""
    return images.subset([row for row, split in enumerate(splits) if split == "training"])


def training_set(
    images: LabelledImages, splits: Sequence[str], classes: Sequence[str], size: int | None
) -> LabelledImages:
    """Return the training rows of some classes (none named: all), loaded at a size.

    The classes' held-out rows are decoded as well: a damaged file is better found now than when
    it is needed for the final scores.
    """
    import numpy as np

    from ganaug.spec import class_indices

    indices = sorted(class_indices(classes or images.class_names, images.class_names))
    chosen = np.isin(images.labels, indices)
    loaded = images.only(indices).load(size)
    return loaded.subset(np.flatnonzero(np.array(splits)[chosen] == "training"))


def recorded_rows(run: Run, images: LabelledImages) -> tuple[str, ...]:
    """Return the split of each row as the run recorded it.

    Raises RunError when the images are not those of the run: other ids, or other labels.
    """
    from ganaug.splits import match_splits, read_splits

    path = run.path / "splits.csv"
    try:
        splits = match_splits(images, read_splits(path))
    except DataError as error:
        raise _other_data(run, str(error)) from error
    with path.open(newline="", encoding="utf-8") as file:
        labels = {row["id"]: row["label"] for row in csv.DictReader(file)}
    for id_, label in zip(images.ids, images.labels, strict=True):
        found = images.class_names[label]
        if labels[id_] != found:
            raise _other_data(run, f"image {id_} is {found!r} here and was {labels[id_]!r}.")
    return splits


def _other_data(run: Run, reason: str) -> RunError:
    return RunError(
        f"These are not the images that {run.path} was fitted on, which were "
        f"{run.config.source}: {reason}"
    )
