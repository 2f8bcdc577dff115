"""What is in an image set, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.duplicates import find_duplicates
from ganaug.errors import DataError
from ganaug.measurements import Measurements, measure_images
from ganaug.probes import ShortcutProbes, probe_shortcuts
from ganaug.splits import rows_by_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ganaug.spec import LabelledImages

__all__ = ["CHANNELS", "DuplicateCluster", "Inspection", "inspect_images"]

#: What the mean of an image is taken of, in the order of `Inspection.channel_means`.
CHANNELS = ("red", "green", "blue", "grey")

#: How many distinct sizes are listed, the most frequent first.
_SIZES_LISTED = 6

_PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateCluster:
    """Images that are the same, or nearly so.

    ids: of the images. exact: their pixels are all equal; else some only look alike.
    classes, groups, splits: the different ones among them, sorted; images without a group are
    left out of `groups`. rows: where the images are in the set. within_group: all of them are of
    one group, so that no split takes them apart.
    """

    ids: tuple[str, ...]
    exact: bool
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    rows: tuple[int, ...]
    within_group: bool

    @property
    def reach(self) -> tuple[bool, bool, bool]:
        """Whether the images differ in split, in class, in group."""
        return len(self.splits) > 1, len(self.classes) > 1, len(self.groups) > 1

    @property
    def harmless(self) -> bool:
        """Whether they are of one group, split and class, as adjacent slices of a volume are."""
        return self.within_group and not any(self.reach)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The facts of an image set.

    counts: images a class; shares: their fractions of all. imbalance_ratio: the largest class
    over the smallest that has images. sizes: (height, width, images) in pixels, the most frequent
    first, at most six of the `distinct_sizes`. modes: (channels, dtype, images);
    colourless_images: those of several channels that are all equal. value_range: what a pixel can
    be; values_found: the lowest and highest finite ones there are, None if there are none.
    nonfinite_images: those with NaN or infinity.
    constant and almost_constant: ids of images of one value, and of those whose standard
    deviation is below 1 % of the span of values found in the set.
    groups: how many; None when the source has none; images_without_group: those whose group is
    empty. images_per_group: smallest, median and largest; None without groups.
    groups_of_several_labels, groups_across_splits: their names. splits: images a split, None when
    the source has none. exact_duplicates: images of the same pixels; duplicates: clusters of
    images that are the same or nearly so. Those across splits, classes and groups come first.
    channel_means: by class and channel (red, green and blue, where there are images of three
    channels; grey, the mean of all channels) the distribution of the images' means, in units of
    the value range: images, mean, sd, and the percentiles p5, p25, median, p75 and p95.
    shortcuts: what sizes and mean intensity predict of the class.
    """

    images: int
    counts: dict[str, int]
    shares: dict[str, float]
    imbalance_ratio: float
    sizes: tuple[tuple[int, int, int], ...]
    distinct_sizes: int
    modes: tuple[tuple[int, str, int], ...]
    colourless_images: int
    value_range: tuple[float, float]
    values_found: tuple[float, float] | None
    nonfinite_images: int
    constant: tuple[str, ...]
    almost_constant: tuple[str, ...]
    groups: int | None
    images_without_group: int
    images_per_group: dict[str, float] | None
    groups_of_several_labels: tuple[str, ...]
    groups_across_splits: tuple[str, ...]
    splits: dict[str, int] | None
    exact_duplicates: tuple[DuplicateCluster, ...]
    duplicates: tuple[DuplicateCluster, ...]
    channel_means: dict[str, dict[str, dict[str, float]]]
    shortcuts: ShortcutProbes

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON can hold them."""
        facts = asdict(self)
        keys = ("height", "width", "images"), ("channels", "dtype", "images")
        facts["sizes"] = [dict(zip(keys[0], size, strict=True)) for size in self.sizes]
        facts["modes"] = [dict(zip(keys[1], mode, strict=True)) for mode in self.modes]
        facts["value_range"] = list(self.value_range)
        facts["values_found"] = self.values_found and list(self.values_found)
        facts["shortcuts"]["probes"] = {probe.name: probe.auc for probe in self.shortcuts.probes}
        return facts


def inspect_images(images: LabelledImages, measurements: Measurements | None = None) -> Inspection:
    """Return the facts of a set, of which every image is read once, one at a time.

    Sizes, modes and values may differ from what `LabelledImages.load` takes; they are reported.
    measurements: those of `measure_images`, when they have been taken already.
    Raises DataError when there are no images or one cannot be decoded.
    """
    if not len(images):
        raise DataError("There are no images to inspect; expected at least one.")
    measured = measure_images(images) if measurements is None else measurements
    counts = images.counts
    present = [count for count in counts.values() if count]
    sizes = Counter(zip(measured.heights.tolist(), measured.widths.tolist(), strict=True))
    modes = Counter(zip(measured.channels.tolist(), measured.dtypes, strict=True))
    groups = rows_by_group(images)
    duplicates = find_duplicates(images, measured.hashes)
    return Inspection(
        images=len(images),
        counts=counts,
        shares={name: count / len(images) for name, count in counts.items()},
        imbalance_ratio=max(present) / min(present),
        sizes=tuple((*size, count) for size, count in sizes.most_common(_SIZES_LISTED)),
        distinct_sizes=len(sizes),
        modes=tuple((*mode, count) for mode, count in modes.most_common()),
        colourless_images=int(measured.colourless.sum()),
        value_range=images.value_range,
        values_found=_values_found(measured),
        nonfinite_images=int(measured.nonfinite.sum()),
        constant=_ids(images, measured.constant),
        almost_constant=_ids(images, measured.hashes.blank & ~measured.constant),
        groups=None if images.groups is None else len(groups),
        images_without_group=0 if images.groups is None else images.groups.count(""),
        images_per_group=_per_group(groups),
        groups_of_several_labels=_with_several(groups, images.labels.tolist()),
        groups_across_splits=_with_several(groups, images.splits or [""] * len(images)),
        splits=None if images.splits is None else dict(Counter(images.splits)),
        exact_duplicates=_described(images, measured, duplicates.exact),
        duplicates=_described(images, measured, duplicates.near),
        channel_means=_channel_means(measured, images),
        shortcuts=_shortcuts(images, measured, duplicates.near),
    )


def _ids(images: LabelledImages, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(images.ids[row] for row in np.flatnonzero(chosen))


def _values_found(measured: Measurements) -> tuple[float, float] | None:
    if np.isnan(measured.lowest).all():
        return None
    return float(np.nanmin(measured.lowest)), float(np.nanmax(measured.highest))


def _per_group(groups: dict[str, list[int]]) -> dict[str, float] | None:
    if not groups:
        return None
    sizes = [len(rows) for rows in groups.values()]
    return {"smallest": min(sizes), "median": float(np.median(sizes)), "largest": max(sizes)}


def _with_several(groups: dict[str, list[int]], column: Sequence[Any]) -> tuple[str, ...]:
    """Return the groups whose rows differ in a column."""
    return tuple(name for name, rows in groups.items() if len({column[row] for row in rows}) > 1)


def _described(
    images: LabelledImages, measured: Measurements, clusters: Sequence[tuple[int, ...]]
) -> tuple[DuplicateCluster, ...]:
    hashes = measured.hashes.pixels
    described = [
        DuplicateCluster(
            ids=tuple(images.ids[row] for row in rows),
            exact=bool((hashes[list(rows)] == hashes[rows[0]]).all()),
            classes=tuple(images.class_names[k] for k in np.unique(images.labels[list(rows)])),
            groups=_names(images.groups, rows),
            splits=_names(images.splits, rows),
            rows=rows,
            within_group=images.groups is not None
            and len({images.groups[row] for row in rows}) == 1
            and images.groups[rows[0]] != "",
        )
        for rows in clusters
    ]
    return tuple(sorted(described, key=lambda one: (*one.reach, not one.exact), reverse=True))


def _names(column: Sequence[str] | None, rows: Sequence[int]) -> tuple[str, ...]:
    return () if column is None else tuple(sorted({column[row] for row in rows} - {""}))


def _shortcuts(
    images: LabelledImages, measured: Measurements, clusters: Sequence[Sequence[int]]
) -> ShortcutProbes:
    return probe_shortcuts(
        widths=measured.widths,
        heights=measured.heights,
        means=measured.means,
        labels=images.labels,
        class_names=images.class_names,
        units=_units(images, clusters),
    )


def _units(images: LabelledImages, clusters: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return a number a row, equal for rows that share a group or a cluster of duplicates."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    together = [*rows_by_group(images).values(), *clusters]
    pairs = np.array([(rows[0], row) for rows in together for row in rows], dtype=np.int64)
    first, second = pairs.reshape(-1, 2).T
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(images), len(images)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _channel_means(
    measured: Measurements, images: LabelledImages
) -> dict[str, dict[str, dict[str, float]]]:
    columns = dict(zip(CHANNELS, [*measured.channel_means.T, measured.means], strict=True))
    return {
        name: {
            channel: _distribution(values)
            for channel, column in columns.items()
            if len(values := column[(images.labels == label) & np.isfinite(column)])
        }
        for label, name in enumerate(images.class_names)
    }


def _distribution(values: NDArray[np.float64]) -> dict[str, float]:
    percentiles = np.percentile(values, list(_PERCENTILES.values())).tolist()
    return {
        "images": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        **dict(zip(_PERCENTILES, percentiles, strict=True)),
    }
