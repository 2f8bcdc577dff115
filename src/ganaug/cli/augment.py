"""``ganaug augment``: a run's training images and synthetic ones, as a balanced folder."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug.cli.opening import AllowBurnedIn, Open, Window, open_fields
from ganaug.errors import ConfigError, DataError, RunError

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.runs import Run
    from ganaug.spec import LabelledImages

__all__ = [
    "Plan",
    "augment",
    "export_balanced",
    "parse_strategy",
    "plan_counts",
    "print_counts",
    "register",
    "rows_to_write",
    "stem_of",
]

_EPILOG = """[bold]Examples[/bold]

  ganaug augment photos/ --run runs/photos --out balanced/

  ganaug augment photos/ --run runs/photos --out more/ --sampling-strategy '{"rare": 600}'

  ganaug augment other/ --run runs/photos --out grown/ --split split.csv"""

_COLUMNS = ("file", "label", "group", "split", "is_synthetic", "source")


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog=_EPILOG)(augment)


def augment(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="The images that the run was fitted on; with --split, any."
        ),
    ],
    run: Annotated[Path, typer.Option(metavar="RUN", help="A finished run directory.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    sampling_strategy: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            help="imbalanced-learn's: auto, minority, not minority, all, a ratio for two classes, "
            "or final counts, '{\"rare\": 600}'. Unless given, every trained class grows to the "
            "largest one.",
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A CSV file (id, split) of your own: its training rows are written, and the "
            "others, on which you will evaluate, must not overlap with what the run was trained "
            "on. Unless given, rows are what they were for the run.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="The same seed draws the same images.")
    ] = 0,
    allow_memorised: Annotated[
        bool,
        typer.Option(
            "--allow-memorised",
            help="Use a run that was found to give near copies of its training images; those are "
            "dropped.",
        ),
    ] = False,
    open_: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
) -> None:
    """Write a run's training images and new ones beside them, by class, with manifest.csv.

    filters.json counts what the run's filters dropped, by class and reason.

    Held-out images are left out, for scoring what you train on the folder. Images are opened as
    they were for the run, unless told otherwise.
    """
    from ganaug.cli.console import output, status
    from ganaug.cli.exports import print_drops
    from ganaug.files import check_absent, new_folder
    from ganaug.registry import Registry
    from ganaug.runs import Run
    from ganaug.sources import check_outside, open_images

    check_absent(out)
    check_outside(out, data)
    strategy = None if sampling_strategy is None else parse_strategy(sampling_strategy)
    opened, registry = Run.open(run), Registry.load()
    model = opened.read_model(registry)
    check_memorised(model, run, allowed=allow_memorised)
    with status("Reading images"):
        given = open_fields(open_, window, allow_burned_in)
        fields = {**opened.config.source_fields, **given}
        images = open_images(data, registry, fields)
        training = rows_to_write(opened, images, split)
    plan = plan_counts(training, strategy, opened.config.class_names)
    check_channels(training, model)
    with new_folder(out) as folder:
        added = export_balanced(training, model, plan.to_add, folder, seed=seed, source=str(run))
    print_counts(training.counts, added)
    if plan.left:
        output().print(
            f"Left as they are, since the run was not trained on them: {', '.join(plan.left)}.",
            soft_wrap=True,
        )
    print_drops(model)
    output().print(
        f"{len(training) + sum(added.values()):,} images in {out}; manifest.csv says what each is.",
        soft_wrap=True,
    )


def rows_to_write(run: Run, images: LabelledImages, split: Path | None) -> LabelledImages:
    """Return the training rows: of a file that the caller made, or of the run itself.

    Raises LeakageError when rows that the file does not train on overlap with what the run was
    trained on, RunError for other images than the run's when there is no file, DataError for a
    file of other images or without training rows.
    """
    from ganaug.cli.rows import training_rows
    from ganaug.splits import splits_from_file

    if split is None:
        try:
            training = training_rows(images, run.recorded_splits(images))
            run.check_pixels(training)
        except RunError as error:
            raise RunError(
                f"{error} To grow another image set, say which of its rows you evaluate on: "
                "--split FILE."
            ) from error
        return training
    splits = splits_from_file(images, split)
    training = training_rows(images, splits)
    if not len(training):
        raise DataError(f"{split} has no training rows, so there is nothing to grow.")
    chose = {"holdout": ("training", "validation"), "validation": ("training",)}
    for judging, against in chose.items():  # the run may have been validated with the same rows
        rows = [row for row, name in enumerate(splits) if name == judging]
        run.check_leaks(images.subset(rows), against=against)
    return training


def check_memorised(model: ImageModel, run: Path, *, allowed: bool) -> None:
    """Raise RunError for a model that has memorised training images, unless that is allowed."""
    found = model.memorisation
    if found is None or not found.flagged or allowed:
        return
    raise RunError(
        f"{run} has memorised training images: {found}. Fit it on more images or for less long, "
        "or drop the copies with --allow-memorised."
    )


def check_channels(images: LabelledImages, model: ImageModel) -> None:
    """Raise DataError when synthetic images have other channels than the first of the images."""
    found, made = len(images.pixels[0]), model.shape[0]
    if found != made:
        raise DataError(
            f"The images have {found} channel{'s'[: found > 1]} and those of the run {made}. "
            "Convert the images, or fit a run on them."
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """to_add: images by class name. left: classes that should grow but were not trained."""

    to_add: Mapping[str, int]
    left: tuple[str, ...]


def parse_strategy(text: str) -> Any:
    """Return a strategy as `SyntheticAugmenter` takes it: a word, a float, or final counts.

    Raises ConfigError for a dict that cannot be read.
    """
    try:
        return float(text)
    except ValueError:
        pass
    if not text.lstrip().startswith("{"):
        return text
    try:
        counts = ast.literal_eval(text)  # a JSON object of counts is a Python dict
    except (ValueError, SyntaxError) as error:
        raise ConfigError(
            f"--sampling-strategy cannot be read as final counts; expected text such as "
            f"'{{\"rare\": 600}}', got {text!r}."
        ) from error
    if not isinstance(counts, dict):
        raise ConfigError(f"--sampling-strategy: expected {{CLASS: COUNT}}; got {text!r}.")
    return {str(name): count for name, count in counts.items()}


def plan_counts(images: LabelledImages, strategy: Any, trained: tuple[str, ...]) -> Plan:
    """Return how many images to add to which class.

    strategy: None for "auto" on the trained classes alone, leaving the others as they are.
    Raises ConfigError for a strategy that cannot be followed, or that grows a class that the
    run was not trained on.
    """
    from ganaug.strategy import counts_to_add

    counts = counts_to_add(
        "auto" if strategy is None else strategy, images.labels, images.class_names
    )
    wanted = {images.class_names[index]: n for index, n in counts.items() if n}
    left = tuple(name for name in wanted if name not in trained)
    if left and strategy is not None:
        raise ConfigError(
            f"The run was not trained on {', '.join(left)}, which --sampling-strategy grows; the "
            f"trained classes are {', '.join(trained)}. Give final counts of these, or fit a run "
            "on more classes."
        )
    return Plan({name: n for name, n in wanted.items() if name in trained}, left)


def export_balanced(
    images: LabelledImages,
    model: ImageModel,
    to_add: Mapping[str, int],
    folder: Path,
    *,
    seed: int,
    source: str,
) -> dict[str, int]:
    """Write training images at their original size and synthetic ones, by class; and what is what.

    images: not loaded, so that they have the size they came in. source: what the manifest calls
    the run. Returns how many synthetic images there are by class; fewer where too few draws pass
    the filters, after a warning.
    """
    from ganaug.cli.exports import ClassFolders, class_seed, write_log, write_manifest
    from ganaug.cli.progress import counting

    folders = ClassFolders(folder, images.class_names)
    groups = images.groups or ("",) * len(images)
    lines: list[tuple[str, ...]] = []
    added = {}
    with counting("Writing", len(images) + sum(to_add.values())) as count:
        for row, (id_, label, group) in enumerate(
            zip(images.ids, images.labels, groups, strict=True)
        ):
            name, stem = images.class_names[label], stem_of(id_)
            file = folders.write(name, stem, images.pixels[row], images.value_range)
            lines.append((file, name, group, "training", "false", id_))
            count()
        for name, n in to_add.items():
            index, number = model.class_names.index(name), 0
            for batch in model.draw_batches(index, n, seed=class_seed(seed, index)):
                for pixels in batch:
                    stem = f"synthetic-{number:05}"
                    file = folders.write(name, stem, pixels, model.output.value_range)
                    lines.append((file, name, "", "training", "true", f"{source}#{number}"))
                    number += 1
                    count()
            added[name] = number
    write_manifest(folder / "manifest.csv", _COLUMNS, lines)
    write_log(folder / "filters.json", model)
    return added


def stem_of(id_: str) -> str:
    """Return the name of a file for an image: ``p1.nii.gz#0007`` becomes ``p1-0007``."""
    file, mark, frame = id_.rpartition("#")
    if not (mark and frame.isdecimal()):
        file, frame = id_, ""
    stem = PurePosixPath(file).stem.removesuffix(".nii")
    return f"{stem}-{frame}" if frame else stem


def print_counts(before: Mapping[str, int], added: Mapping[str, int]) -> None:
    """Print a table of training images a class, before and after."""
    from ganaug.cli.console import make_table, output

    right = ["real", "synthetic", "together"]
    table = make_table("class", *right, right=right)
    for name, count in before.items():
        new = added.get(name, 0)
        table.add_row(name, f"{count:,}", f"{new:,}" if new else "", f"{count + new:,}")
    output().print(table)
