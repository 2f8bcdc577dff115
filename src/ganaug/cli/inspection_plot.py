"""The figure of ``ganaug data inspect --plot``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.cli.cautions import is_high
from ganaug.inspection import CHANNELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from numpy.typing import NDArray

    from ganaug.inspection import DuplicateCluster, Inspection
    from ganaug.measurements import Measurements
    from ganaug.spec import LabelledImages

__all__ = ["draw_inspection"]

# Okabe and Ito 2008: told apart by colour-blind readers as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A6A00", "#555555")
_CHANNEL_COLOURS = dict(zip(CHANNELS, ("#C0392B", "#27823B", "#2C5AA0", "#555555"), strict=True))
_INK, _FAINT, _ALARM, _PAPER = "#222222", "#B8B8B8", "#B3261E", 245

_CLASSES_DRAWN = 10
_EXAMPLES, _PAIRS = 12, 6
_CELL, _GAP, _PAIR_GAP = 96, 6, 18
_PAIR_LEFTS = (0, _CELL + _GAP)
_WIDTH, _DPI = 13.0, 110
_BINS = 48


def draw_inspection(
    images: LabelledImages,
    found: Inspection,
    measured: Measurements,
    *,
    title: str,
    warnings: Sequence[str] = (),
) -> bytes:
    """Draw the facts of a set, with examples of its classes and duplicates, as a PNG file.

    Decodes the images that are shown, at most 12 of each of ten classes and six pairs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    classes = _largest(found)
    pairs = [_pair(images, measured, cluster) for cluster in found.duplicates[:_PAIRS]]
    heights = [
        0.55 + 0.26 * len(warnings),
        max(2.6, 0.7 + 0.3 * len(classes)),
        max(2.2, 0.9 + 0.42 * len(classes)),
        0.35 + 1.05 * len(classes),
        *([1.9] if pairs else []),
    ]
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.06)
    figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=_DPI, layout=layout)
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    _draw_header(parts[0], title, warnings)
    facts = parts[1].subplots(1, 3, width_ratios=(1, 1.15, 1))
    _draw_counts(facts[0], found, classes)
    _draw_sizes(facts[1], images, measured, classes)
    _draw_probes(facts[2], found)
    _draw_means(parts[2], images, measured, found, classes)
    _draw_examples(parts[3], images, classes)
    if pairs:
        _draw_pairs(parts[4], images, pairs)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _largest(found: Inspection) -> list[int]:
    """Return the classes that are drawn, in their own order."""
    counts = list(found.counts.values())
    present = [label for label, count in enumerate(counts) if count]
    return sorted(sorted(present, key=lambda label: -counts[label])[:_CLASSES_DRAWN])


def _colour(label: int) -> str:
    return _COLOURS[label % len(_COLOURS)]


def _short(text: str, length: int = 22) -> str:
    """Return a name that fits its place and that matplotlib does not take for mathematics."""
    kept = text if len(text) <= length else f"{text[: length // 2]}…{text[-(length // 2 - 1) :]}"
    return kept.replace("$", r"\$")


def _draw_header(part: SubFigure, title: str, warnings: Sequence[str]) -> None:
    axes = part.subplots()
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(warnings) + 1.4, 0))
    axes.text(0, 0.9, title.replace("$", r"\$"), size=17, weight="bold", color=_INK)
    for line, warning in enumerate(warnings):
        text = f"▲ {warning}".replace("$", r"\$")
        axes.text(0, line + 2.0, text, size=10.5, color=_ALARM)


def _tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", size=11, weight="bold", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=9, length=3, color=_FAINT)


def _draw_counts(axes: Axes, found: Inspection, classes: Sequence[int]) -> None:
    names, counts = list(found.counts), list(found.counts.values())
    shown = [counts[label] for label in classes]
    axes.barh(range(len(classes)), shown, color=[_colour(label) for label in classes], height=0.7)
    for place, count in enumerate(shown):
        axes.text(count, place, f" {count:,}", va="center", size=9, color=_INK)
    axes.set_yticks(range(len(classes)), [_short(names[label]) for label in classes])
    slots = max(len(classes), 4)
    middle = (len(classes) - 1) / 2
    axes.set(xlim=(0, max(shown) * 1.2), xticks=[])
    axes.set_ylim(middle + slots / 2, middle - slots / 2)
    _tidy(axes, f"Images a class · {found.imbalance_ratio:,.1f} : 1")
    axes.spines["bottom"].set_visible(False)


def _draw_sizes(
    axes: Axes, images: LabelledImages, measured: Measurements, classes: Sequence[int]
) -> None:
    _tidy(axes, "Size, pixels")
    widths, heights = measured.widths, measured.heights
    if len(set(zip(widths.tolist(), heights.tolist(), strict=True))) == 1:
        axes.axis("off")
        axes.text(
            0.5, 0.5, f"every image\n{widths[0]} x {heights[0]}",
            ha="center", va="center", size=13, color=_INK, transform=axes.transAxes,
        )  # fmt: skip
        return
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.flatnonzero(np.isin(images.labels, classes)))
    noise = rng.normal(0, 0.006 * max(widths.max(), heights.max()), (2, len(rows)))
    axes.scatter(
        widths[rows] + noise[0],
        heights[rows] + noise[1],
        s=14,
        c=[_colour(int(label)) for label in images.labels[rows]],
        alpha=0.55,
        linewidths=0,
    )
    for limit, sizes in ((axes.set_xlim, widths[rows]), (axes.set_ylim, heights[rows])):
        margin = 0.05 * max(widths.max(), heights.max())
        limit(sizes.min() - margin, sizes.max() + margin)
    axes.set_xlabel("width", size=9)
    axes.set_ylabel("height", size=9)


def _draw_probes(axes: Axes, found: Inspection) -> None:
    _tidy(axes, "Predicts the class alone (AUC)")
    chance = found.shortcuts.chance
    probes = [probe for probe in found.shortcuts.probes if probe.auc is not None]
    if chance is None or not probes:
        axes.axis("off")
        text = f"not probed:\n{found.shortcuts.reason or 'nothing differs'}"
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, size=10)
        return
    for place, probe in enumerate(probes):
        auc = probe.auc or 0.0
        colour = _ALARM if is_high(probe, chance) else _FAINT
        axes.barh(place, auc - 0.5, left=0.5, color=colour, height=0.7)
        axes.text(max(auc, 0.5), place, f" {auc:.2f}", va="center", size=9)
    axes.axvline(chance, color=_INK, lw=1, ls=":")
    axes.text(1.0, -0.75, f"dotted: chance, {chance:.2f}", size=8, color=_INK, ha="right")
    axes.set_yticks(range(len(probes)), [probe.name for probe in probes])
    lowest = min(0.45, *(probe.auc or 0.0 for probe in probes))
    axes.set(xlim=(lowest - 0.05, 1.08), ylim=(len(probes) - 0.4, -1.2), xticks=[0.5, 0.75, 1.0])


def _draw_means(
    part: SubFigure,
    images: LabelledImages,
    measured: Measurements,
    found: Inspection,
    classes: Sequence[int],
) -> None:
    """Draw the distribution of the images' channel means, a ridge a class."""
    columns = dict(zip(CHANNELS, [*measured.channel_means.T, measured.means], strict=True))
    present = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    every = np.concatenate([column[np.isfinite(column)] for column in present.values()] or [[0.0]])
    span = (every.min(), max(every.max(), every.min() + 1e-6))
    panels = part.subplots(1, max(len(present), 1), sharex=True, sharey=True, squeeze=False)[0]
    names = list(found.counts)
    for axes, (channel, column) in zip(panels, present.items(), strict=False):
        for place, label in enumerate(classes):
            values = column[(images.labels == label) & np.isfinite(column)]
            _draw_ridge(axes, values, span, place, _CHANNEL_COLOURS[channel], _colour(label))
        axes.set_yticks(range(len(classes)), [_short(names[label]) for label in classes])
        axes.set_ylim(len(classes) - 0.6, -1.0)
        axes.set_xlabel("median marked", size=8)
        _tidy(axes, f"Mean {channel} of an image")


def _draw_ridge(
    axes: Axes,
    values: NDArray[np.float64],
    span: tuple[float, float],
    place: int,
    fill: str,
    tick: str,
) -> None:
    if not len(values):
        return
    margin = 0.04 * (span[1] - span[0])
    counts, edges = np.histogram(values, _BINS, (span[0] - margin, span[1] + margin))
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 1.6) ** 2)
    smooth = np.convolve(counts, kernel, mode="same")
    centres = (edges[1:] + edges[:-1]) / 2
    ridge = place - 0.85 * smooth / smooth.max()
    axes.fill_between(centres, place, ridge, color=fill, alpha=0.35, lw=0, zorder=place)
    axes.plot(centres, ridge, color=fill, lw=1.2, zorder=place)
    axes.plot([np.median(values)] * 2, [place, place - 0.3], color=tick, lw=2.5, zorder=place + 1)


def _draw_examples(part: SubFigure, images: LabelledImages, classes: Sequence[int]) -> None:
    lefts = [place * (_CELL + _GAP) for place in range(_EXAMPLES)]
    rows_of_axes = part.subplots(len(classes), 1, squeeze=False)[:, 0]
    for axes, label in zip(rows_of_axes, classes, strict=True):
        rows = np.flatnonzero(images.labels == label)
        chosen = rows[np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows))).round().astype(int)]
        axes.imshow(_strip(images, chosen, lefts))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        name = _short(images.class_names[label], 16)
        axes.set_ylabel(name, size=8.5, weight="bold", color=_colour(label))
    rows_of_axes[0].set_title("Examples", loc="left", size=11, weight="bold", color=_INK)


def _pair(
    images: LabelledImages, measured: Measurements, cluster: DuplicateCluster
) -> tuple[int, int]:
    """Return two images of a cluster, of different classes or at least pixels where there are."""
    first, *others = cluster.rows

    def apart(row: int) -> tuple[bool, bool]:
        pixels = measured.hashes.pixels
        differs = not np.array_equal(pixels[row], pixels[first])
        return bool(images.labels[row] != images.labels[first]), differs

    return first, max(others, key=apart)


def _draw_pairs(part: SubFigure, images: LabelledImages, pairs: Sequence[tuple[int, int]]) -> None:
    """Draw two images of each cluster; in red where they are of different classes."""
    axes = part.subplots()
    lefts = [i * (2 * _CELL + _GAP + _PAIR_GAP) + j for i in range(_PAIRS) for j in _PAIR_LEFTS]
    rows = [row for pair in pairs for row in pair]
    axes.imshow(_strip(images, rows, lefts))
    axes.axis("off")
    axes.set_title("Duplicates, in pairs", loc="left", size=11, weight="bold", color=_INK)
    for place, row in enumerate(rows):
        first, second = pairs[place // 2]
        across = images.labels[first] != images.labels[second]
        name = _short(images.class_names[images.labels[row]], 15)
        id_ = images.ids[row]
        text = f"{name}\n{_short(id_ if len(id_) <= 15 else id_.rsplit('/', 1)[-1], 15)}"
        axes.text(
            lefts[place], _CELL + _GAP, text, size=8, va="top", color=_ALARM if across else _INK
        )


def _strip(
    images: LabelledImages, rows: Sequence[int] | NDArray[Any], lefts: Sequence[int]
) -> NDArray[np.uint8]:
    """Return images side by side, RGB, each fitted into a square; empty places stay white."""
    strip = np.full((_CELL, lefts[-1] + _CELL, 3), 255, dtype=np.uint8)
    for row, left in zip(rows, lefts, strict=False):
        strip[:, left : left + _CELL] = _tile(np.asarray(images.pixels[int(row)]))
    return strip


def _tile(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return one image in a square: 8 bits as they are, others between their own extremes."""
    from PIL import Image, ImageOps

    if pixels.dtype == np.uint8:
        grey_or_rgb = pixels
    else:
        values = np.nan_to_num(pixels.astype(np.float32), posinf=0.0, neginf=0.0)
        low, high = np.percentile(values, [0.5, 99.5])
        grey_or_rgb = ((values - low) / max(high - low, 1e-6) * 255).clip(0, 255).astype(np.uint8)
    shown = grey_or_rgb if len(pixels) == 3 else np.repeat(grey_or_rgb[:1], 3, axis=0)
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(shown, 0, 2)))
    small = max(picture.size) * 2 <= _CELL
    resampling = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    fitted = ImageOps.contain(picture, (_CELL, _CELL), resampling)
    square = ImageOps.pad(fitted, (_CELL, _CELL), color=(_PAPER,) * 3)
    return np.asarray(square)
