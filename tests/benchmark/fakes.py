"""A benchmark whose cells take no time: outcomes follow from the names of cells."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import warnings
import zlib
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ganaug.benchmark.grid import run_cells
from ganaug.benchmark.origins import Origin
from ganaug.benchmark.outcomes import Cell, Outcome, Predictions
from ganaug.benchmark.results import Results
from ganaug.errors import DataError
from ganaug.study import Arm, Study

CLASSES = ("benign", "malignant", "näevus")

STUDY = Study(
    name="fake",
    summary="Nothing is trained.",
    arms=(
        Arm(name="untreated", summary="As it is."),
        Arm(name="oversample", summary="Rare classes more often.", sampling="oversample"),
        Arm(name="synthetic", summary="With synthetic images.", synthetic="beside"),
        Arm(name="warm-start", summary="Synthetic images first.", synthetic="before"),
    ),
)

TEN = tuple(
    Cell(arm=arm.name, fraction=1.0, repeat=repeat, fold=fold)
    for arm in STUDY.arms[:2]
    for repeat, fold in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
)


def predictions(rng, n, truth=None):
    """Predictions of n images; truth draws their labels, where others have the same images."""
    weights = rng.uniform(size=(n, len(CLASSES)))
    return Predictions(
        ids=tuple(f"isic/ü{row}.png" for row in range(n)),
        groups=tuple(f"patient {row // 2}" for row in range(n)),
        labels=(truth or rng).integers(0, len(CLASSES), n),
        probabilities=weights / weights.sum(1, keepdims=True),
    )


def outcome_of(cell, **details):
    rng = np.random.default_rng(zlib.crc32(cell.key.encode()))
    truth = np.random.default_rng([cell.repeat, cell.fold])
    return Outcome(
        cell=cell,
        class_names=CLASSES,
        train=predictions(rng, 12, truth),
        validation=predictions(rng, 6, truth),
        test=predictions(rng, 9, truth),
        details={"ratio": None, "ratios": {"0": 0.5}, "steps": 7, "seconds": 0.25, **details},
    )


@dataclass(frozen=True)
class Fake:
    """log: a file that gets a line a cell that is begun: its key and its process.

    lethal, faulty, buggy, noisy: keys of cells that kill their process the first time; raise a
    DataError; raise a KeyError; warn.
    """

    log: Path
    cells: tuple[Cell, ...] = TEN
    study: Study = STUDY
    fingerprint: str = "f" * 64
    lethal: tuple[str, ...] = ()
    faulty: tuple[str, ...] = ()
    buggy: tuple[str, ...] = ()
    noisy: tuple[str, ...] = ()

    def run(self, cell):
        import torch

        with self.log.open("a") as file:
            file.write(f"{cell.key} {os.getpid()}\n")
        if cell.key in self.lethal and begun(self.log).count(cell.key) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if cell.key in self.faulty:
            raise DataError("No test image is malignant.")
        if cell.key in self.buggy:
            raise KeyError("nobody expected this")
        if cell.key in self.noisy:
            warnings.warn_explicit("12 near copies dropped.", UserWarning, "", 1, "ganaug.model")
            warnings.warn_explicit("Nobody cares.", UserWarning, "", 1, "library")
        return outcome_of(cell, threads=torch.get_num_threads())


def begun(log):
    """Return the keys of cells that were begun, in order."""
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def origin(**facts):
    return Origin(fingerprint="f" * 64, facts=facts)


def rows_of(path):
    """Return the rows of a file of results, byte for byte."""
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute("SELECT * FROM cells"))


def compute(folder, backend="sequential", jobs=None, deadly=None):
    """Begin a grid in a folder or go on with it; say each cell that is done.

    deadly: SQL statements after which this process is killed, between any two of them.
    """
    path = Path(folder) / "results.sqlite"
    results = Results(path) if path.exists() else Results.create(path, origin())
    if deadly is not None:
        _without_torch()
        statements = count()

        def trace(statement):
            if next(statements) == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

        results._connection.set_trace_callback(trace)
    fake = Fake(Path(folder) / "log")
    run_cells(
        *(fake, results),
        backend=backend,
        jobs=jobs,
        on_done=lambda outcome: print(outcome.cell.key, flush=True),
    )


def _without_torch():
    """Spare a process the seconds that it would take to import torch; no cell needs it."""
    sys.modules["torch"] = SimpleNamespace(get_num_threads=lambda: 1, set_num_threads=lambda n: n)
