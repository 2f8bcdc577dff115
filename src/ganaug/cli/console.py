"""What commands print: results on stdout, progress on stderr, tables that fit 80 columns."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["command", "facts", "line", "make_table", "output", "print_json", "status", "stderr"]


def output() -> Console:
    """Return a console on stdout. It takes text as it is: a class may be called ``[bold]``."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def stderr() -> Console:
    """Return a console on stderr, for progress."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, stderr=True)


def line(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.splitlines())


def command(*words: object) -> str:
    """Return a command as a shell takes it."""
    return shlex.join(str(word) for word in words)


def print_json(value: Any) -> None:
    """Print a value as JSON for a program to read."""
    print(json.dumps(value, indent=2))


def make_table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """Return an empty table; columns in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Return names and values in two columns."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    return table


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show what is being done, on a terminal only."""
    console = stderr()
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield
