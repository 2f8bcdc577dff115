"""Groups of commands, such as ``ganaug plugins``."""

from __future__ import annotations

import typer

__all__ = ["make_group"]


def make_group(name: str, *, summary: str, epilog: str) -> typer.Typer:
    """Return an empty group of commands; alone, it prints its help."""
    group = typer.Typer(name=name, help=summary, epilog=epilog)

    @group.callback(invoke_without_command=True)
    def print_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            print(context.get_help())

    return group
