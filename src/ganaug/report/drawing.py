"""Figures of numbers, as SVG that a page holds within itself.

Colours are those of Okabe and Ito 2008; no figure tells things apart by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Row", "Series", "draw_curves", "draw_dots", "draw_forest"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07700", "#3388BB", "#7A6A00", "#555555")
_WIDTH, _LINE = 720, 34
_LEFT, _RIGHT, _TOP, _FOOT = 250, 150, 26, 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a forest plot. tone: "good", "bad" or "open"."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A curve: points (x, y, lowest y, highest y); NaN where an end is not known."""

    label: str
    points: Sequence[tuple[float, float, float, float]]


def draw_forest(rows: Sequence[Row], *, title: str, unit: str) -> str:
    """Draw differences and their intervals, a line each, with nothing at zero."""
    ends = [0.0, *(e for row in rows for e in (row.value, row.low, row.high) if e is not None)]
    scale = _Scale.around([end for end in ends if math.isfinite(end)], _LEFT, _WIDTH - _RIGHT)
    bottom = _TOP + _LINE * len(rows)
    parts = [*_grid(scale, bottom, unit)]
    zero = scale(0)
    parts.append(f'<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y1="{_TOP}" y2="{bottom}"/>')
    for number, row in enumerate(rows):
        y = _TOP + _LINE * (number + 0.5)
        parts.append(_text(_LEFT - 14, y, row.label, anchor="end"))
        parts.append(_text(_WIDTH - _RIGHT + 14, y, row.text, kind=row.tone))
        if not math.isfinite(row.value):
            continue
        if row.low is not None and row.high is not None:
            low, high = scale(row.low), scale(row.high)
            parts.append(
                f'<path class="{row.tone}" d="M{low:.1f} {y - 5}v10M{low:.1f} {y}H{high:.1f}'
                f'M{high:.1f} {y - 5}v10"/>'
            )
        parts.append(_mark(scale(row.value), y, row.tone))
    return _svg(title, bottom + _FOOT, parts)


def draw_dots(
    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, title: str, unit: str
) -> str:
    """Draw values in [0, 1]: a group of lines for each class, a line an arm."""
    scale = _Scale(0.0, 1.0, _LEFT, _WIDTH - _RIGHT, tuple(n / 5 for n in range(6)))
    height, parts, y = 24, [], float(_TOP)
    for name, values in rows:
        parts.append(_text(8, y + height / 2, name, kind="strong"))
        y += height
        for number, (arm, value) in enumerate(values):
            middle = y + height / 2
            parts.append(_text(_LEFT - 14, middle, arm, anchor="end"))
            if math.isfinite(value):
                x, colour = scale(value), _COLOURS[number % len(_COLOURS)]
                start = scale(0)
                parts.append(
                    f'<line x1="{start:.1f}" x2="{x:.1f}" y1="{middle}" y2="{middle}" '
                    f'stroke="{colour}" stroke-width="2"/>'
                    f'<circle cx="{x:.1f}" cy="{middle}" r="5" fill="{colour}"/>'
                )
                parts.append(_text(_WIDTH - _RIGHT + 14, middle, f"{value:.2f}"))
            else:
                parts.append(_text(_WIDTH - _RIGHT + 14, middle, "unknown"))
            y += height
        y += 6
    return _svg(title, y + _FOOT, [*_grid(scale, y, unit), *parts])


def draw_curves(series: Sequence[Series], *, title: str, x_unit: str, y_unit: str) -> str:
    """Draw values by training size, with bars of the spread over cells, and names below."""
    left, right, top, bottom = 64, _WIDTH - 40, 20, 320
    points = [point for each in series for point in each.points if math.isfinite(point[1])]
    xs = sorted({x for x, *_ in points})
    ys = [end for _, *ends in points for end in ends if math.isfinite(end)]
    across = _Scale(min(xs, default=0), max(xs, default=1), left, right, tuple(xs))
    up = _Scale.around(ys or [0.0, 1.0], bottom, top)
    parts = []
    for tick in up.ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y, f"{tick:g}", anchor="end", kind="quiet"))
    for tick in across.ticks:
        parts.append(_text(across(tick), bottom + 18, f"{tick:.4g}", anchor="middle", kind="quiet"))
    parts.append(_text((left + right) / 2, bottom + 38, x_unit, anchor="middle", kind="quiet"))
    parts.append(_text(left, 8, y_unit, kind="quiet"))
    for number, each in enumerate(series):
        parts += _curve(each, number, across, up, legend=(left, bottom + 68 + 24 * number))
    return _svg(title, bottom + 62 + 24 * len(series), parts)


def _curve(
    series: Series, number: int, across: _Scale, up: _Scale, *, legend: tuple[float, float]
) -> Iterable[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    shift = 3.0 * number  # so that bars of several arms do not hide each other
    known = [point for point in series.points if math.isfinite(point[1])]
    path = " ".join(f"{across(x) + shift:.1f},{up(y):.1f}" for x, y, *_ in known)
    dash = ("", "7 3", "2 3", "9 3 2 3")[number % 4]
    yield (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dash}"/>'
    )
    for x, y, low, high in known:
        at = across(x) + shift
        if math.isfinite(low):
            yield (
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{up(low):.1f}" y2="{up(high):.1f}" '
                f'stroke="{colour}"/>'
            )
        yield f'<circle cx="{at:.1f}" cy="{up(y):.1f}" r="4" fill="{colour}"/>'
    x, y = legend
    yield (
        f'<line x1="{x}" x2="{x + 30}" y1="{y}" y2="{y}" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="{dash}"/>'
        f'<circle cx="{x + 15}" cy="{y}" r="4" fill="{colour}"/>'
    )
    yield _text(x + 38, y, series.label)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Takes numbers from low to high to places from start to end."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> _Scale:
        """Return a scale that holds all values, with ticks at round numbers."""
        low, high = min(values), max(values)
        if high - low < 1e-9:
            low, high = low - 0.01, high + 0.01
        step = 10 ** math.floor(math.log10((high - low) / 2))
        for factor in (1, 2, 5, 10):
            if (high - low) / (step * factor) <= 6:
                step *= factor
                break
        first, last = math.floor(low / step), math.ceil(high / step)
        ticks = tuple(round(number * step, 10) for number in range(first, last + 1))
        return cls(ticks[0], ticks[-1], start, end, ticks)

    def __call__(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def _grid(scale: _Scale, bottom: float, unit: str) -> Iterable[str]:
    for tick in scale.ticks:
        x = scale(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield _text(x, bottom + 16, f"{tick:g}", anchor="middle", kind="quiet")
    middle = (scale.start + scale.end) / 2
    yield _text(middle, bottom + 36, unit, anchor="middle", kind="quiet")


def _mark(x: float, y: float, tone: str) -> str:
    """Return a mark whose shape says the tone, too."""
    if tone == "good":
        return f'<path class="good fill" d="M{x:.1f} {y - 7}l7 12h-14z"/>'
    if tone == "bad":
        return f'<path class="bad fill" d="M{x:.1f} {y + 7}l7 -12h-14z"/>'
    return f'<circle class="open" cx="{x:.1f}" cy="{y}" r="5"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'dominant-baseline="central">{escape(text)}</text>'
    )


def _svg(title: str, height: float, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
