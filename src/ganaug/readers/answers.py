"""What readers answered in a study of real and synthetic images, and which image was which."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganaug.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ANSWERS", "KEY_COLUMNS", "Answers", "Key", "read_answers", "read_key"]

#: What a reader can answer, as 1 to 6. There is no middle: every answer is a decision as well.
ANSWERS = (
    "surely real",
    "probably real",
    "rather real",
    "rather synthetic",
    "probably synthetic",
    "surely synthetic",
)

#: The columns of a study's key.
KEY_COLUMNS = ("study", "image", "truth", "class", "source", "shown_at")

_ANSWER_COLUMNS = ("study", "reader", "image", "answer", "ms")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Key:
    """Which image of a study is which, in the order of their numbers.

    is_synthetic: bool (N,). class_names: the class of each, N texts.
    """

    study: str
    numbers: tuple[str, ...]
    is_synthetic: NDArray[np.bool_]
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What readers answered: float (R, N) from 1 to 6, and in how many ms; NaN where nothing."""

    readers: tuple[str, ...]
    ratings: NDArray[np.float64]
    milliseconds: NDArray[np.float64]


def read_key(path: Path) -> Key:
    """Read a study's key. Raises DataError when it is none."""
    rows = _read_table(path, KEY_COLUMNS, "the key of a study")
    studies = {row["study"] for row in rows}
    numbers = [row["image"] for row in rows]
    if (
        len(studies) != 1
        or len(set(numbers)) < len(numbers)
        or {row["truth"] for row in rows} != {"real", "synthetic"}
    ):
        raise DataError(
            f"{path} is no whole key: expected one study, each image once, and the truth real or "
            "synthetic. Take key.csv as ganaug reader-study wrote it."
        )
    return Key(
        study=studies.pop(),
        numbers=tuple(numbers),
        is_synthetic=np.array([row["truth"] == "synthetic" for row in rows]),
        class_names=tuple(row["class"] for row in rows),
    )


def read_answers(paths: Sequence[Path], key: Key) -> Answers:
    """Read files of answers; a file may hold several readers, and a reader need not be through.

    Raises DataError for a file that is none, answers to another study or to images that it does
    not have, answers other than 1 to 6, and an image that a reader answers twice.
    """
    columns = {number: column for column, number in enumerate(key.numbers)}
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for path in paths:
        for line, row in enumerate(_read_table(path, _ANSWER_COLUMNS, "answers to a study"), 2):
            where = f"{path}, line {line}"
            reader, number = row["reader"].strip(), row["image"]
            if row["study"] != key.study:
                raise DataError(
                    f"{where}: these are answers to study {row['study']!r}, and the key is that "
                    f"of {key.study!r}. Give the key of the study that was answered: --key FILE."
                )
            if number not in columns:
                raise DataError(f"{where}: study {key.study} has no image {number!r}.")
            if not reader:
                raise DataError(f"{where}: the reader has no name. Fill in the column reader.")
            own = found.setdefault(reader, {})
            if columns[number] in own:
                raise DataError(
                    f"{where}: reader {reader!r} answers image {number!r} a second time. Give each "
                    "file once, and each reader a name of their own."
                )
            own[columns[number]] = _answer(row, where)
    cells = np.full((2, len(found), len(key.numbers)), np.nan)
    for index, own in enumerate(found.values()):
        for column, cell in own.items():
            cells[:, index, column] = cell
    return Answers(readers=tuple(found), ratings=cells[0], milliseconds=cells[1])


def _answer(row: Mapping[str, str], where: str) -> tuple[float, float]:
    """Return an answer and its milliseconds; no time is no mistake."""
    if row["answer"] not in [str(number) for number in range(1, len(ANSWERS) + 1)]:
        raise DataError(
            f"{where}: expected an answer from 1 ({ANSWERS[0]}) to {len(ANSWERS)} "
            f"({ANSWERS[-1]}); got {row['answer']!r}."
        )
    try:
        return float(row["answer"]), float(row["ms"] or "nan")
    except ValueError as error:
        raise DataError(f"{where}: expected ms as a number; got {row['ms']!r}.") from error


def _read_table(path: Path, columns: Sequence[str], what: str) -> list[dict[str, str]]:
    """Read a CSV file with at least the columns, an empty text where a cell is missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            found, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error  # without the path
        raise DataError(f"Cannot read {path}: {reason}.") from error
    if missing := [name for name in columns if name not in found]:
        raise DataError(
            f"{path} does not hold {what}: it lacks the columns {', '.join(missing)}; found "
            f"{', '.join(found) or 'none'}. Expected CSV with commas, as it was downloaded."
        )
    if not rows:
        raise DataError(f"{path} has no rows; expected {what}.")
    return rows
