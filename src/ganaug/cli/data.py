"""``ganaug data``: look at, split and cut image sets."""

from __future__ import annotations

import typer

from ganaug.cli import inspect, patches, split
from ganaug.cli.groups import make_group

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug data inspect photos/

  ganaug data split scans/labels.csv --out split.csv

  ganaug data patches films/ --boxes boxes.csv --out patches --size 128"""

group = make_group("data", summary="Look at, split and cut image sets.", epilog=_EPILOG)
inspect.register(group)
patches.register(group)
split.register(group)


def register(app: typer.Typer) -> None:
    """Add the group to an app."""
    app.add_typer(group)
