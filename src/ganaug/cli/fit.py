"""``ganaug fit``: its options. What it does is in `ganaug.cli.fit_run`."""

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
from ganaug.cli.requests import FitRequest

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug fit photos/ --out runs/photos --class rare --minutes 10

  ganaug fit scans/labels.csv --out runs/scans --size 64 --set loss=hinge

  ganaug fit photos/ --out runs/photos --resume --minutes 20"""

_MODEL, _LENGTH, _ROWS, _COMPUTING = "Model", "How long", "Images", "Computing"
_SCORES = "Scores during training"


class _Select(StrEnum):
    LAST = "last"
    AVERAGE = "average"
    BEST = "best"


class _Precision(StrEnum):
    AUTO = "auto"
    FULL = "32-true"
    BF16 = "bf16-mixed"


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog=_EPILOG)(fit)


def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Images, as \\[PLUGIN:]LOCATION: a folder of class folders, a labels.csv, "
            "an .npz, DICOM or NIfTI files, or digits.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run directory to write.")],
    generator: Annotated[
        str | None, typer.Option(metavar="NAME", help="Generator plugin.", rich_help_panel=_MODEL)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of the generator; ganaug plugins show NAME lists them. Repeatable.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=4,
            max=4096,
            help="Pixels a side to train at; the images' own size unless given.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    conditioning: Annotated[
        Conditioning | None,
        typer.Option(metavar="WAY", help=CONDITIONING_HELP, rich_help_panel=_MODEL),
    ] = None,
    select: Annotated[
        _Select | None,
        typer.Option(help="Which weights to hand out.", rich_help_panel=_MODEL),
    ] = None,
    filters: Annotated[
        list[Filter] | None,
        typer.Option("--filter", metavar="NAME", help=FILTER_HELP, rich_help_panel=_MODEL),
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(
            "--eval-every",
            metavar="N",
            min=1,
            help="Score the averaged weights on validation rows every N training images. 5,000 "
            "unless given, where --select best or a policy needs scores.",
            rich_help_panel=_SCORES,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="A metric to score by; the first decides what is best. kid unless given. "
            "Repeatable.",
            rich_help_panel=_SCORES,
        ),
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The features that metrics compare; random-conv unless given.",
            rich_help_panel=_SCORES,
        ),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write the history and sample grids for TensorBoard, too.",
            rich_help_panel=_SCORES,
        ),
    ] = False,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Training images to see, repeats counted; 100,000 unless --minutes is given. "
            "For each class, when there is a generator for each; a quarter of it for each class "
            "after pretraining.",
            rich_help_panel=_LENGTH,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M", help="Minutes of training, over all classes.", rich_help_panel=_LENGTH
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY",
            help="Stop early, at the first of these that has a reason: NAME or "
            "NAME:FIELD=VALUE,... such as loop-breaker, or several with and or or between them. "
            "Repeatable.",
            rich_help_panel=_LENGTH,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run; --images, --minutes and --stop may be new.",
            rich_help_panel=_LENGTH,
        ),
    ] = False,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Train on this class only; a pretraining sees all. Repeatable.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            metavar="F",
            help="Fraction of the images to hold out, by class and with groups whole; 0.2 unless "
            "given.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A CSV file of columns id and split, instead of --holdout.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="S", min=0, help="Seed of everything; 0 unless given.", rich_help_panel=_ROWS
        ),
    ] = None,
    open_: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Images a step; the generator's own choice unless given.",
            rich_help_panel=_COMPUTING,
        ),
    ] = None,
    precision: Annotated[
        _Precision | None,
        typer.Option(help="bf16 where it is fast, unless given.", rich_help_panel=_COMPUTING),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="D", help="auto, or a torch device such as cpu.", rich_help_panel=_COMPUTING
        ),
    ] = "auto",
) -> None:
    """Train a generator on labelled images and write a run directory.

    A fifth of the images is held out for final scores, unless told otherwise. Where scores are
    needed during training, a tenth of the others is put aside for them.

    Ctrl-C saves; --resume goes on where it stopped.
    """
    request = FitRequest(
        data=data,
        out=out,
        fields=open_fields(open_, window, allow_burned_in),
        generator=generator,
        settings=tuple(settings or ()),
        size=size,
        conditioning=conditioning and conditioning.value,
        select=select and select.value,
        filters=None if filters is None else filter_names(filters),
        eval_every=eval_every,
        metrics=None if metrics is None else tuple(metrics),
        extractor=extractor,
        total_images=images,
        minutes=minutes,
        stop=None if stop is None else tuple(stop),
        classes=tuple(classes or ()),
        holdout=holdout,
        split=split,
        random_state=seed,
        batch_size=batch_size,
        precision=precision and precision.value,
        device=device,
        tensorboard=tensorboard,
    )
    from ganaug.cli.fit_run import fit_run, resume_run

    code = resume_run(request) if resume else fit_run(request)
    if code:
        raise typer.Exit(code)
