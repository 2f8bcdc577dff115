"""How bright images are in red, green, blue and grey, real ones beside synthetic ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.figures.look import (
    FAINT,
    INK,
    REAL,
    SYNTHETIC,
    WIDTH,
    draw_header,
    header_height,
    new_figure,
    plain,
    tidy,
)
from ganaug.spec import LUMA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["draw_colours", "mean_colours"]

_BINS = 144
# A Gaussian over the bins, so that a few dozen images are a hill and no comb.
_KERNEL = np.exp(-0.5 * (np.arange(-18, 19) / 4.8) ** 2)


def mean_colours(
    pixels: NDArray[Any], value_range: tuple[float, float]
) -> dict[str, NDArray[np.float64]]:
    """Return the mean of each image (N, C, H, W) by channel, float64 (N,), 0 black and 1 white.

    Red, green, blue and grey (their luma) for three channels; else grey alone, the mean of all.
    """
    low, high = value_range
    means = (pixels.mean(axis=(2, 3), dtype=np.float64) - low) / (high - low)
    if means.shape[1] != 3:
        return {"grey": means.mean(axis=1)}
    return {**dict(zip(("red", "green", "blue"), means.T, strict=True)), "grey": means @ LUMA}


def draw_colours(
    real: Mapping[str, NDArray[np.float64]],
    synthetic: Mapping[str, NDArray[np.float64]],
    labels: tuple[NDArray[np.int64], NDArray[np.int64]],
    class_names: Sequence[str],
    *,
    title: str,
    lines: Sequence[str] = (),
) -> Figure:
    """Draw the distributions of mean colours: classes together on top, then a line for each.

    real, synthetic: means by channel, as `mean_colours` returns them. labels: of the real images
    and of the synthetic ones, indices into `class_names`. Titles give the Wasserstein distance
    and the Kolmogorov-Smirnov statistic of the classes together. A class that there are no
    synthetic images of has a line, and no part in what stands for all.
    """
    present = [k for k in range(len(class_names)) if any((each == k).any() for each in labels)]
    compared = [k for k in present if all((each == k).any() for each in labels)] or present
    rows = [[k] for k in present]
    names = [plain(class_names[k], 18) for k in present]
    if len(compared) > 1:
        rows.insert(0, compared)
        names.insert(0, "all classes" if compared == present else "the generated")
    heights = [header_height(lines), 1.0 + 0.62 * (len(rows) + 1)]
    figure = new_figure(WIDTH if len(real) > 1 else 0.65 * WIDTH, sum(heights), constrained=True)
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    draw_header(parts[0], title, lines)
    grid = parts[1].subplots(1, len(real), sharey=True, squeeze=False)[0]
    for axes, channel in zip(grid, real, strict=True):
        pair = real[channel], synthetic[channel]
        span = _span(pair)
        for place, row in enumerate(rows):
            _draw_hills(axes, _of_classes(pair, labels, row), span, place)
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.8, -1.15)
        axes.set_xlabel("mean of an image, 0 black to 1 white", size=8.5)
        tidy(axes, _title(channel, _of_classes(pair, labels, compared)))
    _draw_legend(parts[0])
    return figure


def _of_classes(
    pair: tuple[NDArray[np.float64], NDArray[np.float64]],
    labels: tuple[NDArray[np.int64], NDArray[np.int64]],
    classes: Sequence[int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    real, synthetic = (
        values[np.isin(own, classes)] for values, own in zip(pair, labels, strict=True)
    )
    return real, synthetic


def _title(channel: str, pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> str:
    from scipy.stats import ks_2samp, wasserstein_distance

    distance = wasserstein_distance(*pair)
    statistic = ks_2samp(*pair).statistic
    return f"{channel.capitalize()}\nWasserstein {distance:.3f} · KS {statistic:.2f}"


def _span(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> tuple[float, float]:
    low, high = min(values.min() for values in pair), max(values.max() for values in pair)
    margin = 0.06 * max(high - low, 0.01)
    return float(low - margin), float(high + margin)


def _draw_hills(
    axes: Axes, pair: Sequence[NDArray[np.float64]], span: tuple[float, float], place: int
) -> None:
    """Draw two densities as hills, the higher one as high as a row, with their medians."""
    axes.axhline(place, color=FAINT, lw=0.6, zorder=place)
    hills = [_density(values, span) if len(values) else None for values in pair]
    top = max((hill.max() for hill in hills if hill is not None), default=1.0)
    middles = np.linspace(*span, _BINS)
    for values, hill, colour in zip(pair, hills, (REAL, SYNTHETIC), strict=True):
        if hill is None:
            continue
        line = place - 0.85 * hill / top
        axes.fill_between(middles, place, line, color=colour, alpha=0.22, lw=0, zorder=place)
        axes.plot(middles, line, color=colour, lw=1.4, zorder=place + 0.1)
        median = [np.median(values)] * 2
        axes.plot(median, [place, place - 0.2], color=colour, lw=2.5, zorder=place + 0.2)


def _density(values: NDArray[np.float64], span: tuple[float, float]) -> NDArray[np.float64]:
    counts, _ = np.histogram(values, _BINS, span)
    smooth: NDArray[np.float64] = np.convolve(counts / len(values), _KERNEL, mode="same")
    return smooth


def _draw_legend(part: Any) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, lw=4, alpha=0.7) for colour in (REAL, SYNTHETIC)]
    part.legend(handles, ["real, held out", "synthetic"], loc="upper right", ncols=2,
                frameon=False, fontsize=10, labelcolor=INK)  # fmt: skip
