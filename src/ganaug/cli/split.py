"""``ganaug data split``: which images train, which validate, and which are held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganaug.cli.console import command, facts, make_table, output, print_json, status
from ganaug.cli.opening import AllowBurnedIn, Data, Open, Window, open_fields
from ganaug.cli.rows import DEFAULT_HOLDOUT
from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from ganaug.spec import LabelledImages

__all__ = ["register"]

_EPILOG = """[bold]Examples[/bold]

  ganaug data split scans/labels.csv --out split.csv

  ganaug data split photos/ --out split.csv --holdout 0.3 --validation 0

  ganaug fit photos/ --split split.csv --out runs/photos"""

_DEFAULT_VALIDATION = 0.1


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(epilog=_EPILOG)(split)


def split(
    data: Data,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The CSV file to write: id, label, group, split.")
    ],
    holdout: Annotated[
        float | None,
        typer.Option(
            metavar="F", help="Fraction of all images to hold out; 0.2 unless the source says."
        ),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            metavar="F", help="Fraction of all images to validate on; 0.1 unless the source says."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="The same seed gives the same split.")
    ] = 0,
    anew: Annotated[
        bool,
        typer.Option("--anew", help="Divide images that the source divides itself all the same."),
    ] = False,
    near_duplicates: Annotated[
        bool,
        typer.Option(
            "--near-duplicates/--no-near-duplicates",
            help="Look for images that are the same or nearly so, and keep them together.",
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    fields: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
) -> None:
    """Divide images into training, validation and holdout, by class, and write who is what.

    Groups stay whole, and so do clusters of near duplicates.
    """
    from ganaug.files import check_absent
    from ganaug.registry import Registry
    from ganaug.sources import open_images
    from ganaug.splits import split_rows, write_splits

    _check_fractions(holdout, validation)
    check_absent(out)
    opening = open_fields(fields, window, allow_burned_in)
    with status("Reading images"):
        images = open_images(data, Registry.load(), opening)
        if anew:
            images = replace(images, splits=None)
        held, validating = _fractions(images, holdout, validation)
        clusters = _near_duplicates(images) if near_duplicates else ()
    splits = split_rows(
        images, holdout=held, validation=validating, random_state=seed, clusters=clusters
    )
    write_splits(out, images, splits)
    if json:
        ids = [[images.ids[row] for row in rows] for rows in clusters] if near_duplicates else None
        counts = _counts(images, splits)
        print_json({"data": data, "out": str(out), "counts": counts, "near_duplicates": ids})
        return
    _print(images, splits, clusters if near_duplicates else None)
    words = [word for name, value in opening.items() for word in ("--open", f"{name}={value}")]
    use = command("ganaug", "fit", data, *words, "--split", out, "--out", "RUN")
    output().print(f"Wrote {out}. Use it:\n  {use}", soft_wrap=True)


def _check_fractions(holdout: float | None, validation: float | None) -> None:
    for name, fraction in (("--holdout", holdout), ("--validation", validation)):
        if fraction is not None and not 0.0 <= fraction < 1.0:
            raise ConfigError(f"{name} must be a fraction, at least 0 and below 1; got {fraction}.")


def _fractions(
    images: LabelledImages, holdout: float | None, validation: float | None
) -> tuple[float, float]:
    """Return the fractions as `split_rows` takes them: of all rows, and of those that remain.

    Raises ConfigError when the source says itself what was asked for, or nothing would be left.
    """
    given = images.splits or ()
    if given and holdout is not None:
        raise _decided("holdout", "--holdout")
    held = DEFAULT_HOLDOUT if holdout is None else holdout
    if "validation" in given:
        if validation is not None:
            raise _decided("validation", "--validation")
        return held, 0.0
    validating = _DEFAULT_VALIDATION if validation is None else validation
    remaining = given.count("training") / len(given) if given else 1.0 - held
    if validating >= remaining:
        left = f"--holdout {held:g} leaves" if not given else "the source's own training rows are"
        raise ConfigError(
            f"--validation {validating:g} leaves nothing to train on: {left} {remaining:g} of all "
            "images. Give a smaller fraction."
        )
    return held, validating / remaining


def _decided(name: str, option: str) -> ConfigError:
    return ConfigError(
        f"This source says itself which images are {name} rows, so {option} cannot be applied. "
        "Leave it out, or divide all images anew with --anew."
    )


def _near_duplicates(images: LabelledImages) -> tuple[tuple[int, ...], ...]:
    from ganaug.duplicates import find_duplicates
    from ganaug.hashes import hash_images

    return find_duplicates(images, hash_images(images)).near


def _counts(images: LabelledImages, splits: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return images a class and split."""
    from ganaug.splits import SPLITS

    found = Counter(zip(images.labels.tolist(), splits, strict=True))
    return {
        name: {split_name: found[index, split_name] for split_name in SPLITS}
        for index, name in enumerate(images.class_names)
    }


def _print(
    images: LabelledImages, splits: Sequence[str], clusters: Sequence[Sequence[int]] | None
) -> None:
    from ganaug.splits import SPLITS, kept_whole

    table = make_table("class", *SPLITS, right=SPLITS)
    counts = _counts(images, splits)
    totals = {name: sum(row[name] for row in counts.values()) for name in SPLITS}
    for label, row in counts.items():
        table.add_row(label, *(f"{row[name]:,}" for name in SPLITS))
    table.add_section()
    table.add_row(
        "all", *(f"{totals[name]:,} ({totals[name] / len(splits):.1%})" for name in SPLITS)
    )
    output().print(table)
    groups, look_alikes = kept_whole(images, clusters or ())
    if clusters is None:
        look_alikes = "not looked for"
    notes = [("Note", note) for note in _notes(counts, totals)]
    output().print(facts([("Groups kept whole", groups), ("Near duplicates", look_alikes), *notes]))


def _notes(counts: dict[str, dict[str, int]], totals: dict[str, int]) -> list[str]:
    """Return which classes have no rows of a split that others have."""
    notes = []
    for split_name, total in totals.items():
        without = [
            name for name, row in counts.items() if any(row.values()) and not row[split_name]
        ]
        if total and without:
            notes.append(
                f"No {split_name} rows: {', '.join(without)}. Each class keeps a training row, "
                "and what belongs together is not divided."
            )
    return notes
