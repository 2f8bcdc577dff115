"""Which rows a run is about: cutting the holdout, and finding a run's rows again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.errors import ConfigError, DataError, RunError

if TYPE_CHECKING:
    from ganaug.hashes import ImageHashes
    from ganaug.runs import Run
    from ganaug.spec import LabelledImages

__all__ = ["DEFAULT_HOLDOUT", "cut_rows", "recorded_rows", "training_rows", "training_set"]

#: The fraction of rows that is held out unless told otherwise.
DEFAULT_HOLDOUT = 0.2


def cut_rows(
    images: LabelledImages,
    hashes: ImageHashes,
    *,
    holdout: float | None,
    split: Path | None,
    random_state: int,
) -> tuple[str, ...]:
    """Return the split of each row: from a file, from the source itself, or cut anew.

    hashes: of the images; near duplicates stay together, as groups do. Warns when a file or the
    source takes them apart.

    Raises ConfigError when both a file and a fraction are given, DataError when the file does not
    belong to the images or nothing can be held out.
    """
    from ganaug.duplicates import find_duplicates
    from ganaug.splits import split_rows, splits_from_file

    if split is not None:
        if holdout is not None:
            raise ConfigError("Give --split or --holdout, not both.")
        splits = splits_from_file(images, split)
        near = find_duplicates(images, hashes).near
        _warn_if_torn(images, splits, near, str(split), "ganaug data split")
        return splits
    if holdout is not None and images.splits is not None:
        raise ConfigError(
            "This source says itself which images are held out, so --holdout cannot be applied. "
            "Leave it out, or give the split of each image with --split."
        )
    fraction = DEFAULT_HOLDOUT if holdout is None else holdout
    near = find_duplicates(images, hashes).near if images.splits or fraction > 0 else ()
    splits = split_rows(
        images, holdout=fraction, validation=0.0, random_state=random_state, clusters=near
    )
    if images.splits is not None:
        _warn_if_torn(images, splits, near, "the source's own split", "ganaug data split --anew")
    return splits


def _warn_if_torn(
    images: LabelledImages,
    splits: Sequence[str],
    clusters: Sequence[Sequence[int]],
    name: str,
    remedy: str,
) -> None:
    """Warn of groups and clusters of near duplicates that a given split does not keep whole."""
    from ganaug.splits import torn_apart

    groups, look_alikes = torn_apart(images, splits, clusters)
    found = [f"{groups:,} group{'s' * (groups > 1)}"] if groups else []
    if look_alikes:
        found.append(f"{look_alikes:,} cluster{'s' * (look_alikes > 1)} of near duplicates")
    if not found:
        return
    verb = "lies" if groups + look_alikes == 1 else "lie"
    warnings.warn(
        f"{' and '.join(found)} {verb} on both sides of {name}: scores on rows that it holds out "
        f"will flatter. Make a split that keeps them whole with: {remedy}",
        stacklevel=2,
    )


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
    from ganaug.splits import splits_from_file

    try:
        return splits_from_file(images, run.path / "splits.csv")
    except DataError as error:
        raise RunError(
            f"These are not the images that {run.path} was fitted on, which were "
            f"{run.config.source}: {error}"
        ) from error
