"""A table of files and their labels: images, and DICOM or NIfTI files, whose slices are images."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ganaug.builtin.data.files import SUFFIXES, FilePixels, image_dtype, read_image
from ganaug.builtin.data.options import CsvConfig, DicomConfig, GroupConfig, VolumeConfig
from ganaug.builtin.data.stacks import Stack, images_of_stacks
from ganaug.builtin.data.table import Row, read_rows
from ganaug.errors import ConfigError
from ganaug.spec import LabelledImages

__all__ = ["open_csv"]

_Kind = Literal["image", "dicom", "nifti", "unknown"]

#: Fields that only DICOM files have a use for, and those that images have none for.
_OF_DICOM = ("group_from", "group_key")
_OF_VOLUMES = tuple(
    name for name in VolumeConfig.model_fields if name not in GroupConfig.model_fields
)


def open_csv(table: Path, config: CsvConfig) -> LabelledImages:
    """Open a CSV table with a row a file; files are relative to its folder, or `config.root`.

    A file is an image, a DICOM file, the folder of a DICOM series, or a NIfTI volume. A row of
    several slices becomes an image a slice, with the row's label; their group is the row's, else
    the volume, or what `config.group_from` says of a DICOM file. Classes are the labels found, in
    alphabetical order. Ids are the files as the table has them, with ``#0007`` for slice 7 of a
    volume. Nothing is decoded yet but the first image.

    Warns of what is found in files once, naming the first, whatever the number of rows. Raises
    DataError for a table that `read_rows` refuses, and files that cannot be used; ConfigError for
    fields that none of the files has a use for.
    """
    rows = read_rows(table, config)
    kinds = [_kind(row) for row in rows]
    _check_used(table, config, kinds)
    class_names, labels = np.unique([row.label for row in rows], return_inverse=True)
    names = tuple(class_names.tolist())
    if set(kinds) == {"image"}:
        return _images(rows, labels, names)
    stacks = _stacks_of_rows(table, rows, kinds, config)
    return images_of_stacks(
        [stack for of_row in stacks for stack in of_row],
        np.repeat(labels, [len(of_row) for of_row in stacks]).tolist(),
        names,
    )


def _kind(row: Row) -> _Kind:
    """Return what a row names, by the name first, as there are many."""
    from ganaug.builtin.data import dicom, nifti

    if row.path.suffix.lower() in SUFFIXES:
        return "image"
    if row.path.is_dir():
        return "dicom"
    if nifti.is_nifti(row.path):
        return "nifti"
    return "dicom" if dicom.is_dicom(row.path) else "unknown"


def _check_used(table: Path, config: CsvConfig, kinds: Sequence[_Kind]) -> None:
    """Refuse fields that are set though no file has a use for them."""
    for names, needed in ((_OF_DICOM, {"dicom"}), (_OF_VOLUMES, {"dicom", "nifti"})):
        default = CsvConfig()
        given = [name for name in names if getattr(config, name) != getattr(default, name)]
        if given and not needed & set(kinds):
            files = "DICOM" if len(needed) == 1 else "DICOM or NIfTI"
            raise ConfigError(
                f"{table} names no {files} files, and {given[0]} is for those alone. Leave it out."
            )


def _images(
    rows: Sequence[Row], labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> LabelledImages:
    pixels = FilePixels([row.path for row in rows])
    groups = tuple(row.group for row in rows)
    return LabelledImages(
        pixels=pixels,
        labels=labels,
        class_names=class_names,
        value_range=pixels.value_range(),
        ids=tuple(row.file for row in rows),
        groups=groups if any(groups) else None,
    )


def _stacks_of_rows(
    table: Path, rows: Sequence[Row], kinds: Sequence[_Kind], config: CsvConfig
) -> list[list[Stack]]:
    """Return the stacks of each row; warnings of one kind become one."""
    stacks: list[list[Stack]] = []
    told: dict[str, list[warnings.WarningMessage]] = defaultdict(list)
    for row, kind in zip(rows, kinds, strict=True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stacks.append(_stacks(row, kind, config))
        for warning in caught:
            # What it says before it names a file, whatever the counts.
            what, _, _ = str(warning.message).partition(str(row.path))
            told[re.sub(r"\d+", "", what)].append(warning)
    for first, *others in told.values():
        more = f" The same goes for {len(others)} more rows of {table}." if others else ""
        warnings.warn(f"{first.message}{more}", first.category, stacklevel=3)
    return stacks


def _stacks(row: Row, kind: _Kind, config: CsvConfig) -> list[Stack]:
    """Return what a row stands for: an image, or the stacks of a medical file or folder."""
    from ganaug.builtin.data import dicom, nifti

    if kind in {"image", "unknown"}:
        return [_ImageStack(row)]  # its header says what is wrong with an unknown one
    found: Sequence[Stack]
    if kind == "nifti":
        found = nifti.open_stacks(row.path, config)
    else:
        found = dicom.open_stacks(row.path, _for_dicom(config))
    return [_RowStack(row, stack, alone=len(found) == 1) for stack in found]


def _for_dicom(config: CsvConfig) -> DicomConfig:
    """Return the fields that DICOM shares; the pattern is for rows, and has been searched there."""
    shared = DicomConfig.model_fields.keys() & CsvConfig.model_fields.keys() - {"group_pattern"}
    return DicomConfig(**{name: getattr(config, name) for name in shared})


class _ImageStack(Sequence[Any]):
    """An image file among the stacks of a table."""

    def __init__(self, row: Row) -> None:
        self.name = row.file
        self.group = row.group
        self.dtype = image_dtype(row.path)
        self.numbers: Sequence[int] = ()
        self._path = row.path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, k: Any) -> Any:
        return read_image(self._path)

    def close(self) -> None:
        """Nothing is kept open."""


class _RowStack(Sequence[Any]):
    """A stack under the name and group that its row gives it."""

    def __init__(self, row: Row, stack: Stack, *, alone: bool) -> None:
        self.name = row.file.rstrip("/") if alone else f"{row.file.rstrip('/')}/{stack.name}"
        self.group = row.group or stack.group
        self.numbers = stack.numbers
        self.dtype = stack.dtype
        self._stack = stack

    def __len__(self) -> int:
        return len(self._stack)

    def __getitem__(self, k: Any) -> Any:
        return self._stack[k]

    def close(self) -> None:
        self._stack.close()
