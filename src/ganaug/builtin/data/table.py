"""Reading a table of files and their labels, and checking every row of it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.builtin.data.groups import groups_from_names
from ganaug.errors import DataError, nearest

if TYPE_CHECKING:
    from ganaug.builtin.data.options import CsvConfig

__all__ = ["Row", "read_rows"]

#: The group column's usual name; a table need not have it, unless another is asked for.
_USUAL_GROUP = "group"

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its line, the file as written and where that is, its label and group."""

    line: int
    file: str
    path: Path
    label: str
    group: str


def read_rows(table: Path, config: CsvConfig) -> list[Row]:
    """Return the rows of a table, all of them checked, their files not yet read.

    Raises DataError, in one line that names the first offending row, when the table is missing,
    not UTF-8, not separated by commas, ragged, without a column or without rows; and for rows
    without file or label, files that are named twice or lie in the folder of another row, that
    lie outside the table's folder (or `config.root`), and that do not exist.
    """
    columns, records = _parse(table, _decode(table))
    wanted = {"file": config.file_column, "label": config.label_column}
    if not config.group_pattern and (
        config.group_column in columns or config.group_column != _USUAL_GROUP
    ):
        wanted["group"] = config.group_column
    index = {what: _find(table, columns, name, what) for what, name in wanted.items()}
    if not records:
        raise DataError(f"{table} has no rows; expected a row for each image.")
    root = Path(config.root).expanduser() if config.root else table.parent
    rows = [
        Row(
            line=line,
            file=cells[index["file"]],
            path=root / cells[index["file"]],
            label=cells[index["label"]],
            group=cells[index["group"]] if "group" in index else "",
        )
        for line, cells in records
    ]
    _check_cells(table, rows, config.label_column)
    _check_places(table, rows, root)
    if config.group_pattern:
        groups = groups_from_names(table, [row.file for row in rows], config.group_pattern)
        rows = [replace(row, group=group) for row, group in zip(rows, groups, strict=True)]
    return rows


def _decode(table: Path) -> str:
    try:
        content = table.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{table} does not exist; expected a table of images.") from error
    except OSError as error:
        raise DataError(f"Cannot read the table {table}: {error}.") from error
    try:
        text = content.decode("utf-8-sig")  # spreadsheets write the mark
    except UnicodeDecodeError as error:
        looks = _encoding(content, content.count(b"\n", 0, error.start) + 1)
        raise DataError(f"{table} {looks}") from error
    if "\0" in text:
        raise DataError(f"{table} {_encoding(content, 1)}")
    return text


def _encoding(content: bytes, line: int) -> str:
    """Say what a table that is not UTF-8 looks like, and what to do."""
    if content.startswith(b"PK\x03\x04"):
        return "is a zip or Excel file. Save the sheet as CSV UTF-8 (comma delimited)."
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content
    looks = "UTF-16" if utf16 else f"Windows-1252 or Latin-1, from line {line} on"
    return (
        f"is not UTF-8; it looks like {looks}. Save it as UTF-8 ('CSV UTF-8' in a spreadsheet; "
        f"or iconv -f {'UTF-16' if utf16 else 'WINDOWS-1252'} -t UTF-8)."
    )


def _parse(table: Path, text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the columns, and each record's line and cells. Refuses ragged tables."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        # A quoted cell may hold line breaks: the line is the record's last.
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise DataError(
            f"Cannot read the table {table}: line {reader.line_num}, {error}."
        ) from error
    records = [(line, cells) for line, cells in lines if any(cells)]
    if not records:
        raise DataError(f"{table} is empty; expected a header, such as file,label,group.")
    columns = records[0][1]
    separators = [name for mark, name in _SEPARATORS.items() if mark in columns[0]]
    if len(columns) == 1 and separators:
        raise DataError(
            f"{table} is separated by {separators[0]}; expected commas. Save it with commas."
        )
    for line, cells in records[1:]:
        if len(cells) != len(columns):
            raise DataError(
                f"{table}: line {line} has {len(cells)} fields, the header has {len(columns)} "
                f"({', '.join(columns)}). Complete the row; put text with commas in quotes."
            )
    return columns, records[1:]


def _find(table: Path, columns: Sequence[str], name: str, what: str) -> int:
    if columns.count(name) > 1:
        raise DataError(f"{table} has {columns.count(name)} columns {name!r}. Rename all but one.")
    if name not in columns:
        raise DataError(
            f"{table} has no column {name!r}; its columns are {', '.join(columns)}."
            f"{nearest(name, columns)} Name the right one as {what}_column."
        )
    return columns.index(name)


def _check_cells(table: Path, rows: Sequence[Row], label_column: str) -> None:
    """Refuse rows without file or label."""
    refuse = partial(_refuse, table, rows)
    refuse([row for row in rows if not row.file], "name no file", "Name one")
    refuse([row for row in rows if not row.label], f"have no {label_column}", "Label them")


def _check_places(table: Path, rows: Sequence[Row], root: Path) -> None:
    """Refuse files outside the root, symbolic links included, missing ones and ones named twice."""
    refuse = partial(_refuse, table, rows)
    real_folder = cache(os.path.realpath)
    places = [_place(row.path, real_folder) for row in rows]
    within = os.path.join(os.path.realpath(root), "")  # noqa: PTH118 - ends in its separator
    refuse(
        [row for row, place in zip(rows, places, strict=True) if not place.startswith(within)],
        f"point outside {root}",
        "Move the files there, name the folder that holds them as root,",
    )
    missing = [row for row in rows if not os.path.exists(row.path)]  # noqa: PTH110 - never raises
    slashes = " with forward slashes" if any("\\" in row.file for row in missing) else ""
    refuse(missing, "name files that do not exist", f"Write paths from {root}{slashes},")
    first: dict[str, Row] = {}
    for row, place in zip(rows, places, strict=True):
        if (other := first.setdefault(place, row)) is not row:
            raise DataError(
                f"{table}: {row.file!r} is named more than once, in lines {other.line} "
                f"({other.label}) and {row.line} ({row.label}). Keep one row for each file."
            )
    _check_overlaps(table, first)


def _check_overlaps(table: Path, rows: Mapping[str, Row]) -> None:
    """Refuse what lies in a folder of another row, whose label it would get as well.

    rows: by where their files really are.
    """

    @cache
    def owner(folder: str) -> Row | None:
        above = os.path.dirname(folder)  # noqa: PTH120 - cheap, as there are many
        return rows.get(folder) or (owner(above) if above != folder else None)

    for place, row in rows.items():
        folder = owner(os.path.dirname(place))  # noqa: PTH120
        if folder:
            raise DataError(
                f"{table}: {row.file!r} in line {row.line} ({row.label}) lies in the folder "
                f"{folder.file!r} of line {folder.line} ({folder.label}). Name the folder, or "
                "files in it, but not both."
            )


def _place(path: Path, real_folder: Callable[[str], str]) -> str:
    """Return where a file really is, links and ``..`` resolved; os.path, as there are many."""
    folder, name = os.path.split(path)
    place = os.path.join(real_folder(folder), name)  # noqa: PTH118
    is_link = name == ".." or os.path.islink(place)  # noqa: PTH114
    return os.path.realpath(place) if is_link else place


def _refuse(table: Path, rows: Sequence[Row], bad: Sequence[Row], what: str, cure: str) -> None:
    """Raise DataError with the count and the first of the bad rows, if there are any."""
    if bad:
        raise DataError(
            f"{table}: {len(bad)} of {len(rows)} rows {what}, the first in line {bad[0].line} "
            f"({bad[0].file!r}). {cure} or remove these rows."
        )
