"""The outcomes of a grid in one SQLite file: each cell once, written as soon as it is known."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from ganaug.benchmark.locks import claim
from ganaug.benchmark.origins import Origin
from ganaug.benchmark.outcomes import Cell, Outcome, Predictions
from ganaug.errors import RunError

__all__ = ["SCHEMA", "Results"]

#: The version of the tables; a reader refuses a newer one.
SCHEMA = 1

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cells (
    key TEXT PRIMARY KEY,
    arm TEXT NOT NULL, fraction REAL NOT NULL, repeat INTEGER NOT NULL, fold INTEGER NOT NULL,
    class_names TEXT NOT NULL, details TEXT NOT NULL,
    train BLOB NOT NULL, validation BLOB NOT NULL, test BLOB NOT NULL,
    digest TEXT NOT NULL
);
"""

_COLUMNS = "key, arm, fraction, repeat, fold, class_names, details, train, validation, test"

#: Seconds to wait for another process that reads or writes a row.
_PATIENCE = 60.0

#: Differences between two origins that an error names.
_NAMED = 5


class Results:
    """The outcomes of a grid in a SQLite file that `create` has made. A context manager.

    A row is on the disk when `add` returns, or not at all: a process may be killed at any moment,
    and the disk may be full. Predictions are npz without pickle, and every row has a SHA-256.

    Raises RunError when the file is missing, damaged or of a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise RunError(
                f"{self.path.parent} holds no results of a benchmark: {self.path.name} is not "
                "there. Check the path, or begin without --resume."
            )
        self._connection = _connect(self.path, "rw")
        try:
            self.origin = self._open()
        except BaseException:  # Ctrl-C too: no connection stays open
            self.close()
            raise

    @classmethod
    def create(cls, path: str | Path, origin: Origin) -> Self:
        """Make the file, without outcomes, in a folder that exists.

        Raises RunError when there is one already, or when it cannot be written.
        """
        path = Path(path)
        if path.exists():
            raise RunError(f"{path} exists already. Choose another path, or go on with --resume.")
        connection = _connect(path, "rwc")
        try:
            with _writing(path), connection:
                connection.executescript(f"BEGIN; {_TABLES}")
                connection.executemany("INSERT INTO meta VALUES (?, ?)", _meta_rows(origin))
        finally:
            connection.close()
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.done())

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def check(self, origin: Origin) -> None:
        """Raise RunError, which says what differs, unless the results follow from this origin.

        Arms that it has beside those of the results are written down: they may join.
        """
        shared = set(origin.arms) & set(self.origin.arms)
        same_arms = all(origin.arms[name] == self.origin.arms[name] for name in shared)
        if origin.fingerprint == self.origin.fingerprint and same_arms:
            self._let_join(origin)
            return
        differences = self.origin.differences(origin)
        named = "; ".join(differences[:_NAMED])
        if len(differences) > _NAMED:
            named += f"; and {len(differences) - _NAMED} more"
        raise RunError(
            f"{self.path} has results of another benchmark: "
            + (named or "its images, or the versions that it ran with, were others")
            + ". Give the options that it was begun with, or choose another --out."
        )

    def _let_join(self, origin: Origin) -> None:
        arms = {**origin.arms, **self.origin.arms}
        if arms == self.origin.arms:
            return
        joined = replace(self.origin, arms=arms)
        with _writing(self.path), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", _meta_rows(joined)
            )
        self.origin = joined

    def add(self, outcome: Outcome) -> None:
        """Write an outcome, durably.

        Raises RunError when the cell has one already, or when it cannot be written; what was
        there before is intact.
        """
        row = _row(outcome)
        marks = ", ".join("?" * (len(row) + 1))
        try:
            with _writing(self.path), self._connection:
                self._connection.execute(
                    f"INSERT INTO cells ({_COLUMNS}, digest) VALUES ({marks})", (*row, _digest(row))
                )
        except sqlite3.IntegrityError as error:
            raise RunError(
                f"{self.path} has an outcome of cell {outcome.cell.key} already; each cell is "
                "computed once."
            ) from error

    def done(self) -> set[Cell]:
        """Return the cells that have an outcome."""
        with _reading(self.path):
            rows = self._connection.execute("SELECT arm, fraction, repeat, fold FROM cells")
            return {
                Cell(arm=arm, fraction=fraction, repeat=repeat, fold=fold)
                for arm, fraction, repeat, fold in rows
            }

    def outcomes(self) -> list[Outcome]:
        """Return every outcome, by repeat, fold, training size and arm."""
        return [_outcome(row) for row in self._rows()]

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from claiming the same results; for whoever computes cells.

        Reading is free meanwhile. The claim ends with the process, however it ends. Raises
        RunError when another process has it, or where its file system has no locks.
        """
        try:
            folder = claim(self.path.parent)
        except BlockingIOError as error:
            raise RunError(
                f"Another process is computing into {self.path.parent}. Wait until it has "
                "ended, or choose another --out."
            ) from error
        try:
            yield
        finally:
            os.close(folder)

    def _open(self) -> Origin:
        """Check every page and every row; return what the results follow from."""
        with _reading(self.path):
            self._connection.execute("PRAGMA synchronous = EXTRA")
            meta = dict(self._connection.execute("SELECT name, value FROM meta"))
            schema, facts = int(meta["schema"]), json.loads(meta["facts"])
        if schema > SCHEMA:
            made_by = facts.get("versions", {}).get("ganaug", "a newer version")
            raise RunError(
                f"{self.path} was written by ganaug {made_by}, in a newer format ({schema}; this "
                f"version reads {SCHEMA}). Upgrade ganaug to read it."
            )
        with _reading(self.path):
            arms = json.loads(meta["arms"])
            origin = Origin(fingerprint=meta["fingerprint"], facts=facts, arms=arms)
            if dict(_meta_rows(origin)) != meta:
                raise sqlite3.DatabaseError("what it was made from is not as it was written")
            (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        for _ in self._rows():
            pass
        return origin

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield every row, whole as it was written. Raises RunError for a damaged one."""
        with _reading(self.path):
            found = self._connection.execute(
                f"SELECT {_COLUMNS}, digest FROM cells ORDER BY repeat, fold, fraction, arm"
            )
            for *row, digest in found:
                if _digest(row) != digest:
                    raise sqlite3.DatabaseError(f"cell {row[0]} is not as it was written")
                yield tuple(row)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with _writing(path):
        return sqlite3.connect(uri, uri=True, timeout=_PATIENCE)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what SQLite and JSON say of a damaged file into one line."""
    try:
        yield
    except (sqlite3.Error, LookupError, TypeError, ValueError) as error:
        found = " ".join(str(error).split())
        raise RunError(
            f"{path} cannot be read: {found}. It is damaged, or no results of a benchmark: put a "
            "copy in its place, or begin anew in another --out."
        ) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn SQLite's refusals to write into one line that says what is safe."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise RunError(
                f"The disk is full: {path} cannot grow, and what was there before is intact. Free "
                "some space and run the command again, with --resume if there were cells."
            ) from error
        raise RunError(f"Cannot write {path}: {error}.") from error


def _meta_rows(origin: Origin) -> list[tuple[str, str]]:
    facts, arms = (json.dumps(each, sort_keys=True) for each in (origin.facts, origin.arms))
    return [
        ("schema", str(SCHEMA)),
        ("fingerprint", origin.fingerprint),
        ("facts", facts),
        ("arms", arms),
        ("digest", _digest([origin.fingerprint, facts, arms])),
    ]


def _row(outcome: Outcome) -> tuple[Any, ...]:
    cell = outcome.cell
    return (
        cell.key,
        cell.arm,
        float(cell.fraction),
        cell.repeat,
        cell.fold,
        json.dumps(outcome.class_names),
        json.dumps(outcome.details),
        *map(_packed, (outcome.train, outcome.validation, outcome.test)),
    )


def _outcome(row: Sequence[Any]) -> Outcome:
    _, arm, fraction, repeat, fold, class_names, details, *parts = row
    train, validation, test = map(_unpacked, parts)
    return Outcome(
        cell=Cell(arm=arm, fraction=fraction, repeat=repeat, fold=fold),
        class_names=tuple(json.loads(class_names)),
        train=train,
        validation=validation,
        test=test,
        details=json.loads(details),
    )


def _packed(predictions: Predictions) -> bytes:
    """Return predictions as an npz file; the same bytes for the same predictions."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        ids=np.array(predictions.ids, dtype=np.str_),
        groups=np.array(predictions.groups, dtype=np.str_),
        labels=np.asarray(predictions.labels, dtype=np.int64),
        probabilities=np.asarray(predictions.probabilities, dtype=np.float64),
    )
    return buffer.getvalue()


def _unpacked(content: bytes) -> Predictions:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Predictions(
            ids=tuple(arrays["ids"].tolist()),
            groups=tuple(arrays["groups"].tolist()),
            labels=arrays["labels"],
            probabilities=arrays["probabilities"],
        )


def _digest(values: Sequence[Any]) -> str:
    """Return the SHA-256 of values of a row, whatever their types have become."""
    digest = hashlib.sha256()
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
