"""``ganaug data``: look at image sets."""

from __future__ import annotations

import typer

from ganaug.cli import inspect, patches, split
from ganaug.cli.groups import make_group

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug data inspect photos/

  ganaug data inspect csv:scans/labels.csv --json"""

group = make_group("data", summary="Look at image sets.", epilog=_EPILOG)
inspect.register(group)
patches.register(group)
split.register(group)


def register(app: typer.Typer) -> None:
    """Add the group to an app."""
    app.add_typer(group)
