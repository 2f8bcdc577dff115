"""The cells that arms are compared on: the same ones, with the same test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ganaug.errors import RunError

if TYPE_CHECKING:
    from ganaug.benchmark.outcomes import Outcome

__all__ = ["Cells", "pair_cells", "ratio_of_test"]

Key = tuple[int, int]  # repeat, fold
Cells = Mapping[str, Mapping[Key, "Outcome"]]  # of one fraction, by arm

_SHOWN = 5  # missing cells that an error names


def pair_cells(outcomes: Sequence[Outcome]) -> Cells:
    """Return the cells of one fraction by arm.

    Raises RunError, which names what is missing, when arms do not have the same cells, or not the
    same test images in them, or when a cell is there twice.
    """
    cells: dict[str, dict[Key, Outcome]] = {}
    for outcome in outcomes:
        cell = outcome.cell
        of_arm = cells.setdefault(cell.arm, {})
        if (cell.repeat, cell.fold) in of_arm:
            raise RunError(f"Cell {cell.key} is there twice; each is to be there once.")
        of_arm[cell.repeat, cell.fold] = outcome
    every = {key: outcome for of_arm in cells.values() for key, outcome in of_arm.items()}
    missing = [
        replace(every[key].cell, arm=arm).key
        for arm, of_arm in cells.items()
        for key in sorted(every)
        if key not in of_arm
    ]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise RunError(
            f"Arms are compared on the same cells, and {len(missing)} of "
            f"{len(cells) * len(every)} are missing (arm/fraction/repeat/fold): "
            f"{', '.join(missing[:_SHOWN])}{more}. Resume the benchmark."
        )
    for of_arm in cells.values():
        for key, outcome in of_arm.items():
            if outcome.test.ids != every[key].test.ids:
                raise RunError(
                    f"Cells {outcome.cell.key} and {every[key].cell.key} were tested on different "
                    "images, and cannot be compared. Run the benchmark anew."
                )
    return cells


def ratio_of_test(outcomes: Sequence[Outcome]) -> float:
    """Return n_test / n_train of a cell: n_train are all images that other cells test.

    Where all cells test the same images, it is what the cells were trained and validated on.
    """
    tested = float(np.mean([len(outcome.test) for outcome in outcomes]))
    others = len({name for outcome in outcomes for name in outcome.test.ids}) - tested
    if others < 1:
        others = np.mean([len(outcome.train) + len(outcome.validation) for outcome in outcomes])
    return tested / float(others)
