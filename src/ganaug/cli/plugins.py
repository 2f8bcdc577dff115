"""``ganaug plugins``: what is installed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug.cli.console import facts, make_table, output, print_json
from ganaug.cli.groups import make_group
from ganaug.errors import UnknownPluginError, nearest

if TYPE_CHECKING:
    from ganaug.registry import Listing, Registry

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug plugins list

  ganaug plugins show dcgan"""

group = make_group("plugins", summary="See what is installed.", epilog=_EPILOG)


def register(app: typer.Typer) -> None:
    """Add the group to an app."""
    app.add_typer(group)


@group.command("list", epilog="[bold]Example[/bold]\n\n  ganaug plugins list --json")
def list_(
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """List the plugins, who provides them, and those that could not be loaded."""
    from ganaug.registry import Registry

    registry = Registry.load()
    if json:
        print_json(
            {
                "plugins": [_described(listing) for listing in registry.listings],
                "broken": [dataclasses.asdict(broken) for broken in registry.broken],
            }
        )
        return
    _print_list(registry)


@group.command(epilog="[bold]Example[/bold]\n\n  ganaug plugins show dcgan")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A plugin's name.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Show what a plugin does and the fields that can be set."""
    from ganaug.registry import Registry

    registry = Registry.load()
    listings = [listing for listing in registry.listings if listing.name == name]
    if not listings:
        names = sorted({listing.name for listing in registry.listings})
        raise UnknownPluginError(
            f"No plugin is named {name!r}.{nearest(name, names)} Choose from {', '.join(names)}."
        )
    if json:
        print_json([_described(item) | {"fields": _fields(item)} for item in listings])
        return
    for listing in listings:
        _print_listing(listing)


def _described(listing: Listing) -> dict[str, Any]:
    return {
        "kind": listing.kind,
        "name": listing.name,
        "summary": listing.summary,
        "provider": listing.provider,
    }


def _print_list(registry: Registry) -> None:
    console = output()
    kinds = dict.fromkeys(listing.kind for listing in registry.listings)
    for kind in kinds:
        table = make_table("name", "summary", "provider", title=kind.replace("_", " "))
        for listing in registry.listings:
            if listing.kind == kind:
                table.add_row(listing.name, listing.summary, listing.provider)
        console.print(table)
    if registry.broken:
        table = make_table("entry point", "distribution", "reason", title="could not be loaded")
        for broken in registry.broken:
            table.add_row(broken.name, broken.distribution, broken.reason)
        console.print(table)


def _print_listing(listing: Listing) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console = output()
    console.print(
        facts(
            [
                ("Name", listing.name),
                ("Kind", listing.kind.replace("_", " ")),
                ("Summary", listing.summary),
                ("Provider", listing.provider),
            ]
        )
    )
    fields = _fields(listing)
    if not fields:
        console.print("It has no fields to set.\n")
        return
    console.print()
    for field in fields:
        console.print(Text(field["name"], "bold"), f"= {field['default']}", soft_wrap=True)
        for text in filter(None, (field["type"], field["description"])):
            console.print(Padding(text, (0, 0, 0, 4)))
    if listing.kind == "generators":
        console.print(f"\nSet them with: ganaug fit DATA --out RUN --set {fields[0]['name']}=...")


def _fields(listing: Listing) -> list[dict[str, str]]:
    from ganaug.cli.fields import describe_fields

    config = getattr(listing.record, "config", None)  # a study has none
    return [] if config is None else describe_fields(config)
