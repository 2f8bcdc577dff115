"""How a training went: metrics and losses over the images it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.figures.look import LINES, WIDTH, draw_header, header_height, new_figure, plain, tidy
from ganaug.reading import is_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ganaug.stopping import History, Progress

__all__ = ["draw_history"]

_COLUMNS = 3
_POINTS = 120


def draw_history(
    histories: Mapping[str, History], *, title: str, lines: Sequence[str] = ()
) -> Figure | None:
    """Draw the curves of each training, by its name: metrics first, then losses.

    There is a panel for each metric that was recorded, but for spreads and p-values, and one for
    each phase's losses, in which a point is the mean of the steps around it, so that a long
    training is at most 120 points.
    Returns None when nothing was recorded.
    """
    shown = {name: history for name, history in histories.items() if len(history) > 1}
    metrics = [name for name in _names(shown, "metrics") if not is_spread(name)]
    losses = _names(shown, "losses")
    panels = [("metrics", name) for name in metrics] + [("losses", name) for name in losses]
    if not panels:
        return None
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    heights = [header_height(lines), 2.7 * rows]
    figure = new_figure(WIDTH, sum(heights), constrained=True)
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    draw_header(parts[0], title, lines)
    grid = parts[1].subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.axis("off")
    for axes, (kind, name) in zip(grid, panels, strict=False):
        _draw_curves(axes, shown, kind, name)
        axes.set_xlabel("training images seen", size=9)
    if len(shown) > 1:
        grid[0].legend(frameon=False, fontsize=8.5)
    return figure


def _names(histories: Mapping[str, History], kind: str) -> list[str]:
    """Return the names of metrics or losses as they first appear, phase by phase."""
    found: dict[str, None] = {}
    for history in histories.values():
        for progress in history:
            found.update(dict.fromkeys(getattr(progress, kind)))
    phases = [name.partition("/")[0] for name in found]
    return sorted(found, key=lambda name: phases.index(name.partition("/")[0]))


def _draw_curves(axes: Axes, histories: Mapping[str, History], kind: str, name: str) -> None:
    for place, (training, history) in enumerate(histories.items()):
        records = [progress for progress in history if name in getattr(progress, kind)]
        if not records:  # an autoencoder is trained before classes are, and not with them
            continue
        seen, values = _curve(records, kind, name)
        marker = "o" if kind == "metrics" else ""
        axes.plot(seen, values, color=LINES[place % len(LINES)], lw=1.4, marker=marker,
                  markersize=4, label=plain(training))  # fmt: skip
    axes.xaxis.set_major_formatter(_images)
    axes.xaxis.set_major_locator(_few_ticks())
    phase, slash, term = name.partition("/")
    tidy(axes, plain(f"{phase} loss: {term}" if slash else name, 40))


def _curve(records: Sequence[Progress], kind: str, name: str) -> tuple[Any, Any]:
    """Return images seen and values; losses, of which there are many, as means of neighbours."""
    seen = np.array([progress.images_seen for progress in records], dtype=np.float64)
    values = np.array([getattr(progress, kind)[name] for progress in records])
    pieces = min(len(records), _POINTS if kind == "losses" else len(records))
    chunks = [chunk for chunk in np.array_split(np.arange(len(records)), pieces) if len(chunk)]
    return [seen[chunk].mean() for chunk in chunks], [values[chunk].mean() for chunk in chunks]


def _images(value: float, _: object) -> str:
    """Return a number of images as text for an axis."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if abs(value) >= 1e3 else f"{value:g}"


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, integer=True)
