"""Where real and synthetic images lie among each other: t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.figures.look import (
    FAINT,
    INK,
    REAL,
    SYNTHETIC,
    TRAIN,
    WIDTH,
    draw_header,
    header_height,
    new_figure,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["ROLES", "Embedding", "draw_embedding", "embed"]

#: The roles of points, in the order in which they are drawn.
ROLES = ("train", "holdout", "synthetic")

# Largest first, so that the rarer roles stay visible on top of training images.
_STYLES = {
    "train": ("o", 9, TRAIN, "real, training"),
    "holdout": ("o", 16, REAL, "real, held out"),
    "synthetic": ("^", 18, SYNTHETIC, "synthetic"),
}
_COLUMNS, _PANEL = 4, 3.1
_PERPLEXITY = 30.0
_ITERATIONS = 500  # the divergence is within 5 % of that after 1,000, at half the time
_COMPONENTS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding:
    """Points in the plane: points float32 (N, 2), and how they were found."""

    points: NDArray[np.float32]
    perplexity: float
    random_state: int


def embed(features: NDArray[Any], *, random_state: int) -> Embedding:
    """Lay N feature vectors, float (N, D), out in the plane by t-SNE.

    van der Maaten and Hinton 2008, as scikit-learn does it: from the first two principal
    components, on at most 50 of them, with perplexity 30 or, for fewer than 91 points, a third
    of the others. Needs at least four points.
    """
    from sklearn.manifold import TSNE

    reduced = _principal_components(features)
    spread = reduced[:, 0].std()
    rng = np.random.default_rng(random_state)
    start = reduced[:, :2] / spread if spread else rng.normal(size=(len(reduced), 2))
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(
        perplexity=perplexity,
        init=(1e-4 * start).astype(np.float32),
        learning_rate="auto",
        max_iter=_ITERATIONS,
        random_state=random_state,
    )
    points = tsne.fit_transform(reduced.astype(np.float32))
    return Embedding(points=points, perplexity=perplexity, random_state=random_state)


def _principal_components(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return at least two columns, and at most `_COMPONENTS`, largest first."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred / (centred.std() or 1.0), full_matrices=False)
    columns = left * values
    padding = np.zeros((len(columns), max(2 - columns.shape[1], 0)))
    return np.hstack([columns[:, :_COMPONENTS], padding])


def draw_embedding(
    points: NDArray[Any],
    roles: NDArray[np.str_],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    title: str,
    lines: Sequence[str],
) -> Figure:
    """Draw points (N, 2): a panel for all classes and one a class, coloured by role.

    roles: one of `ROLES` a point. labels: int64 (N,), indices into `class_names`; classes without
    points have no panel. lines: what stands under the title.
    """
    present = [label for label in range(len(class_names)) if (labels == label).any()]
    panels: list[int | None] = [None, *present] if len(present) > 1 else [None]
    columns = min(_COLUMNS, len(panels)) if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    panel = _PANEL if columns == _COLUMNS else min(WIDTH / columns, 5.0)
    heights = [header_height(lines), rows * (panel + 0.25)]
    figure = new_figure(WIDTH, sum(heights), constrained=True)
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    draw_header(parts[0], title, lines)
    grid = parts[1].subplots(rows, columns, squeeze=False).ravel()
    low, high = points.min(axis=0), points.max(axis=0)
    for axes in grid:
        axes.axis("off")
    for axes, label in zip(grid, panels, strict=False):
        chosen = np.ones(len(labels), dtype=bool) if label is None else labels == label
        name = "All classes" if label is None else class_names[label]
        _draw_panel(
            axes, points, roles, chosen, name if len(panels) > 1 else class_names[present[0]]
        )
        margin = 0.04 * (high - low)
        axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]))
        axes.set(ylim=(low[1] - margin[1], high[1] + margin[1]))
    handles, names = grid[0].get_legend_handles_labels()
    parts[0].legend(handles, names, loc="upper right", ncols=3, frameon=False, fontsize=10,
                    markerscale=1.6, handletextpad=0.2)  # fmt: skip
    return figure


def _draw_panel(
    axes: Axes,
    points: NDArray[Any],
    roles: NDArray[np.str_],
    chosen: NDArray[np.bool_],
    name: str,
) -> None:
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(FAINT)
    axes.scatter(
        points[~chosen, 0], points[~chosen, 1], s=4, c="#E4E4E4", linewidths=0, rasterized=True
    )
    for role in ROLES:
        shown = points[chosen & (roles == role)]
        marker, size, colour, text = _STYLES[role]
        axes.scatter(
            shown[:, 0],
            shown[:, 1],
            s=size,
            c=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0,
            label=text,
        )
    axes.set_title(plain(name), loc="left", size=11, weight="bold", color=INK)
