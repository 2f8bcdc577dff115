"""The leak guard: which rows overlap with those that a run has trained on.

A run keeps hashes of its rows, never their pixels, in references.safetensors: four arrays for
each split, a row for each of the split's rows in splits.csv, in that order.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.errors import LeakageError, RunError
from ganaug.hashes import Looks, hash_distances, hash_images

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ganaug.hashes import ImageHashes
    from ganaug.spec import LabelledImages

__all__ = [
    "Overlap",
    "References",
    "add_references",
    "check_leaks",
    "find_overlaps",
    "has_references",
    "read_references",
    "write_references",
]

# Two images are near duplicates when the 64-bit hashes differ in 6 bits at most, as in the copy
# filter, and the 256-bit one in 38. On eight real image sets (17,612 images) this finds all copies
# that were brightened by 5 % or scaled to 75 %, and of those given noise of sigma 4 of 255 or saved
# as JPEG at least 99 % of images of 128 px and more, and of 28 to 32 px 59 to 100 %. Of all pairs
# of different images, among them 708 chest X-rays of 28 px whose 64-bit hashes are near, three are
# flagged that `find_duplicates` does not confirm: two of the same scan and two adjacent slices.
_NEAR_BITS = 6
_NEAR_DETAIL_BITS = 38

_FILE = "references.safetensors"
_SHOWN = 3

#: Names of groups of up to this many characters say little about who is meant.
_SHORT_NAME = 3
_CHANCE = (
    " But no image is alike, and the groups are bare numbers or very short names, which may merely "
    "coincide: if others are meant here, such as patients of another hospital, rename the groups "
    "of these images (such as b-12 for 12)."
)
_BLOCK_VALUES = 2**22


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class References:
    """What a run keeps of the rows of some splits; see `ganaug.hashes.ImageHashes`.

    groups: "" for a row without one. validation: the ids of those that are validation rows.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    pixels: NDArray[np.uint8]
    looks: Looks
    blank: NDArray[np.bool_]
    validation: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Overlap:
    """A row that overlaps with reference rows; the id of the first one of each kind, or None."""

    id: str
    same_pixels: str | None
    near_duplicate: str | None
    same_group: str | None


def write_references(path: Path, hashes: ImageHashes, splits: Sequence[str]) -> None:
    """Add the hashes of all rows to references.safetensors, apart for each split.

    What the file holds under other names stays. Raises RunError when it cannot be written.
    """
    columns = {
        "pixels": hashes.pixels,
        "perceptual": hashes.looks.perceptual,
        "detail": hashes.looks.detail,
        "blank": hashes.blank.astype(np.uint8),
    }
    tensors = {
        f"{split}.{name}": column[np.array(splits) == split]
        for split in sorted(set(splits))
        for name, column in columns.items()
    }
    add_references(path, tensors)


def add_references(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into a safetensors file, beside those of other names that it holds."""
    import torch

    kept = read_tensors(path)[0] if path.exists() else {}
    new = {name: torch.from_numpy(array) for name, array in arrays.items()}
    write_tensors(path, {**kept, **new}, {})


def has_references(run: Path) -> bool:
    """Say whether a run directory keeps hashes of its training rows."""
    path = run / _FILE
    return path.exists() and "training.pixels" in read_tensors(path)[0]


def read_references(run: Path, *splits: str) -> References:
    """Read what a run directory keeps of the rows of some splits; "training" unless named.

    Raises RunError when the run keeps nothing of its rows, since it was made by a version before
    the leak guard, or when it is damaged.
    """
    if not has_references(run):
        raise RunError(
            f"{run} carries no references to the rows it was trained on: it was made by an earlier "
            "version of ganaug, or is unfinished, and cannot be checked for leaks. Fit it again."
        )
    tensors, _ = read_tensors(run / _FILE)
    every = [_references_of(run, split, tensors) for split in splits or ("training",)]
    parts = [part for part in every if len(part)] or every[:1]  # arrays of no rows have no width
    return References(
        ids=tuple(id_ for part in parts for id_ in part.ids),
        groups=tuple(group for part in parts for group in part.groups),
        pixels=np.concatenate([part.pixels for part in parts]),
        looks=Looks(
            np.concatenate([part.looks.perceptual for part in parts]),
            np.concatenate([part.looks.detail for part in parts]),
        ),
        blank=np.concatenate([part.blank for part in parts]),
        validation=frozenset().union(*(part.validation for part in parts)),
    )


def _references_of(run: Path, split: str, tensors: Mapping[str, Tensor]) -> References:
    """Return what the tensors of a run's references say of the rows of one split."""
    ids, groups = _read_rows(run / "splits.csv", split)
    none = np.empty((0, 1), dtype=np.uint8)
    pixels, perceptual, detail = (
        tensors[f"{split}.{name}"].numpy() if f"{split}.{name}" in tensors else none
        for name in ("pixels", "perceptual", "detail")
    )
    if len(pixels) != len(ids):
        raise RunError(
            f"{run} is damaged: splits.csv has {len(ids)} {split} rows and references.safetensors "
            f"{len(pixels)}. Restore it from a copy, or fit the run again."
        )
    # runs of earlier versions do not say which rows are blank
    blank = tensors.get(f"{split}.blank")
    return References(
        ids=ids,
        groups=groups,
        pixels=pixels,
        looks=Looks(perceptual, detail),
        blank=np.zeros(len(ids), np.bool_) if blank is None else blank.numpy().astype(np.bool_),
        validation=frozenset(ids if split == "validation" else ()),
    )


def check_leaks(images: LabelledImages, references: References, *, run: str) -> None:
    """Raise LeakageError when images overlap with the rows that a run was trained on.

    images: what is meant to judge the run or its synthetic images; decoded one at a time.
    references: of the training rows, and perhaps of validation rows, whose scores may have chosen
    the weights. run: the name of the run, for the message.
    """
    overlaps = find_overlaps(images, references)
    if not overlaps:
        return
    counts = {
        "with the same pixels": sum(overlap.same_pixels is not None for overlap in overlaps),
        "near duplicates": sum(overlap.near_duplicate is not None for overlap in overlaps),
        "of the same group": sum(overlap.same_group is not None for overlap in overlaps),
    }
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    doubt = _CHANCE if _may_coincide(images, overlaps) else ""
    shown = ", ".join(_describe(overlap, references) for overlap in overlaps[:_SHOWN])
    use = "trained on or validated with" if references.validation else "trained on"
    raise LeakageError(
        f"{len(overlaps):,} of {len(images):,} rows overlap with the {len(references):,} rows that "
        f"{run} was {use}: {kinds}; first: {shown}. Scores on such rows mean nothing: leave "
        f"them out, or fit a new run without them.{doubt}"
    )


def _describe(overlap: Overlap, references: References) -> str:
    """Name a row, and the row of the run that it overlaps with most."""
    kinds = {
        "same pixels as": overlap.same_pixels,
        "near duplicate of": overlap.near_duplicate,
        "same group as": overlap.same_group,
    }
    kind, found = next((kind, found) for kind, found in kinds.items() if found)
    split = "validation" if found in references.validation else "training"
    return f"{overlap.id} ({kind} {split} row {found})"


def _may_coincide(images: LabelledImages, overlaps: Sequence[Overlap]) -> bool:
    """Say whether all evidence is names of groups that other sets may have by chance."""
    if any(overlap.same_pixels or overlap.near_duplicate for overlap in overlaps):
        return False
    groups = dict(zip(images.ids, images.groups or (), strict=True))
    names = (groups[overlap.id] for overlap in overlaps)
    return all(name.isdecimal() or len(name) <= _SHORT_NAME for name in names)


def find_overlaps(images: LabelledImages, references: References) -> list[Overlap]:
    """Return the rows of `images` that overlap with reference rows, in order.

    A row overlaps when it has the same pixels, when it or its mirror image is a near duplicate
    (same pixels aside), or when it is of the same group. Blank images overlap by group alone.
    """
    hashes = hash_images(images)
    same = _same(_pixel_keys(hashes), _pixel_keys(references), references.ids)
    near = [
        as_it_is or as_mirrored
        for as_it_is, as_mirrored in zip(
            _near(hashes.looks, hashes.blank, references),
            _near(hashes.mirrored, hashes.blank, references),
            strict=True,
        )
    ]
    groups = _same(images.groups or [""] * len(images), references.groups, references.ids)
    overlaps = (
        Overlap(id_, pixels, None if pixels else look, group)
        for id_, pixels, look, group in zip(images.ids, same, near, groups, strict=True)
    )
    return [o for o in overlaps if o.same_pixels or o.near_duplicate or o.same_group]


def _near(own: Looks, blank: NDArray[np.bool_], references: References) -> list[str | None]:
    """Return the id of the nearest reference row that is a near duplicate, for each row."""
    theirs = references.looks
    found: list[str | None] = []
    block = max(1, _BLOCK_VALUES // max(1, len(references)))
    for start in range(0, len(own.detail), block):
        rows = slice(start, start + block)
        distances = hash_distances(own.perceptual[rows], theirs.perceptual)
        nearby = (distances <= _NEAR_BITS) & ~blank[rows, None] & ~references.blank
        for row, near in enumerate(nearby, start=start):
            candidates = np.flatnonzero(near)
            differing = np.bitwise_count(theirs.detail[candidates] ^ own.detail[row]).sum(axis=1)
            close = len(candidates) and differing.min() <= _NEAR_DETAIL_BITS
            found.append(references.ids[candidates[differing.argmin()]] if close else None)
    return found


def _same(
    keys: Sequence[str | bytes], reference_keys: Sequence[str | bytes], ids: Sequence[str]
) -> list[str | None]:
    """Return the id of the first reference row of the same key, for each key; none for ""."""
    first: dict[str | bytes, str] = {}
    for key, id_ in zip(reference_keys, ids, strict=True):
        if key:
            first.setdefault(key, id_)
    return [first.get(key) for key in keys]


def _pixel_keys(hashed: ImageHashes | References) -> list[bytes]:
    """Return a key of the pixels of each row; an empty one for blank images."""
    rows = zip(hashed.pixels, hashed.blank, strict=True)
    return [b"" if blank else row.tobytes() for row, blank in rows]


def _read_rows(path: Path, split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return ids and groups of the rows of a split."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        return tuple(row["id"] for row in rows), tuple(row["group"] or "" for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise RunError(f"{path} cannot be read: {error!r}. Restore it from a copy.") from error
