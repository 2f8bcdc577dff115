"""Which rows a batch sees: classes in turn, rows shuffled anew on every pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BalancedSampler"]


class BalancedSampler:
    """An endless, class-balanced stream of rows that follows from a seed and a position alone.

    The stream takes every class once, in a shuffled order, then every class again; within a
    class, every row once in a shuffled order, then again.

    labels: int64 (N,). seed, position: what a resumed stream needs; position counts the rows
    drawn so far.
    """

    def __init__(self, labels: NDArray[np.int64], *, seed: int) -> None:
        self._rows = [np.flatnonzero(labels == value) for value in np.unique(labels)]
        self.seed = seed
        self._passes: dict[int, tuple[int, NDArray[np.int64]]] = {}
        self.position = 0

    def draw(self, n: int) -> NDArray[np.int64]:
        """Return the next n rows, int64 (n,)."""
        classes = len(self._rows)
        chosen = np.empty(n, dtype=np.int64)
        order: NDArray[np.int64] | None = None
        for i in range(n):
            turn, place = divmod(self.position, classes)
            if order is None or place == 0:
                order = self._shuffled(classes, 0, turn)
            chosen[i] = self._row(int(order[place]), turn)
            self.position += 1
        return chosen

    def _row(self, class_: int, turn: int) -> int:
        rows = self._rows[class_]
        number, place = divmod(turn, len(rows))
        kept = self._passes.get(class_)
        if kept is None or kept[0] != number:
            kept = (number, rows[self._shuffled(len(rows), class_ + 1, number)])
            self._passes[class_] = kept
        return int(kept[1][place])

    def _shuffled(self, n: int, stream: int, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, stream, number]).permutation(n)
