"""``ganaug data``: look at image sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ganaug.cli.console import facts, make_table, output, print_json, status

if TYPE_CHECKING:
    from ganaug.inspection import Inspection

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug data inspect photos/

  ganaug data inspect csv:scans/labels.csv --json"""

_BAR = 24
_CLASSES_LISTED = 40

group = typer.Typer(name="data", help="Look at image sets.", epilog=_EPILOG)


def register(app: typer.Typer) -> None:
    """Add the group to an app."""
    app.add_typer(group)


@group.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@group.command(epilog=_EPILOG)
def inspect(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Images, as \\[PLUGIN:]LOCATION."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Count classes, sizes, bit depths, values, groups and splits; every image is read."""
    from ganaug.inspection import inspect_images
    from ganaug.registry import Registry
    from ganaug.sources import open_images

    with status("Reading images"):
        inspection = inspect_images(open_images(data, Registry.load()))
    if json:
        print_json({"data": data, **inspection.to_json()})
    else:
        _print(data, inspection)


def _print(data: str, found: Inspection) -> None:
    console = output()
    classes = f"{len(found.counts)} class{'es' * (len(found.counts) > 1)}"
    console.print(f"{data}: {found.images:,} images in {classes}", soft_wrap=True, style="bold")
    table = make_table("class", "images", "share", "", right=["images", "share"])
    most = max(found.counts.values())
    for name, count in list(found.counts.items())[:_CLASSES_LISTED]:
        bar = "█" * max(round(_BAR * count / most), int(count > 0))
        table.add_row(name, f"{count:,}", f"{found.shares[name]:.1%}", bar)
    if len(found.counts) > _CLASSES_LISTED:
        table.add_row(f"and {len(found.counts) - _CLASSES_LISTED} more")
    console.print(table)
    console.print(facts(_facts(found)))


def _facts(found: Inspection) -> list[tuple[str, str]]:
    sizes = [f"{width}x{height} ({n:,})" for height, width, n in found.sizes]
    if found.distinct_sizes > len(sizes):
        sizes.append(f"and {found.distinct_sizes - len(sizes):,} more sizes")
    depths = [f"{_channels(channels)} of {dtype} ({n:,})" for channels, dtype, n in found.modes]
    low, high = found.value_range
    values = f"{low:g} to {high:g} possible"
    if found.values_found:
        values += f", {found.values_found[0]:g} to {found.values_found[1]:g} found"
    pairs = [
        ("Imbalance", f"{found.imbalance_ratio:,.1f} : 1, the largest class to the smallest"),
        ("Width x height", ", ".join(sizes)),
        ("Channels", ", ".join(depths)),
        ("Values", values),
        ("Groups", _groups(found)),
        ("Splits", _splits(found)),
    ]
    return pairs + [("Note", note) for note in _notes(found)]


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count > 1)}"


def _groups(found: Inspection) -> str:
    if found.groups is None:
        return "none: every image counts as independent of the others"
    without = found.images_without_group
    return f"{found.groups:,}" + (f", and {without:,} images without one" if without else "")


def _splits(found: Inspection) -> str:
    if found.splits is None:
        return "none in the source: ganaug fit holds out a fifth"
    return ", ".join(f"{name} {count:,}" for name, count in found.splits.items())


def _notes(found: Inspection) -> list[str]:
    """Return what stands in the way of `ganaug fit`, and what to do about it."""
    notes = []
    if found.distinct_sizes > 1:
        notes.append("Sizes differ: give ganaug fit a --size.")
    if len(found.modes) > 1:
        notes.append("Channels or bit depths differ: convert all images to one first.")
    if found.nonfinite_images:
        notes.append(
            f"{found.nonfinite_images:,} images hold NaN or infinity: repair or remove them."
        )
    if small := [name for name, count in found.counts.items() if count < 2]:
        notes.append(f"Too few images to learn from: {', '.join(small)}.")
    return notes
