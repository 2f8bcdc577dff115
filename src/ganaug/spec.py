"""What an image set is: its spec, the batches a loss sees, and labelled images themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import ConfigError, DataError, ShapeError, nearest

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = [
    "DTYPE_RANGES",
    "LUMA",
    "Batch",
    "ImageSpec",
    "LabelledImages",
    "check_power_of_two",
    "class_indices",
]

#: What red, green and blue add to grey (ITU-R BT.601, as in Pillow's mode L).
LUMA = (0.299, 0.587, 0.114)

#: The value range that a dtype has unless the caller states another.
DTYPE_RANGES = {
    np.dtype(np.uint8): (0.0, 255.0),
    np.dtype(np.uint16): (0.0, 65535.0),
    np.dtype(np.float32): (0.0, 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What a generator makes: channels, height and width in pixels, and the names of its classes.

    Raises ShapeError for sizes below one and DataError for missing or repeated class names.
    """

    channels: int
    height: int
    width: int
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
        if min(self.channels, self.height, self.width) < 1:
            raise ShapeError(
                "ImageSpec needs at least one channel and one pixel a side; got "
                f"{self.channels}x{self.height}x{self.width}."
            )
        if not self.class_names:
            raise DataError("ImageSpec needs at least one class name; got none.")
        if len(set(self.class_names)) < len(self.class_names):
            raise DataError(f"Class names must be different; got {', '.join(self.class_names)}.")

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


def check_power_of_two(spec: ImageSpec, name: str) -> None:
    """Raise ShapeError unless images are square, a power of two from 16 to 256, grey or RGB.

    name: of the generator that needs it.
    """
    side = spec.height
    if spec.width != side or side & (side - 1) or not 16 <= side <= 256:
        longer = max(spec.height, spec.width)
        kept = min(
            max(1 << (longer - 1).bit_length(), 16), 256
        )  # every pixel, within what there is
        raise ShapeError(
            f"{name} needs a square image of a power of two, at least 16 and at most 256; "
            f"got {spec.height}x{spec.width}. Resize with size={kept}."
        )
    if spec.channels not in (1, 3):
        raise ShapeError(
            f"{name} needs images of 1 or 3 channels; got {spec.channels}. "
            "Convert them to greyscale or RGB."
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What a phase's loss sees: this process's share of one batch.

    images: float32 (N, C, H, W) in [-1, 1]. labels: int64 (N,). The share begins at `offset` of
    the `total` images that all processes see together (one process: 0 and N).

    Draw numbers that belong to an image with `randn` and `rand`: every process draws for the
    whole batch and keeps its own rows, so two processes train the same model as one.
    """

    images: torch.Tensor
    labels: torch.Tensor
    offset: int = 0
    total: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def randn(self, *shape: int, rng: torch.Generator) -> torch.Tensor:
        """Draw standard normal numbers, float32 (N, *shape), a row an image, on its device."""
        import torch

        return self._own_rows(torch.randn(self._all(shape), generator=rng))

    def rand(self, *shape: int, rng: torch.Generator) -> torch.Tensor:
        """Draw numbers uniform in [0, 1), float32 (N, *shape), a row an image, on its device."""
        import torch

        return self._own_rows(torch.rand(self._all(shape), generator=rng))

    def _all(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self) if self.total is None else self.total, *shape)

    def _own_rows(self, numbers: torch.Tensor) -> torch.Tensor:
        return numbers[self.offset : self.offset + len(self)].to(self.images.device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledImages:
    """A labelled image set: pixels at their own bit depth, labels, class names, groups.

    pixels: an array (N, C, H, W), or any sequence whose items are decoded when they are read,
        each (C, H, W); uint8, uint16 or float32 within `value_range`. `load` decodes them once.
    labels: int64 (N,), each an index into `class_names`.
    value_range: lowest and highest value a pixel can have; what maps to -1 and 1.
    ids: a unique name a row, such as the path of its file; ``"0", "1", ...`` unless told.
    groups: the patient, lesion or volume of each row; rows of one group are never split. None
        when every row stands for itself; an empty name stands for a row without a group.
    splits: "training", "validation" or "holdout" a row, when the source says so itself.
    original_size: height and width that all images had before `load` resized them; None before
        `load`, and when they differed.

    Raises DataError when lengths differ or a label is out of range.
    """

    pixels: Sequence[NDArray[Any]] | NDArray[Any]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    value_range: tuple[float, float]
    ids: tuple[str, ...] = field(default=())
    groups: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    original_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int64))
        object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
        if not self.ids:
            object.__setattr__(self, "ids", tuple(str(row) for row in range(n)))
        for name in ("pixels", "ids", "groups", "splits"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise DataError(f"There are {n} labels but {len(column)} {name}.")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise DataError(
                f"Labels must be in 0..{len(self.class_names) - 1}, one of the "
                f"{len(self.class_names)} classes; got {self.labels.min()}..{self.labels.max()}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """Images a class, in the order of `class_names`."""
        totals = np.bincount(self.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, totals.tolist(), strict=True))

    @property
    def spec(self) -> ImageSpec:
        """The spec of images in memory. Raises ShapeError before `load`."""
        if not isinstance(self.pixels, np.ndarray):
            raise ShapeError("The size of undecoded images is not known; call load() first.")
        channels, height, width = self.pixels.shape[1:]
        return ImageSpec(
            channels=channels, height=height, width=width, class_names=self.class_names
        )

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> LabelledImages:
        """Return the given rows, in that order; classes keep their names and indices."""
        rows = np.asarray(rows, dtype=np.int64)

        def pick(column: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if column is None else tuple(column[row] for row in rows)

        pixels = self.pixels
        chosen = pixels[rows] if isinstance(pixels, np.ndarray) else _Rows(pixels, rows)
        return replace(
            self,
            pixels=chosen,
            labels=self.labels[rows],
            ids=pick(self.ids) or (),
            groups=pick(self.groups),
            splits=pick(self.splits),
        )

    def only(self, classes: Sequence[int]) -> LabelledImages:
        """Return the rows of these classes, relabelled 0, 1, ... in the order given."""
        index = {old: new for new, old in enumerate(classes)}
        kept = self.subset(np.flatnonzero(np.isin(self.labels, list(index))))
        return replace(
            kept,
            labels=np.array([index[int(label)] for label in kept.labels], dtype=np.int64),
            class_names=tuple(self.class_names[old] for old in classes),
        )

    def as_one_class(self, name: str = "image") -> LabelledImages:
        """Return the same images without their classes."""
        return replace(self, labels=np.zeros_like(self.labels), class_names=(name,))

    def without_pixels(self) -> LabelledImages:
        """Return the same rows with blank pixels, for keeping when the images are let go."""
        blank = np.broadcast_to(np.uint8(0), (len(self), 1, 1, 1))
        return replace(self, pixels=blank)

    def load(self, size: int | None = None) -> LabelledImages:
        """Decode every image once, into one array, resized to `size` x `size` pixels if given.

        Resizing is bicubic with antialiasing and keeps the dtype; the aspect ratio is not kept.
        Raises DataError when images differ in size (and no `size` is given), channels or dtype,
        or hold values that are not finite or out of range.
        """
        from ganaug.pixels import load_pixels

        if isinstance(self.pixels, np.ndarray):
            loaded = load_pixels(self, size)
            original = self.original_size or self.spec.shape[1:]
            return replace(self, pixels=loaded, original_size=original)
        reader = _SizeRecorder(self.pixels)
        loaded = load_pixels(replace(self, pixels=reader), size)
        sizes = reader.sizes
        return replace(self, pixels=loaded, original_size=sizes.pop() if len(sizes) == 1 else None)

    def fingerprint(self) -> str:
        """Return a SHA-256 over pixels in memory, labels and class names."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        digest.update(self.labels.tobytes())
        digest.update(str((self.spec.shape, str(np.asarray(self.pixels).dtype))).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


def class_indices(names: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Return the indices of class names. Raises ConfigError for an unknown or repeated one."""
    for name in names:
        if name not in class_names:
            raise ConfigError(
                f"There is no class {name!r}.{nearest(name, class_names)} "
                f"The classes are {', '.join(class_names)}."
            )
    if len(set(names)) < len(names):
        raise ConfigError(f"Each class can be named once; got {', '.join(names)}.")
    return [list(class_names).index(name) for name in names]


class _Rows(Sequence[Any]):
    """Some rows of a sequence that decodes its items when they are read."""

    def __init__(self, items: Sequence[Any], rows: NDArray[np.int64]) -> None:
        self._items = items
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._items[int(self._rows[index])]


class _SizeRecorder(Sequence[Any]):
    """Remembers the sizes of the items that are read through it."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self.sizes: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        item = self._items[index]
        if np.ndim(item) == 3:
            self.sizes.add(np.shape(item)[1:])
        return item
