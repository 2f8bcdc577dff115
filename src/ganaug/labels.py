"""Names for integer labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ganaug.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["name_classes"]

#: Labels from here on, where no classes are named, are taken for something else, such as ids.
_MAX_UNNAMED_CLASSES = 10_000


def name_classes(labels: NDArray[np.integer], names: Sequence[str] | None) -> tuple[str, ...]:
    """Return a name a class: the given ones, or ``"0"`` to the highest label, as text.

    labels: integers (N,). Raises DataError, which names the row, when a label is negative, is
    not below the number of names, or is too high (10,000) to count as the number of a class.
    """
    limit = _MAX_UNNAMED_CLASSES if names is None else len(names)
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if len(wrong):
        what = "can be numbered" if names is None else "have a name"
        raise DataError(
            f"Row {wrong[0]}: the label {labels[wrong[0]]} is out of range; expected 0 to "
            f"{limit - 1}, as {limit} classes {what}. Number the classes 0, 1, 2, ..."
        )
    if names is None:
        count = int(np.max(labels)) + 1 if len(labels) else 0
        return tuple(str(index) for index in range(count))
    return tuple(names)
