"""A table of files and their labels: images, and DICOM or NIfTI files, whose slices are images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganaug.builtin.data.files import SUFFIXES, FilePixels, image_dtype, read_image
from ganaug.builtin.data.table import Row, read_rows
from ganaug.spec import LabelledImages

if TYPE_CHECKING:
    from ganaug.builtin.data.options import CsvConfig
    from ganaug.builtin.data.stacks import Stack

__all__ = ["open_csv"]


def open_csv(table: Path, config: CsvConfig) -> LabelledImages:
    """Open a CSV table with a row a file; files are relative to its folder, or `config.root`.

    A file is an image, a DICOM file, the folder of a DICOM series, or a NIfTI volume. A row of
    several slices becomes an image a slice, with the row's label; their group is the row's, else
    the volume. Classes are the labels found, in alphabetical order. Ids are the files as the
    table has them, with ``#0007`` for slice 7 of a volume. Nothing is decoded yet but the first
    image. Raises DataError for a table that `read_rows` refuses, and files that cannot be used.
    """
    rows = read_rows(table, config)
    class_names, labels = np.unique([row.label for row in rows], return_inverse=True)
    names = tuple(class_names.tolist())
    if all(_is_image(row) for row in rows):
        return _images(rows, labels, names)
    from ganaug.builtin.data.stacks import images_of_stacks

    stacks = [_stacks(row, config) for row in rows]
    return images_of_stacks(
        [stack for of_row in stacks for stack in of_row],
        np.repeat(labels, [len(of_row) for of_row in stacks]).tolist(),
        names,
    )


def _is_image(row: Row) -> bool:
    return row.path.suffix.lower() in SUFFIXES


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


def _stacks(row: Row, config: CsvConfig) -> list[Stack]:
    """Return what a row stands for: an image, or the stacks of a medical file or folder."""
    from ganaug.builtin.data import dicom, nifti

    if _is_image(row):
        return [_ImageStack(row)]
    found: Sequence[Stack]
    if row.path.is_file() and nifti.is_nifti(row.path):
        found = nifti.open_stacks(row.path, config)
    elif row.path.is_dir() or dicom.is_dicom(row.path):
        found = dicom.open_stacks(row.path, config)
    else:
        return [_ImageStack(row)]  # decoding it says what is wrong
    return [_RowStack(row, stack, alone=len(found) == 1) for stack in found]


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
        # A group that is only the stack's name is not unique: a/scan.nii and b/scan.nii.
        of_stack = self.name if stack.group == stack.name else stack.group
        self.group = row.group or of_stack
        self.numbers = stack.numbers
        self.dtype = stack.dtype
        self._stack = stack

    def __len__(self) -> int:
        return len(self._stack)

    def __getitem__(self, k: Any) -> Any:
        return self._stack[k]

    def close(self) -> None:
        self._stack.close()
