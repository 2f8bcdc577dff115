"""Write commands.md from the command line itself: ``python docs/write_commands.py``."""

from __future__ import annotations

import enum
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo

from ganaug.cli import app

__all__ = ["render"]

_PAGE = Path(__file__).with_name("commands.md")

_HEAD = """<!-- Written by write_commands.py; a test compares the two. -->

# Commands

`DATA` is `[PLUGIN:]LOCATION`: a folder of class folders, a `labels.csv` or a folder that has one,
an `.npz`, DICOM or NIfTI files or a folder of them, or `digits`. Without a plugin's name, whoever
knows the location best opens it. See [Medical images](medical.md) for `--open` and `--window`.

Exit codes: 0 done, also when a stopping policy fired; 1 a bug in ganaug; 2 what was given is wrong,
or the disk is full (one line, nothing written); 3 interrupted or given up, with everything saved.
"""


def render() -> str:
    """Return the page: a section for each command, with its options, examples and notes."""
    return "\n".join([_HEAD, *(_section(*command) for command in _commands(app, "ganaug"))])


def _commands(
    group: typer.Typer, prefix: str
) -> Iterator[tuple[str, Callable[..., Any], str, str]]:
    """Yield the name, function, help and epilog of each command."""
    for command in group.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        text = command.help or inspect.getdoc(command.callback) or ""
        yield f"{prefix} {name}", command.callback, text, command.epilog or ""
    for info in group.registered_groups:
        assert info.typer_instance is not None
        name = info.name or info.typer_instance.info.name
        yield from _commands(info.typer_instance, f"{prefix} {name}")


def _section(name: str, function: Callable[..., Any], summary: str, epilog: str) -> str:
    hints = typing.get_type_hints(function, include_extras=True)
    rows = [
        _row(parameter, hints[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
    ]
    needed = [f"{label} {value}".strip() for label, value, _, required in rows if required]
    examples = [line.strip() for line in epilog.splitlines() if line.startswith("  ")]
    notes = [
        re.sub(r"\[/?bold\]", "**", line)
        for line in epilog.splitlines()
        if line and not line.startswith("  ") and not re.fullmatch(r"\[bold\].*\[/bold\]", line)
    ]
    table = [f"| `{' '.join([label, value]).strip()}` | {text} |" for label, value, text, _ in rows]
    return "\n".join(
        [
            f"## `{name}`\n",
            f"{summary}\n",
            *(["```sh", *examples, "```\n"] if examples else []),
            f"Needed: {', '.join(f'`{each}`' for each in needed)}.\n" if needed else "",
            *(["| | |", "|---|---|", *table, ""] if table else []),
            *(f"{note}\n" for note in notes),
        ]
    )


def _row(parameter: inspect.Parameter, hint: Any) -> tuple[str, str, str, bool]:
    """Return the label, the value's name, the help with the default, and whether it is needed."""
    kind, info = typing.get_args(hint)
    given = parameter.default
    # In Annotated, Typer takes the first name of an option for its default, and puts that right.
    names = [each for each in (info.default, *(info.param_decls or ())) if str(each)[:1] == "-"]
    label = ", ".join(names) or f"--{parameter.name.replace('_', '-')}"
    value = info.metavar or _choices(kind)
    text = re.sub(r"\\(\[)", r"\1", info.help or "").replace("|", r"\|")
    if not isinstance(given, bool | None) and given is not inspect.Parameter.empty:
        text += f" Default: `{given}`."
    if isinstance(info, ArgumentInfo):
        label, value = value or parameter.name.upper(), ""
    return label, value.replace("|", r"\|"), text, given is inspect.Parameter.empty


def _choices(kind: Any) -> str:
    """Return the choices of an enumeration, which may be optional."""
    for each in (kind, *typing.get_args(kind)):
        if isinstance(each, type) and issubclass(each, enum.Enum):
            return "|".join(member.value for member in each)
    return ""


if __name__ == "__main__":
    _PAGE.write_text(render(), encoding="utf-8")
