"""Which images are drawn, halved or counted together, since they show one patient or lesion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["units"]


def units(groups: Sequence[str], n: int) -> NDArray[Any]:
    """Return the unit of each of n images, int64 (n,), from 0 on: its group's, or its own.

    groups: as `FeatureEvaluator.groups` has them, "" for none; empty when nobody named any.
    """
    import numpy as np

    names = [(group, -1) if group else ("", row) for row, group in enumerate(groups or [""] * n)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)
