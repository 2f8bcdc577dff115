"""The files of a report: report.html, results.csv and results.json."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug.benchmark.statistics import points
from ganaug.files import write_bytes
from ganaug.report.drawing import Row, Series, draw_curves, draw_dots, draw_forest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganaug.benchmark.statistics import Difference
    from ganaug.report.findings import Findings

__all__ = ["FILES", "render_page", "write_report"]

#: What a report is written to.
FILES = ("report.html", "results.csv", "results.json")

_TONES = {"helps": "good", "harms": "bad", "no benefit shown": "open"}


def write_report(folder: str | Path, findings: Findings) -> tuple[Path, ...]:
    """Write what was found into a folder; files that are there are replaced, whole or not at all.

    report.html is one page that needs no other file and no network. results.csv has a line a
    cell, with every measure. results.json has the comparisons and their verdicts.

    Raises RunError when a file cannot be written.
    """
    contents = (render_page(findings), _table(findings), _tree(findings))
    paths = tuple(Path(folder) / name for name in FILES)
    for path, content in zip(paths, contents, strict=True):
        write_bytes(path, content.encode())
    return paths


def render_page(findings: Findings) -> str:
    """Return the report as one HTML page."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    templates = Environment(
        loader=PackageLoader("ganaug.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = _number
    templates.filters["figure"] = _figure
    templates.filters["words"] = lambda name: str(name).replace("_", " ")
    templates.filters["points"] = points
    templates.filters["p"] = _p
    return templates.get_template("page.html").render(
        found=findings,
        tone={"helps": "good", "harms": "bad"}.get(findings.verdict, "open"),
        tones=_TONES,
        # Ours, with every text escaped.
        effects=Markup(_forest(findings, findings.final_effects, "the same without such images"))
        if findings.final_effects
        else None,
        forest=Markup(_forest(findings, findings.final, str(findings.reference))),
        curves=Markup(_curves(findings)) if len(findings.fractions) > 1 else None,
        dots=Markup(_dots(findings)),
        pictures=[
            {
                "title": picture.title,
                "caption": picture.caption,
                "source": "data:image/png;base64," + base64.b64encode(picture.png).decode(),
            }
            for picture in findings.pictures
        ],
    )


def _forest(findings: Findings, differences: Sequence[Difference], against: str) -> str:
    rows = [
        Row(
            label=each.arm,
            value=100 * each.mean,
            low=None if each.low is None else 100 * each.low,
            high=None if each.high is None else 100 * each.high,
            text=each.verdict,
            tone=_TONES[each.verdict],
        )
        for each in differences
    ]
    name = findings.study.measure.replace("_", " ")
    return draw_forest(
        rows,
        title=f"Differences in {name} from {against}",
        unit=f"points of {name}, against {against}",
    )


def _curves(findings: Findings) -> str:
    measure = findings.study.measure
    series = []
    for arm in findings.arms:
        points = []
        for fraction in findings.fractions:
            spread = findings.summary(arm, fraction).measures[measure]
            x = findings.real_images(fraction)
            points.append((x, spread.mean, spread.low, spread.high))
        series.append(Series(label=arm, points=points))
    name, rare = measure.replace("_", " "), findings.study.rare
    return draw_curves(
        series,
        title=f"{name} by training size",
        x_unit=f"real images of {' and '.join(rare) if rare else 'all classes'} to train on",
        y_unit=name,
    )


def _dots(findings: Findings) -> str:
    last = findings.fractions[-1]
    rows = [
        (
            name,
            [
                (arm, findings.summary(arm, last).measures[f"sensitivity:{name}"].mean)
                for arm in findings.arms
            ],
        )
        for name in findings.class_names
    ]
    return draw_dots(rows, title="Sensitivity of each class", unit="sensitivity")


def _table(findings: Findings) -> str:
    """Return a line a cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(findings.values[0])
    writer.writerow(("arm", "fraction", "repeat", "fold", "ratio", "seconds", *names))
    for outcome, values in zip(findings.outcomes, findings.values, strict=True):
        cell, details = outcome.cell, outcome.details
        ratio = details.get("ratio")
        writer.writerow(
            (
                cell.arm,
                f"{cell.fraction:g}",
                cell.repeat,
                cell.fold,
                "" if ratio is None else f"{ratio:g}",
                details.get("seconds", ""),
                *("" if math.isnan(values[name]) else repr(values[name]) for name in names),
            )
        )
    return text.getvalue()


def _tree(findings: Findings) -> str:
    return json.dumps(_without_nan(findings.to_fields()), indent=2, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    """Return a tree with None for what is no number, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float, digits: int = 3) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _figure(value: float) -> str:
    """Return a figure of a network, such as its parameters or minutes."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _p(difference: Difference) -> str:
    if difference.p_holm is None:
        return "-"
    return "< .001" if difference.p_holm < 0.001 else f"{difference.p_holm:.3f}".lstrip("0")
