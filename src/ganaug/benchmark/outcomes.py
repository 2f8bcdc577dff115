"""What a benchmark computes, cell by cell: predictions of one classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cell", "Outcome", "Predictions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One classifier of a benchmark: an arm, on a training size, in a fold of a repeat."""

    arm: str
    fraction: float
    repeat: int
    fold: int

    @property
    def key(self) -> str:
        """Its name, which is the same for ever."""
        return f"{self.arm}/{self.fraction:.12g}/{self.repeat}/{self.fold}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """What a classifier says of some images.

    ids, groups: of the images; a group is a patient or lesion, the image itself where none is
    known. labels: int64 (N,), the truth. probabilities: float64 (N, classes); rows sum to 1.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A cell's result: predictions of its training, validation and test images.

    class_names: of the columns of the probabilities. details: what else is known, as JSON takes
    it: "ratio" (the chosen one, None where the arm has none), "ratios" (validation score of each
    candidate), "error" (standard error of the difference of each other one from ratio 0),
    "synthetic" (images added by class), "steps" (at the best check on validation images),
    "seconds" (of training).
    """

    cell: Cell
    class_names: tuple[str, ...]
    train: Predictions
    validation: Predictions
    test: Predictions
    details: Mapping[str, Any] = field(default_factory=dict)
