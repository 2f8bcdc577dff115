"""``ganaug data inspect``: what an image set holds, and what would spoil a study on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug.cli.console import facts, make_table, output, print_json, status
from ganaug.cli.opening import AllowBurnedIn, Data, Open, Window, open_fields
from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ganaug.cli.cautions import Caution
    from ganaug.inspection import DuplicateCluster, Inspection

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug data inspect photos/

  ganaug data inspect photos/ --plot out/photos.png

  ganaug data inspect csv:scans/labels.csv --json"""

_BAR = 24
_CLASSES_LISTED = 40
_CLUSTERS_SHOWN = 3


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(epilog=_EPILOG)(inspect)


def inspect(
    data: Data,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw it as well, with examples of each class."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    fields: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
) -> None:
    """Count classes, sizes, values and groups; find duplicates and shortcuts to the label.

    Every image is read once. Warnings come first, with what to do about each.
    """
    from ganaug.cli.cautions import cautions_of
    from ganaug.files import write_bytes
    from ganaug.inspection import inspect_images
    from ganaug.measurements import measure_images
    from ganaug.registry import Registry
    from ganaug.sources import open_images

    _check_plot(plot, data)
    with status("Reading images"):
        images = open_images(data, Registry.load(), open_fields(fields, window, allow_burned_in))
        measured = measure_images(images)
        found = inspect_images(images, measured)
    cautions = cautions_of(found)
    if plot is not None:
        from ganaug.cli.inspection_plot import draw_inspection

        title, problems = _title(Path(data).name, found), [each.problem for each in cautions]
        with status("Drawing"):
            picture = draw_inspection(images, found, measured, title=title, warnings=problems)
        write_bytes(plot, picture)
    if json:
        print_json(_json(data, found, cautions, plot))
    else:
        _print(data, found, cautions)
        if plot is not None:
            output().print(f"Figure: {plot}", soft_wrap=True)


def _check_plot(plot: Path | None, data: str) -> None:
    """Refuse a place for the figure before anything is read."""
    from ganaug.files import check_place
    from ganaug.sources import check_outside

    if plot is None:
        return
    if plot.suffix.lower() != ".png":
        raise ConfigError(f"--plot writes a PNG file; expected a name like out.png, got {plot}.")
    if plot.is_dir():
        raise ConfigError(f"--plot {plot} is a folder; expected the name of a PNG file.")
    check_place(plot)
    check_outside(plot, data)


def _json(
    data: str, found: Inspection, cautions: list[Caution], plot: Path | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from ganaug.cli.cautions import notes_of

    return {
        "data": data,
        "warnings": [asdict(caution) for caution in cautions],
        "notes": notes_of(found),
        **found.to_json(),
        "plot": None if plot is None else str(plot),
    }


def _title(data: str, found: Inspection) -> str:
    classes = f"{len(found.counts)} class{'es' * (len(found.counts) > 1)}"
    images = f"{found.images:,} image{'s' * (found.images > 1)}"
    return f"{data}: {images} in {classes}"


def _print(data: str, found: Inspection, cautions: list[Caution]) -> None:
    console = output()
    console.print(_title(data, found), soft_wrap=True, style="bold")
    _print_cautions(console, cautions)
    console.print(_counts_table(found))
    console.print(facts(_facts(found)))
    if any(not cluster.harmless for cluster in found.duplicates):
        console.print(_duplicates_table(found))
    if found.shortcuts.chance is not None:
        console.print(_shortcuts_table(found))
        console.print(_shortcuts_footnote(found))
    console.print(_means_table(found))


def _print_cautions(console: Console, cautions: list[Caution]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not cautions:
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(style="bold yellow")
    table.add_column(overflow="fold")
    for caution in cautions:
        remedy = Text(f"-> {caution.remedy}")
        table.add_row("Warning", Text(caution.problem, style="bold") + "\n" + remedy)
    console.print()
    console.print(table)


def _counts_table(found: Inspection) -> Table:
    table = make_table("class", "images", "share", "", right=["images", "share"])
    most = max(found.counts.values())
    for name, count in list(found.counts.items())[:_CLASSES_LISTED]:
        bar = "█" * max(round(_BAR * count / most), int(count > 0))
        table.add_row(name, f"{count:,}", f"{found.shares[name]:.1%}", bar)
    if len(found.counts) > _CLASSES_LISTED:
        table.add_row(f"and {len(found.counts) - _CLASSES_LISTED} more")
    return table


def _facts(found: Inspection) -> list[tuple[str, str]]:
    from ganaug.cli.cautions import notes_of

    sizes = [f"{width}x{height} ({n:,})" for height, width, n in found.sizes]
    if found.distinct_sizes > len(sizes):
        sizes.append(f"and {found.distinct_sizes - len(sizes):,} more sizes")
    low, high = found.value_range
    values = f"{low:g} to {high:g} possible"
    if found.values_found:
        values += f", {found.values_found[0]:g} to {found.values_found[1]:g} found"
    pairs = [
        ("Imbalance", f"{found.imbalance_ratio:,.1f} : 1, the largest class to the smallest"),
        ("Width x height", ", ".join(sizes)),
        ("Channels", _modes(found)),
        ("Values", values),
        ("Groups", _groups(found)),
        ("Splits", _splits(found)),
        ("Duplicates", _duplicates(found)),
    ]
    if found.shortcuts.reason:
        pairs.append(("Shortcuts", f"not probed: {found.shortcuts.reason}"))
    return pairs + [("Note", note) for note in notes_of(found)]


def _modes(found: Inspection) -> str:
    depths = [
        f"{channels} channel{'s' * (channels > 1)} of {dtype} ({n:,})"
        for channels, dtype, n in found.modes
    ]
    if found.colourless_images:
        depths.append(f"{found.colourless_images:,} of them grey, all channels equal")
    return ", ".join(depths)


def _groups(found: Inspection) -> str:
    if found.groups is None:
        return "none: every image counts as independent of the others"
    text = f"{found.groups:,}"
    if found.images_per_group:
        smallest, median, largest = found.images_per_group.values()
        if smallest == largest:
            text += f" of {smallest:g} image{'s' * (smallest > 1)}"
        else:
            text += f" of {smallest:g} to {largest:g} images (median {median:g})"
    if found.groups_of_several_labels:
        text += f", {len(found.groups_of_several_labels):,} with several classes"
    if found.images_without_group:
        text += f", and {found.images_without_group:,} images without one"
    return text


def _splits(found: Inspection) -> str:
    if found.splits is None:
        return "none in the source: ganaug fit holds out a fifth"
    return ", ".join(f"{name} {count:,}" for name, count in found.splits.items())


def _duplicates(found: Inspection) -> str:
    if not found.duplicates:
        return "none found"
    listed = [cluster for cluster in found.duplicates if not cluster.harmless]
    exact = sum(not cluster.harmless for cluster in found.exact_duplicates)
    text = f"{_in_clusters(listed)} of the same or nearly so"
    text += f"; {exact:,} set{'s' * (exact != 1)} of exact copies"
    reaches = [cluster.reach for cluster in listed]
    across = [sum(apart) for apart in zip(*reaches, strict=True)]
    named = zip(("splits", "classes", "groups"), across, strict=False)  # nothing listed: none
    text += "".join(f"; {n:,} across {name}" for name, n in named if n)
    within = [cluster for cluster in found.duplicates if cluster.harmless]
    apart = f"within groups, which is no harm: {_in_clusters(within)}"
    return "; ".join([text] * bool(listed) + [apart] * bool(within))


def _in_clusters(clusters: Sequence[DuplicateCluster]) -> str:
    images = sum(len(cluster.ids) for cluster in clusters)
    return f"{images:,} images in {len(clusters):,} cluster{'s' * (len(clusters) != 1)}"


def _duplicates_table(found: Inspection) -> Table:
    """Return a few clusters, those across splits and classes first; none that does no harm."""
    listed = [cluster for cluster in found.duplicates if not cluster.harmless]
    table = make_table("duplicates", "classes", "images")
    table.columns[2].overflow = "fold"
    for cluster in listed[:_CLUSTERS_SHOWN]:
        kind = "exact" if cluster.exact else "near"
        more = f" and {len(cluster.ids) - 3:,} more" if len(cluster.ids) > 3 else ""
        table.add_row(kind, ", ".join(cluster.classes), ", ".join(cluster.ids[:3]) + more)
    if len(listed) > _CLUSTERS_SHOWN:
        table.add_row("", "", f"and {len(listed) - _CLUSTERS_SHOWN:,} more: --json")
    return table


def _shortcuts_table(found: Inspection) -> Table:
    probed = found.shortcuts
    table = make_table("predicts the class alone", "AUC", "", right=["AUC"])
    for probe in probed.probes:
        if probe.auc is None:
            continue
        bar = "█" * round(2 * _BAR * max(probe.auc - 0.5, 0))
        table.add_row(probe.name, f"{probe.auc:.2f}", bar)
    return table


def _shortcuts_footnote(found: Inspection) -> str:
    probed = found.shortcuts
    text = (
        f"On {probed.images:,} images, {probed.folds}-fold with groups and duplicates whole; "
        f"chance is 0.50 and reaches {probed.chance:.2f}."
    )
    if same := [probe.name for probe in probed.probes if probe.auc is None]:
        text += f" The same for every image: {', '.join(same)}."
    if probed.left_out:
        text += f" Too few images to probe: {', '.join(probed.left_out)}."
    return text


def _means_table(found: Inspection) -> Table:
    """Return the mean and standard deviation over images of each channel's mean, by class."""
    from ganaug.inspection import CHANNELS

    by_class = list(found.channel_means.items())[:_CLASSES_LISTED]
    present = [name for name in CHANNELS if any(name in channels for _, channels in by_class)]
    columns = [*present, "grey: median,\n5 to 95 %"]
    low, high = found.value_range
    table = make_table("image means", *columns, right=columns)
    for name, channels in by_class:
        cells = [_numbers("{mean} ± {sd}", channels.get(each), high - low) for each in present]
        cells.append(_numbers("{median}, {p5} to {p95}", channels.get("grey"), high - low))
        table.add_row(name, *cells)
    return table


def _numbers(text: str, values: dict[str, float] | None, span: float) -> str:
    """Fill in numbers, with decimals where the value range spans little."""
    if values is None:
        return "-"
    decimals = 0 if span >= 100 else 3
    return text.format(**{name: f"{value:.{decimals}f}" for name, value in values.items()})
