"""A table of image files and their labels."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from ganaug.builtin.data.files import FilePixels
from ganaug.errors import DataError
from ganaug.spec import LabelledImages

__all__ = ["open_csv"]


def open_csv(
    table: Path,
    *,
    file_column: str = "file",
    label_column: str = "label",
    group_column: str = "group",
) -> LabelledImages:
    """Open a CSV table with a row an image; files are relative to the table's folder.

    Classes are the labels found, in alphabetical order. Groups are read when the group column
    is there; a blank one means a row without a group. Ids are the files as the table has them.
    Raises DataError when the table cannot be read, lacks a column, has blank labels, names a
    file twice, or names files that do not exist.
    """
    columns, rows = _read_table(table)
    for column, option in ((file_column, "file_column"), (label_column, "label_column")):
        if column not in columns:
            raise DataError(
                f"{table} has no column {column!r}; its columns are {', '.join(columns)}. "
                f"Name the right one as {option}."
            )
    if not rows:
        raise DataError(f"{table} has no rows; expected a row for each image.")
    files = [(row[file_column] or "").strip() for row in rows]
    labels = [(row[label_column] or "").strip() for row in rows]
    _check_rows(table, files, labels, label_column)
    class_names, indices = np.unique(labels, return_inverse=True)
    pixels = FilePixels([table.parent / file for file in files])
    groups = None
    if group_column in columns:
        groups = tuple((row[group_column] or "").strip() for row in rows)
    return LabelledImages(
        pixels=pixels,
        labels=indices,
        class_names=tuple(class_names.tolist()),
        value_range=pixels.value_range(),
        ids=tuple(files),
        groups=groups if groups and any(groups) else None,
    )


def _read_table(table: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write the mark
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            return columns, list(reader)
    except FileNotFoundError as error:
        raise DataError(f"{table} does not exist; expected a table of images.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read the table {table}: {error}.") from error


def _check_rows(table: Path, files: list[str], labels: list[str], label_column: str) -> None:
    """Refuse blank labels, files named twice and files that are not there."""
    blank = [index for index, label in enumerate(labels) if not label]
    if blank:
        raise DataError(
            f"{table}: {len(blank)} of {len(labels)} rows have no {label_column}, the first for "
            f"{files[blank[0]]!r}. Label these rows or remove them."
        )
    twice = [file for file, count in Counter(files).items() if count > 1]
    if twice:
        raise DataError(
            f"{table}: {len(twice)} files are named more than once, the first is {twice[0]!r}. "
            "Keep one row for each file."
        )
    missing = [file for file in files if not (table.parent / file).is_file()]
    if missing:
        raise DataError(
            f"{table}: {len(missing)} of {len(files)} files do not exist, the first is "
            f"{missing[0]!r}. Files are looked for in {table.parent}."
        )
