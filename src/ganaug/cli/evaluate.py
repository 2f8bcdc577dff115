"""``ganaug evaluate``: scores of a run's synthetic images, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug.cli.opening import AllowBurnedIn, Open, Window, open_fields

if TYPE_CHECKING:
    from ganaug.evaluation import Evaluation
    from ganaug.runs import Run

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug evaluate runs/photos --data photos/

  ganaug evaluate runs/photos --data photos/ --metric kid --metric prc:neighbourhood=5

  ganaug evaluate runs/photos --data other/ --split split.csv --out out/other

nearest.png shows images of training and holdout. It is written beside the run, as \
RUN-nearest.png, since a run holds no real image; with --out, into DIR."""

#: The figure that shows real images, and so has no place in a run.
_NEAREST = "nearest.png"


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog=_EPILOG)(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run directory.")],
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA", help="The images that the run was fitted on; with --split, any."
        ),
    ],
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="A metric as NAME or NAME:FIELD=VALUE,... instead of the default set; ganaug "
            "plugins list shows them. Repeatable.",
        ),
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What tells how alike images are, as NAME or NAME:FIELD=VALUE,... A classifier "
            "that learns the run's classes unless given, or random-conv for one class.",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="NAME", help="Score this class only; all unless given. Repeatable."
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            metavar="N",
            min=1,
            help="Synthetic images in all; as many as are held out of each class unless given.",
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A CSV file (id, split) of your own: its holdout rows are scored against, and "
            "must not overlap with what the run was trained on. Unless given, rows are what they "
            "were for the run.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="The same seed gives the same scores.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A new folder to write; RUN/evaluation unless given, and then card.md and "
            "RUN-nearest.png as well.",
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw figures, or scores alone.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    open_: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
) -> None:
    """Score a run's synthetic images against real ones that it has not seen.

    Every score comes with a 95 % interval and with its floor: what real images get in place of
    the synthetic ones. Writes scores.json and figures, of which nearest.png shows real images and
    is written beside the run. Images are opened as they were for the run, unless told otherwise.
    """
    from ganaug.cli.console import output, print_json, status
    from ganaug.cli.evaluation_report import print_evaluation, record_of
    from ganaug.evaluation import evaluate_run
    from ganaug.files import check_absent, check_place
    from ganaug.registry import Registry
    from ganaug.runs import Run
    from ganaug.sources import check_outside, open_images
    from ganaug.splits import splits_from_file

    if out is not None:
        check_absent(out)
        check_outside(out, data)
    opened, registry = Run.open(run), Registry.load()
    folder = opened.evaluation if out is None else out
    check_place(folder / "scores.json")
    if out is None and figures:
        check_place(opened.nearest)
        check_outside(opened.nearest, data)
    with status("Reading images"):
        given = open_fields(open_, window, allow_burned_in)
        images = open_images(data, registry, {**opened.config.source_fields, **given})
        splits = None if split is None else splits_from_file(images, split)
    with status("Scoring"):
        evaluation = evaluate_run(
            opened,
            images,
            registry,
            metrics=metrics or (),
            extractor=extractor,
            splits=splits,
            classes=classes or (),
            n=n,
            random_state=seed,
        )
    pictures: Mapping[str, bytes] = {}
    tsne = None
    if figures:
        with status("Drawing"):
            pictures, tsne = _draw(opened, evaluation, own_rows=split is None)
    options = {
        "metrics": metrics or [],
        "extractor": extractor,
        "classes": classes or [],
        "n": n,
        "split": None if split is None else str(split),
        "seed": seed,
        "open": given,
    }
    record = record_of(evaluation, opened, data=data, options=options, tsne=tsne)
    if out is None:
        _write_into(opened, evaluation, record, pictures)
    else:
        _write_new(out, record, pictures)
    if json:
        print_json(record)
        return
    print_evaluation(evaluation)
    within = [name for name in pictures if out is not None or name != _NEAREST]
    output().print(f"\nWritten to {folder}: {', '.join(['scores.json', *within])}.", soft_wrap=True)
    if _NEAREST in pictures:
        _say_where_real_images_are(opened, out)


def _say_where_real_images_are(run: Run, out: Path | None) -> None:
    from ganaug.cli.console import output

    text = f"{run.nearest} shows real images, and therefore lies outside the run, which holds none."
    if out is not None:
        text = f"{out / _NEAREST} shows real images: mind who sees it."
    output().print(text, soft_wrap=True)


def _draw(
    run: Run, evaluation: Evaluation, *, own_rows: bool
) -> tuple[Mapping[str, bytes], Mapping[str, Any] | None]:
    """Draw the figures, and keep the features that they needed."""
    from ganaug.evaluation import keep_features
    from ganaug.evaluation_figures import draw_figures

    drawn = draw_figures(
        evaluation.roles,
        evaluation.space,
        run.recorded_histories(),
        run=run.path.resolve().name,
        own_rows=own_rows,
        random_state=evaluation.seed,
    )
    keep_features(evaluation.space, run)
    return drawn.files, drawn.tsne


def _write_into(
    run: Run, evaluation: Evaluation, record: Mapping[str, Any], pictures: Mapping[str, bytes]
) -> None:
    """Write into the run, in place of what an earlier evaluation left there, and its card.

    What shows real images is written beside it.
    """
    from ganaug.cards import render_scores, with_scores
    from ganaug.evaluation_figures import FIGURES
    from ganaug.files import write_bytes

    folder, card = run.evaluation, run.path / "card.md"
    own = {name: content for name, content in pictures.items() if name != _NEAREST}
    files = {folder / name: content for name, content in _contents(record, own).items()}
    if card.exists():
        scores = render_scores(
            evaluation.scores,
            skipped=evaluation.skipped,
            notes=evaluation.notes,
            seed=evaluation.seed,
        )
        files[card] = with_scores(card.read_text("utf-8"), scores).encode()
    stale = [folder / name for name in FIGURES if name not in own]
    try:
        for path in stale:
            path.unlink(missing_ok=True)
        if _NEAREST in pictures:
            write_bytes(run.nearest, pictures[_NEAREST])
        else:
            with suppress(OSError):
                run.nearest.unlink()
        for path, content in files.items():
            write_bytes(path, content)
    finally:  # a full disk leaves some of them as they were
        run.reseal([*stale, *files])


def _write_new(out: Path, record: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Write a folder of its own, whole or not at all."""
    from ganaug.files import new_folder, write_bytes

    with new_folder(out) as folder:
        for name, content in _contents(record, pictures).items():
            write_bytes(folder / name, content)


def _contents(record: Mapping[str, Any], pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files by name; the scores come last, when what belongs to them is there."""
    import json

    return {**pictures, "scores.json": f"{json.dumps(record, indent=2)}\n".encode()}
