"""``ganaug plugins``: what is installed, whether it keeps its promises, and a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug.cli.console import command, facts, make_table, output, print_json
from ganaug.cli.groups import make_group
from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from ganaug.registry import Listing, Registry
    from ganaug.testing import CheckResult

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug plugins list

  ganaug plugins show dcgan

  ganaug plugins new mygan

  ganaug plugins check mygan"""

group = make_group(
    "plugins", summary="See what is installed, check it, begin one of your own.", epilog=_EPILOG
)


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

    listings = _named(name, Registry.load())
    if json:
        print_json([_described(item) | {"fields": _fields(item)} for item in listings])
        return
    for listing in listings:
        _print_listing(listing)


@group.command(
    epilog="[bold]Examples[/bold]\n\n  ganaug plugins check dcgan --set width=8\n\n"
    "  ganaug plugins check csv --location photos/labels.csv"
)
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A plugin's name.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="A field of its config, as for fit. Repeatable."
        ),
    ] = None,
    location: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Something that a dataset plugin opens."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="The side of the images that a generator or feature extractor is tried with.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Check whether a plugin keeps the promises of its kind; exits 2 when it does not."""
    from ganaug.registry import Registry
    from ganaug.testing import checks_for

    registry = Registry.load()
    kinds = dict.fromkeys(listing.kind for listing in _named(name, registry))
    listings = [registry.catalogue(kind).find(name) for kind in kinds]
    only = len(listings) == 1  # several kinds of one name: each is given what is for it
    bound = [
        checks_for(
            each.record,
            settings=_assigned(each, settings or []) if only or each.kind != "studies" else {},
            location=location,
            size=size if only or each.kind in ("generators", "feature_extractors") else None,
            owner=each.provider,
        )
        for each in listings
    ]
    failed = 0
    documents = []
    for listing, checks in zip(listings, bound, strict=True):
        results = [check.result() for check in checks]
        failed += sum(not result.passed for result in results)
        if json:
            documents.append({**_described(listing), "checks": [asdict(r) for r in results]})
        else:
            _print_results(listing, results)
    if json:
        print_json(documents)
    if failed:
        raise typer.Exit(2)


@group.command(epilog="[bold]Example[/bold]\n\n  ganaug plugins new mygan")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the generator, such as mygan.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder to write ganaug-NAME into.")
    ] = Path(),
) -> None:
    """Write a new generator plugin: a distribution that trains, with tests that pass."""
    from ganaug.registry import Registry
    from ganaug.scaffold import write_plugin

    generators = Registry.load().generators
    if name in generators:
        raise ConfigError(f"There is a generator {name!r} already. Choose another name.")
    path = write_plugin(name, out)
    output().print(
        f"Wrote {path}. Its generator is src/ganaug_{name.replace('-', '_')}/__init__.py. Next:\n"
        f"  {command('pip', 'install', '--editable', _as_path(path))}\n"
        f"  {command('ganaug', 'plugins', 'check', name)}",
        soft_wrap=True,
    )


def _as_path(path: Path) -> str:
    """Return a path that pip does not take for a distribution's name."""
    return str(path) if path.is_absolute() or path.parts[0] == ".." else f"./{path}"


def _named(name: str, registry: Registry) -> list[Listing]:
    """Return what has that name, of whatever kind."""
    from ganaug.registry import unknown_plugin

    found = [listing for listing in registry.listings if listing.name == name]
    if not found:
        names = sorted({listing.name for listing in registry.listings})
        raise unknown_plugin(name, "plugin", names, registry.broken)
    return found


def _assigned(listing: Listing, settings: list[str]) -> dict[str, Any]:
    """Return ``FIELD=VALUE`` texts as fields of a plugin's config."""
    assignments = {}
    for text in settings:
        field, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set takes FIELD=VALUE; got {text!r}.")
        assignments[field] = value
    if not assignments:
        return {}
    config = getattr(listing.record, "config", None)
    if config is None:
        raise ConfigError("A study has no fields to set.")
    given: dict[str, Any] = config.from_strings(assignments).to_fields()
    return {name: given[name] for name in assignments if name in given}


def _print_results(listing: Listing, results: Sequence[CheckResult]) -> None:
    console = output()
    table = make_table("check", "", "promise", title=f"{listing.name}, {listing.provider}")
    for result in results:
        table.add_row(result.name, "passed" if result.passed else "FAILED", result.promise)
    console.print(table)
    for result in results:
        if result.reason is not None:
            console.print(result.reason, "\n", soft_wrap=True)
    passed = sum(result.passed for result in results)
    console.print(f"{passed} of {len(results)} checks passed.")


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
