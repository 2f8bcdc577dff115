"""Options of every command that opens DATA, beyond where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ganaug.errors import ConfigError

__all__ = ["AllowBurnedIn", "Data", "Open", "Window", "assignments_of", "open_fields"]

_PANEL = "Opening"

Data = Annotated[str, typer.Argument(metavar="DATA", help="Images, as \\[PLUGIN:]LOCATION.")]

Open = Annotated[
    list[str] | None,
    typer.Option(
        "--open",
        metavar="FIELD=VALUE",
        help="A field of the dataset plugin, such as group_column=patient; ganaug plugins show "
        "NAME lists them. Repeatable.",
        rich_help_panel=_PANEL,
    ),
]

Window = Annotated[
    str | None,
    typer.Option(
        metavar="W",
        help="DICOM and NIfTI: the intensities to keep, as a preset such as brain, bone or lung, "
        "or as CENTRE,WIDTH. The file's own window unless given.",
        rich_help_panel=_PANEL,
    ),
]

AllowBurnedIn = Annotated[
    bool,
    typer.Option(
        "--allow-burned-in",
        help="DICOM: take files that declare text burned into their pixels.",
        rich_help_panel=_PANEL,
    ),
]


def open_fields(
    assignments: Sequence[str] | None, window: str | None = None, allow_burned_in: bool = False
) -> dict[str, str]:
    """Return the dataset plugin's fields that the options give, as text.

    Raises ConfigError for an assignment that is none, or a field that is given twice.
    """
    fields = assignments_of("--open", "group_column=patient", assignments or ())
    given = {"window": window, "allow_burned_in": "true" if allow_burned_in else None}
    for name, value in given.items():
        if value is None:
            continue
        if name in fields:
            raise ConfigError(f"Give --{name.replace('_', '-')} or --open {name}=..., not both.")
        fields[name] = value
    return fields


def assignments_of(option: str, example: str, texts: Sequence[str]) -> dict[str, str]:
    """Return ``FIELD=VALUE`` texts as a mapping. Raises ConfigError for anything else."""
    assignments: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{option} expects FIELD=VALUE, such as {example}; got {text!r}.")
        if name.strip() in assignments:
            raise ConfigError(f"{option} gives {name.strip()!r} twice; give it once.")
        assignments[name.strip()] = value.strip()
    return assignments
