"""``ganaug reader-study``: a page on which people tell a run's images from real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug.cli.console import command, facts, make_table, output, print_json, status
from ganaug.cli.opening import AllowBurnedIn, Open, Window, open_fields
from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from ganaug.readers.study import ReaderStudy
    from ganaug.spec import LabelledImages

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug reader-study runs/photos --data photos/ --out out/readers -n 60

  ganaug reader-study --score answers-ab.csv --score answers-cd.csv --out out/readers"""

_PAGE, _KEY = "study.html", "key.csv"


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("reader-study", epilog=_EPILOG)(reader_study)


def reader_study(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A finished run directory; not for --score."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="The images that the run was fitted on."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder to write; with --score, where its key is."),
    ] = None,
    n: Annotated[
        int, typer.Option("-n", metavar="N", help="Images to show, half of them real; even.")
    ] = 60,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Show this class only. Repeatable."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A CSV file (id, split) of your own, whose holdout rows are shown; they must not "
            "overlap with what the run was trained on. The run's own unless given.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="The same seed makes the same study.")
    ] = 0,
    score: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Score answers instead of making a study. Repeatable."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The study's key.csv; looked for in --out, or beside the answers."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    open_: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
) -> None:
    """Write a page on which people tell real images from synthetic ones; score their answers.

    study.html shows held-out images and synthetic ones blinded, in random order, at the size that
    the generator was trained at, and lets each reader download answers. It needs no network.
    key.csv says which is which: keep it from the readers.
    """
    from ganaug.files import check_absent, new_folder, write_text
    from ganaug.readers.study import make_study, render_key, render_page
    from ganaug.registry import Registry
    from ganaug.runs import Run
    from ganaug.sources import check_outside, open_images
    from ganaug.splits import splits_from_file

    if score:
        from ganaug.cli.reader_scores import print_scores

        if run is not None or data is not None:
            raise ConfigError(
                "--score reads answers and the study's key, no run and no images: leave out RUN "
                "and --data, or leave out --score to make a study."
            )
        print_scores(score, _key_path(score, key, out), json=json)
        return
    if run is None or data is None or out is None:
        given = {"RUN": run, "--data DATA": data, "--out DIR": out}
        missing = ", ".join(name for name, value in given.items() if value is None)
        raise ConfigError(
            f"A reader study needs {missing}: ganaug reader-study RUN --data DATA --out DIR. To "
            "score answers, give --score FILE."
        )
    if key is not None:
        raise ConfigError("--key is for scoring answers: give --score FILE with it.")
    check_absent(out)
    check_outside(out, data)
    opened, registry = Run.open(run), Registry.load()
    with status("Reading images"):
        given_fields = open_fields(open_, window, allow_burned_in)
        images = open_images(data, registry, {**opened.config.source_fields, **given_fields})
        splits = None if split is None else splits_from_file(images, split)
        holdout = opened.held_out(images, splits)
        model = opened.read_model(registry).at_trained_size()
        study = make_study(holdout, model, n, classes=classes or (), random_state=seed)
    with new_folder(out) as folder:
        write_text(folder / _PAGE, render_page(study))
        write_text(folder / _KEY, render_key(study))
    if json:
        print_json(_study_json(study, out))
    else:
        _print_study(study, holdout, out)


def _key_path(paths: list[Path], key: Path | None, out: Path | None) -> Path:
    if key is not None:
        return key
    folders = [out] if out is not None else [path.parent for path in paths]
    for folder in folders:
        if (folder / _KEY).is_file():
            return folder / _KEY
    places = [f"{str(folder)!r}" if folder.name else "this folder" for folder in folders]
    raise ConfigError(
        f"There is no {_KEY} in {', '.join(dict.fromkeys(places))}. Say where the study's is: "
        "--key FILE, or --out DIR for the study's folder."
    )


def _study_json(study: ReaderStudy, out: Path) -> dict[str, Any]:
    from ganaug.readers.scores import smallest_detectable_auc

    half = len(study.images) // 2
    return {
        "study": study.id,
        "page": str(out / _PAGE),
        "key": str(out / _KEY),
        "images": {"real": half, "synthetic": half},
        "counts": study.counts,
        "shown_at": {"height": study.height, "width": study.width},
        "smallest_detectable_auc": smallest_detectable_auc(half, half),
    }


def _print_study(study: ReaderStudy, holdout: LabelledImages, out: Path) -> None:
    from ganaug.cli.reader_scores import detectable

    half = len(study.images) // 2
    right = ["holdout", "real", "synthetic"]
    table = make_table("class", *right, right=right)
    for name, count in study.counts.items():
        table.add_row(name, f"{holdout.counts[name]:,}", f"{count:,}", f"{count:,}")
    page, key = out / _PAGE, out / _KEY
    pairs = [
        ("For readers", f"{page} opens in any browser, without a network; they send answers back"),
        ("For you", f"{key} says which is which; keep it from the readers"),
        ("Shown at", f"{study.width}x{study.height}, as the generator was trained"),
        ("Can show", detectable(half, half)),
    ]
    if absent := [name for name, count in study.counts.items() if not count]:
        remedy = "classes are shown as often as the holdout has them; --class shows some alone"
        pairs.append(("Note", f"No images of {', '.join(absent)}: {remedy}"))
    console = output()
    console.print(table)
    console.print(facts(pairs))
    score = command("ganaug", "reader-study", "--score", "ANSWERS.csv", "--out", out)
    console.print(f"Study {study.id}. When answers are there:\n  {score}", soft_wrap=True)
