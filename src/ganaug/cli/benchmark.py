"""``ganaug benchmark``: its options. What it does is in `ganaug.cli.benchmark_run`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ganaug.cli.choices import (
    CONDITIONING_HELP,
    FILTER_HELP,
    Conditioning,
    Filter,
    filter_names,
)
from ganaug.cli.opening import AllowBurnedIn, Open, Window, open_fields

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug benchmark photos/ --out out/photos

  ganaug benchmark skin.npz --out out/skin --study ham-bcc --budget full

  ganaug benchmark skin.npz --out out/skin --study ham-bcc --budget full --resume"""

_COMPARED, _MUCH, _COMPUTING = "What is compared", "How much", "Computing"


class _Budget(StrEnum):
    SMALL = "small"
    FULL = "full"


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog=_EPILOG)(benchmark)


def benchmark(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Labelled images, as \\[PLUGIN:]LOCATION; all of them take part. Give them "
            "groups, such as patients, if they have any.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is compared, and how; any unless given. ganaug plugins list shows studies. "
            "Or a TOML file of your own.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    arms: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="NAME",
            help="An arm to compare instead of the study's own, such as oversample, or several at "
            "once, as classical+synthetic. Repeatable.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="ARM",
            help="What the others are compared with. Unless given, the arm without synthetic "
            "images that is best on validation images.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Instead of the study's classifier.", rich_help_panel=_COMPARED
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=8,
            help="Pixels a side for classifiers and generators, instead of the study's, or the "
            "images' own: large images take long.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Instead of the study's generator.", rich_help_panel=_COMPARED
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of the generator; ganaug plugins show NAME lists them. Repeatable.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    conditioning: Annotated[
        Conditioning | None,
        typer.Option(metavar="WAY", help=CONDITIONING_HELP, rich_help_panel=_COMPARED),
    ] = None,
    filters: Annotated[
        list[Filter] | None,
        typer.Option("--filter", metavar="NAME", help=FILTER_HELP, rich_help_panel=_COMPARED),
    ] = None,
    budget: Annotated[
        _Budget,
        typer.Option(
            help="The study's budget: small, to see where it goes, or full, to make a claim.",
            rich_help_panel=_MUCH,
        ),
    ] = _Budget.SMALL,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=2,
            help="Parts that the images are cut into, each of which is tested on once.",
            rich_help_panel=_MUCH,
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            metavar="R", min=1, help="How often they are cut anew.", rich_help_panel=_MUCH
        ),
    ] = None,
    fractions: Annotated[
        list[float] | None,
        typer.Option(
            "--fraction",
            metavar="F",
            help="Train on this fraction of the training groups, above 0 and at most 1. "
            "Repeatable, for curves by training size.",
            rich_help_panel=_MUCH,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Steps of each classifier.", rich_help_panel=_MUCH),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Training images that each generator sees, repeats counted.",
            rich_help_panel=_MUCH,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(metavar="S", min=0, help="Seed of splits, generators and classifiers."),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on in DIR, with the same options; --arm, --repeats and --fraction may be "
            "more.",
            rich_help_panel=_COMPUTING,
        ),
    ] = False,
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="loky, processes on this machine; sequential, one cell at a time; or "
            "dask:ADDRESS, a Dask cluster on which DATA and DIR have the same paths.",
            rich_help_panel=_COMPUTING,
        ),
    ] = "loky",
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Cells at a time, each with one thread; as many as there are cores unless given.",
            rich_help_panel=_COMPUTING,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="D", help="auto, or a torch device such as cpu.", rich_help_panel=_COMPUTING
        ),
    ] = "auto",
    pictures: Annotated[
        bool,
        typer.Option(
            help="Show real images, synthetic ones and what they look like in report.html."
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    open_: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
) -> None:
    """Find out whether synthetic images help a classifier, beside the usual remedies.

    Classifiers are trained on each arm's training images and tested on images of other groups, in
    repeated cross-validation; generators are trained within each training part. Results are
    compared with a reference, and said to help, to harm, or to show no benefit. Three folds
    twice over are a screening; claims are made at five by five.

    Ctrl-C keeps what is done; --resume goes on where it stopped.
    """
    from ganaug.cli.benchmark_request import BenchmarkRequest
    from ganaug.cli.benchmark_run import run_benchmark

    code = run_benchmark(
        BenchmarkRequest(
            data=data,
            out=out,
            fields=open_fields(open_, window, allow_burned_in),
            study=study,
            arms=tuple(arms or ()),
            reference=reference,
            classifier=classifier,
            size=size,
            generator=generator,
            settings=tuple(settings or ()),
            conditioning=conditioning and conditioning.value,
            filters=None if filters is None else filter_names(filters),
            budget=budget.value,
            folds=folds,
            repeats=repeats,
            fractions=tuple(fractions or ()),
            steps=steps,
            images=images,
            seed=seed,
            resume=resume,
            backend=backend,
            jobs=jobs,
            device=device,
            json=json,
            pictures=pictures,
        )
    )
    if code:
        raise typer.Exit(code)
