"""What is in an image set, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import DataError

if TYPE_CHECKING:
    from ganaug.spec import LabelledImages

__all__ = ["Inspection", "inspect_images"]

#: How many distinct sizes are listed, the most frequent first.
_SIZES_LISTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The facts of an image set.

    counts: images a class; shares: their fractions of all. imbalance_ratio: the largest class
    over the smallest that has images. sizes: (height, width, images) in pixels, the most frequent
    first, at most six of the `distinct_sizes`. modes: (channels, dtype, images). value_range: what
    a pixel can be; values_found: the lowest and highest finite ones there are, None if there are
    none. nonfinite_images: those with NaN or infinity. groups: how many; None when the source has
    none; images_without_group: those whose group is empty. splits: images a split, None when the
    source has none.
    """

    images: int
    counts: dict[str, int]
    shares: dict[str, float]
    imbalance_ratio: float
    sizes: tuple[tuple[int, int, int], ...]
    distinct_sizes: int
    modes: tuple[tuple[int, str, int], ...]
    value_range: tuple[float, float]
    values_found: tuple[float, float] | None
    nonfinite_images: int
    groups: int | None
    images_without_group: int
    splits: dict[str, int] | None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON can hold them."""
        facts = asdict(self)
        keys = ("height", "width", "images"), ("channels", "dtype", "images")
        facts["sizes"] = [dict(zip(keys[0], size, strict=True)) for size in self.sizes]
        facts["modes"] = [dict(zip(keys[1], mode, strict=True)) for mode in self.modes]
        facts["value_range"] = list(self.value_range)
        facts["values_found"] = self.values_found and list(self.values_found)
        return facts


def inspect_images(images: LabelledImages) -> Inspection:
    """Read every image once, one at a time, and return the facts of the set.

    Sizes, modes and values may differ from what `LabelledImages.load` takes; they are reported.
    Raises DataError when there are no images or one cannot be decoded.
    """
    if not len(images):
        raise DataError("There are no images to inspect; expected at least one.")
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[tuple[int, str]] = Counter()
    lowest, highest, nonfinite = np.inf, -np.inf, 0
    for row in range(len(images)):
        pixels = np.asarray(images.pixels[row])
        channels, height, width = pixels.shape
        sizes[height, width] += 1
        modes[channels, str(pixels.dtype)] += 1
        finite = pixels[np.isfinite(pixels)]
        nonfinite += finite.size < pixels.size
        if finite.size:
            lowest, highest = min(lowest, finite.min()), max(highest, finite.max())
    counts = images.counts
    present = [count for count in counts.values() if count]
    groups = images.groups
    return Inspection(
        images=len(images),
        counts=counts,
        shares={name: count / len(images) for name, count in counts.items()},
        imbalance_ratio=max(present) / min(present),
        sizes=tuple((*size, count) for size, count in sizes.most_common(_SIZES_LISTED)),
        distinct_sizes=len(sizes),
        modes=tuple((*mode, count) for mode, count in modes.most_common()),
        value_range=images.value_range,
        values_found=(float(lowest), float(highest)) if lowest <= highest else None,
        nonfinite_images=nonfinite,
        groups=None if groups is None else len(set(groups) - {""}),
        images_without_group=0 if groups is None else groups.count(""),
        splits=None if images.splits is None else dict(Counter(images.splits)),
    )
