"""How figures look, and how they become files.

Colours are those of Okabe and Ito 2008, which colour-blind readers tell apart as well. Real images
are blue and synthetic ones orange, in every figure.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "DPI",
    "FAINT",
    "INK",
    "LINES",
    "QUIET",
    "REAL",
    "SYNTHETIC",
    "TRAIN",
    "WIDTH",
    "draw_header",
    "header_height",
    "new_figure",
    "plain",
    "png",
    "tidy",
]

TRAIN, REAL, SYNTHETIC = "#56B4E9", "#0072B2", "#D55E00"
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A6A00", "#555555")
INK, FAINT, QUIET = "#222222", "#B8B8B8", "#666666"

#: Inches, and pixels an inch.
WIDTH, DPI = 13.0, 110


def new_figure(width: float, height: float, *, constrained: bool = False) -> Figure:
    """Return a figure of so many inches, which no global state of matplotlib knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.08) if constrained else None
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file: the same bytes for the same figure."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def header_height(lines: Sequence[str]) -> float:
    """Return the inches that a header needs."""
    return 0.55 + 0.22 * len(lines)


def draw_header(part: SubFigure, title: str, lines: Sequence[str] = ()) -> None:
    """Draw a title and, smaller, what explains the figure."""
    axes: Any = part.subplots()
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(lines) + 1.6, 0))
    axes.text(0, 0.8, plain(title, 100), size=17, weight="bold", color=INK, va="center")
    for number, line in enumerate(lines):
        axes.text(0, number + 2.0, plain(line, 200), size=10, color=QUIET, va="center")


def plain(text: str, length: int = 24) -> str:
    """Return a text that fits its place and that matplotlib does not take for mathematics."""
    text = " ".join(text.split())
    kept = text if len(text) <= length else f"{text[: length // 2]}…{text[-(length // 2 - 1) :]}"
    return kept.replace("$", r"\$")


def tidy(axes: Axes, title: str) -> None:
    """Give axes a title and take away what carries no information."""
    axes.set_title(title, loc="left", size=11, weight="bold", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9, length=3, color=FAINT)
