"""Which rows a run is about: cutting the holdout, and loading what is trained on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from ganaug.hashes import ImageHashes
    from ganaug.spec import LabelledImages

__all__ = ["DEFAULT_HOLDOUT", "cut_rows", "loaded_rows", "training_rows"]

#: The fraction of rows that is held out unless told otherwise.
DEFAULT_HOLDOUT = 0.2


def cut_rows(
    images: LabelledImages,
    hashes: ImageHashes,
    *,
    holdout: float | None,
    split: Path | None,
    random_state: int,
    validate: bool = False,
) -> tuple[str, ...]:
    """Return the split of each row: from a file, from the source itself, or cut anew.

    hashes: of the images; near duplicates stay together, as groups do. Warns when a file or the
    source takes them apart. validate: whether validation rows are needed; they are cut from the
    training rows unless the file or the source names some. The holdout is the same either way.

    Raises ConfigError when both a file and a fraction are given, DataError when the file does not
    belong to the images or nothing can be held out, or cut for validation.
    """
    from ganaug.splits import cut_validation

    splits, near = _given_or_cut(images, hashes, holdout, split, random_state)
    if not validate or "validation" in splits:
        return splits
    near = _near_duplicates(images, hashes) if near is None else near
    return cut_validation(images, splits, near, random_state=random_state)


def _given_or_cut(
    images: LabelledImages,
    hashes: ImageHashes,
    holdout: float | None,
    split: Path | None,
    random_state: int,
) -> tuple[tuple[str, ...], Sequence[Sequence[int]] | None]:
    """Return the splits, validation not cut, and near duplicates where they were looked for."""
    from ganaug.splits import split_rows, splits_from_file

    if split is not None:
        if holdout is not None:
            raise ConfigError("Give --split or --holdout, not both.")
        splits = splits_from_file(images, split)
        near = _near_duplicates(images, hashes)
        _warn_if_torn(images, splits, near, str(split), "ganaug data split")
        return splits, near
    if holdout is not None and images.splits is not None:
        raise ConfigError(
            "This source says itself which images are held out, so --holdout cannot be applied. "
            "Leave it out, or give the split of each image with --split."
        )
    fraction = DEFAULT_HOLDOUT if holdout is None else holdout
    looked = _near_duplicates(images, hashes) if images.splits or fraction > 0 else None
    splits = split_rows(
        images,
        holdout=fraction,
        validation=0.0,
        random_state=random_state,
        clusters=looked or (),
    )
    if images.splits is not None:
        remedy = "ganaug data split --anew"
        _warn_if_torn(images, splits, looked or (), "the source's own split", remedy)
    return splits, looked


def _near_duplicates(images: LabelledImages, hashes: ImageHashes) -> Sequence[Sequence[int]]:
    from ganaug.duplicates import find_duplicates

    return find_duplicates(images, hashes).near


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


def loaded_rows(
    images: LabelledImages, splits: Sequence[str], classes: Sequence[str], size: int | None
) -> dict[str, LabelledImages]:
    """Return the rows of some classes (none named: all) by split, loaded at a size.

    Held-out rows are decoded as well: a damaged file is better found now than when it is needed
    for the final scores.
    """
    import numpy as np

    from ganaug.spec import class_indices
    from ganaug.splits import SPLITS

    indices = sorted(class_indices(classes or images.class_names, images.class_names))
    chosen = np.isin(images.labels, indices)
    loaded = images.only(indices).load(size)
    found = np.array(splits)[chosen]
    return {name: loaded.subset(np.flatnonzero(found == name)) for name in SPLITS}
