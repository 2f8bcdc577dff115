"""Synthetic images kept on disk, memory-mapped, by class."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganaug.errors import RunError

__all__ = ["Pool"]


class Pool:
    """Images (N, C, H, W) in one memory-mapped file, the rows of a class together.

    Pickled as path and shape; a worker opens the file when it first reads. The file lives as
    long as the process's own pool object.

    counts: images a class. Raises RunError when the file has gone.
    """

    def __init__(self, path: Path, counts: Mapping[int, int]) -> None:
        self.path = path
        self.counts = {label: n for label, n in counts.items() if n}
        ends = np.cumsum(list(self.counts.values()), dtype=int)
        self._starts = dict(zip(self.counts, [0, *ends.tolist()], strict=False))
        self._pixels: NDArray[Any] | None = None

    @classmethod
    def write(
        cls,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        wanted: Mapping[int, int],
        batches: Iterable[tuple[int, NDArray[Any]]],
    ) -> Pool:
        """Write batches of (label, pixels), classes in the order of `wanted`, as they come."""
        folder = Path(tempfile.mkdtemp(prefix="ganaug-pool-"))
        path = folder / "pool.npy"
        try:
            total = max(sum(wanted.values()), 1)
            pixels = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(total, *shape))
            counts = dict.fromkeys(wanted, 0)
            row = 0
            for label, batch in batches:
                pixels[row : row + len(batch)] = batch
                row += len(batch)
                counts[label] += len(batch)
            pixels.flush()
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise RunError(
                f"Cannot keep synthetic images in {folder}: {error.strerror}."
            ) from error
        pool = cls(path, counts)
        # Multiprocessing's: it also runs when a worker ends, and never for its parent's pool.
        Finalize(pool, shutil.rmtree, (folder, True), exitpriority=0)
        return pool

    def __len__(self) -> int:
        return sum(self.counts.values())

    @property
    def is_there(self) -> bool:
        """False once the file has gone with the process that drew it."""
        return not len(self) or self.path.exists()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "counts": self.counts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Pool.__init__(self, state["path"], state["counts"])

    def take(self, label: int, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return a copy of images of a class by their places within it, (n, C, H, W)."""
        return self.rows(self._starts[label] + places)

    def rows(self, rows: Any) -> NDArray[Any]:
        """Return a copy of rows of the whole pool, (n, C, H, W)."""
        return np.asarray(self._open()[rows])

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of every row, int64 (N,)."""
        return np.repeat(list(self.counts), list(self.counts.values())).astype(np.int64)

    def _open(self) -> NDArray[Any]:
        if self._pixels is None:
            try:
                # As a plain array, whose items are quicker to reach than a memmap's.
                self._pixels = np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))
            except OSError as error:
                raise RunError(
                    f"The synthetic images in {self.path} are gone; they last as long as the "
                    "process that drew them. Save the augmenter and load it instead of pickling."
                ) from error
        return self._pixels
