"""Stacks of slices: rows of an image set that are decoded when they are read.

A stack is one file or series, DICOM or NIfTI. Which of its slices are images is chosen here, the
same way for both.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ganaug.builtin.data.options import StackConfig
from ganaug.errors import DataError
from ganaug.spec import DTYPE_RANGES, LabelledImages

__all__ = [
    "Stack",
    "StackPixels",
    "classes_by_folder",
    "foreground_fractions",
    "images_of_stacks",
    "select_slices",
]

#: Pixels a side of the grid on which foreground is counted.
_GRID = 128


class Stack(Protocol):
    """The images of one file or series, decoded when they are asked for.

    name: its id: a path relative to the location that was opened, with forward slashes.
    group: the volume, series or patient that its images share; empty when it is one image that
        stands for itself.
    dtype: of every item: uint8 or uint16.
    numbers: the number of each item within the volume, which its id ends with (``name#0007``);
        empty when the stack is a single image, whose id is the name.
    """

    name: str
    group: str
    dtype: np.dtype[Any]
    numbers: Sequence[int]

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def __getitem__(self, k: int) -> NDArray[Any]:
        """Return image k, (C, H, W): uint8 grey or RGB, or uint16 from window low to high."""
        ...

    def close(self) -> None:
        """Let go of what is kept for quick reading; the next read takes it up again."""
        ...


class StackPixels(Sequence[Any]):
    """The images of several stacks, one after the other; only the last stack read is kept open."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self._stacks = tuple(stacks)
        self._ends = list(accumulate(len(stack) for stack in stacks))
        self._open: Stack | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        row = operator.index(index)
        if not 0 <= row < len(self):
            raise IndexError(f"There are {len(self)} images; got row {row}.")
        which = bisect_right(self._ends, row)
        stack = self._stacks[which]
        if self._open is not None and self._open is not stack:
            self._open.close()
        self._open = stack
        return stack[row - (self._ends[which] - len(stack))]


def images_of_stacks(
    stacks: Sequence[Stack], labels: Sequence[int], class_names: Sequence[str]
) -> LabelledImages:
    """Return all images of stacks as one set, not decoded yet.

    labels: the class index of each stack. Ids are the stack's name, or ``name#0007`` for slice 7
    of a volume. The value range is that of the first stack's dtype: 0 to 255 or 0 to 65535.
    Raises DataError when no image is left.
    """
    if not any(len(stack) for stack in stacks):
        raise DataError(
            f"None of the {len(stacks)} files or series has a slice that was asked for. Check "
            "first, last, every and foreground, or leave them out."
        )
    sizes = [len(stack) for stack in stacks]
    groups = tuple(
        stack.group for stack, size in zip(stacks, sizes, strict=True) for _ in range(size)
    )
    return LabelledImages(
        pixels=StackPixels(stacks),
        labels=np.repeat(np.asarray(labels, dtype=np.int64), sizes),
        class_names=tuple(class_names),
        value_range=DTYPE_RANGES[np.dtype(stacks[0].dtype)],
        ids=tuple(name for stack in stacks for name in _ids(stack)),
        groups=groups if any(groups) else None,
    )


def classes_by_folder(names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Return the class index of each name and the class names, in alphabetical order.

    names: relative paths with forward slashes; the first folder of each is its class. Without
    folders there is one class, ``image``. Raises DataError when only some are in a folder.
    """
    folders = [name.partition("/")[0] if "/" in name else "" for name in names]
    class_names = tuple(sorted(set(folders)))
    if class_names == ("",):
        return [0] * len(names), ("image",)
    if "" in class_names:
        loose = [name for name, folder in zip(names, folders, strict=True) if not folder]
        raise DataError(
            f"There are both class folders ({class_names[1]}{_more(len(class_names) - 2)}) and "
            f"loose files ({loose[0]}{_more(len(loose) - 1)}). Move the files into a class folder."
        )
    return [class_names.index(folder) for folder in folders], class_names


def select_slices(
    count: int, config: StackConfig, read: Callable[[int], NDArray[Any]]
) -> list[int]:
    """Return the numbers of the slices to keep, rising, of a volume of `count` slices.

    read: returns the values (H, W) of a slice, numbers before any window, all finite; called,
    once a slice and in order, only when a fraction of foreground is asked for.
    """
    chosen = range(count)[config.first : config.last : config.every]
    if config.foreground == 0.0:
        return list(chosen)
    fractions = foreground_fractions([_grid(read(k)) for k in chosen])
    return [k for k, part in zip(chosen, fractions, strict=True) if part >= config.foreground]


def foreground_fractions(slices: Sequence[NDArray[Any]]) -> list[float]:
    """Return the fraction of foreground of each slice (H, W) of one volume, 0 to 1.

    Foreground is what lies above Otsu's threshold of the whole volume (Otsu 1979), between its
    0.5 and 99.5 percentile, so that a few extreme values do not move it: tissue rather than air.
    A volume of one value has none.
    """
    from skimage.filters import threshold_otsu

    if not slices:
        return []
    values = np.concatenate([part.ravel() for part in slices])
    low, high = np.percentile(values, (0.5, 99.5))
    # Where nearly all is one value, that is background, and what lies above it is foreground.
    threshold = threshold_otsu(values.clip(low, high)) if low < high else high
    return [float((part > threshold).mean()) for part in slices]


def _grid(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return every k-th row and column as a copy: at most 128 x 128 values of a slice."""
    step = -(-max(values.shape) // _GRID)
    return values[::step, ::step].astype(np.float32)


def _ids(stack: Stack) -> list[str]:
    return [f"{stack.name}#{number:04d}" for number in stack.numbers] or [stack.name] * len(stack)


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
