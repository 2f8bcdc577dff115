"""``ganaug demo``: everything in two minutes, on digits that need no download."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganaug.cli.console import command, make_table, output

if TYPE_CHECKING:
    from ganaug.cli.requests import FitRequest
    from ganaug.demo import Scores
    from ganaug.spec import LabelledImages

__all__ = ["register", "run_demo"]

_EPILOG = """[bold]Example[/bold]

  ganaug demo --out out/demo"""

# Images of 16x16 pixels: a small network learns them in a minute at a high learning rate.
_SETTINGS = (
    "width=16",
    "generator_learning_rate=0.001",
    "discriminator_learning_rate=0.001",
)
_TOTAL_IMAGES = 32_000
_CLASSIFIER_STEPS = 300
_SEEDS = (0, 1, 2)
_SHOWN = 12
_CELL = 48

_NEXT_STEPS = """
  ganaug data inspect photos/
  ganaug fit photos/ --out runs/photos --class rare --minutes 10
  ganaug sample runs/photos --out samples/ -n 64
  ganaug augment photos/ --run runs/photos --out balanced/

Train on balanced/ and score on the images held out, which runs/photos/splits.csv lists."""


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog=_EPILOG)(demo)


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")] = Path(
        "out/demo"
    ),
) -> None:
    """Grow two rare digits, look at them, and see whether a classifier gains from it.

    Takes about two minutes on two processor cores and downloads nothing.
    """
    code = run_demo(out)
    if code:
        raise typer.Exit(code)


def run_demo(
    out: Path,
    *,
    total_images: int = _TOTAL_IMAGES,
    steps: int = _CLASSIFIER_STEPS,
    seeds: Sequence[int] = _SEEDS,
) -> int:
    """Do what ``ganaug demo`` does; return the exit code.

    total_images: of the generator's training. steps, seeds: of each classifier. On an error
    nothing is left behind; a training that is interrupted is kept, to be gone on with.
    Raises RunError when `out` exists or cannot be written.
    """
    from ganaug.cli.augment import augment
    from ganaug.cli.fit_run import fit_run
    from ganaug.cli.requests import FitRequest
    from ganaug.demo import RARE

    with _folder(out):
        data, run, balanced = out / "digits.npz", out / "run", out / "balanced"
        _heading(f"1. A set of digits in which {' and '.join(RARE)} are rare: {data}")
        images = _write_data(data)
        _heading("2. Train a generator on the rare digits")
        request = FitRequest(
            data=str(data),
            out=run,
            classes=RARE,
            settings=_SETTINGS,
            total_images=total_images,
            random_state=0,
        )
        _show_fit(request)
        if code := fit_run(request):
            return code
        _heading("3. Write the training images, and as many new ones as balance them")
        _show("ganaug", "augment", data, "--run", run, "--out", balanced)
        augment(str(data), run=run, out=balanced)
        grown = _read_balanced(balanced)
        _write_grid(out / "grid.png", grown, _synthetic_rows(balanced, grown))
        _say(f"Look at them, real and synthetic side by side: {out / 'grid.png'}")
        _heading("4. Did it help? The same classifier, trained in three ways")
        _compare(images, grown, steps, seeds)
        _heading("5. Now your own images: a folder that has one folder for each class")
        _say(_NEXT_STEPS)
    return 0


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder; on any error it goes again, and so do the folders above that were made."""
    from ganaug.files import new_folder

    made = [parent for parent in path.absolute().parents if not parent.exists()]
    with new_folder(path):
        pass
    try:
        yield
    except BaseException:  # Ctrl-C too: no half demo stays
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # somebody else has put something there
            for parent in made:
                parent.rmdir()
        raise


def _heading(text: str) -> None:
    output().print(f"\n{text}", style="bold", soft_wrap=True)


def _say(text: str) -> None:
    output().print(text, soft_wrap=True)


def _show(*words: object) -> None:
    """Print the command that does what comes next."""
    _say(f"$ {command(*words)}\n")


def _show_fit(request: FitRequest) -> None:
    options = [word for name in request.classes for word in ("--class", name)]
    options += [word for text in request.settings for word in ("--set", text)]
    words = ("ganaug", "fit", request.data, "--out", request.out, *options)
    _show(*words, "--images", request.total_images, "--seed", request.random_state)


def _write_data(path: Path) -> LabelledImages:
    """Write the imbalanced digits and return them as they are read."""
    from ganaug.demo import imbalanced_digits, write_archive
    from ganaug.registry import Registry
    from ganaug.sources import open_images

    registry = Registry.load()
    write_archive(path, imbalanced_digits(open_images("digits:digits", registry)))
    return open_images(str(path), registry)


def _read_balanced(folder: Path) -> LabelledImages:
    from ganaug.registry import Registry
    from ganaug.sources import open_images

    return open_images(f"folder:{folder}", Registry.load()).load()


def _synthetic_rows(folder: Path, images: LabelledImages) -> list[bool]:
    """Say which images of a balanced folder are synthetic, as its manifest does."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        synthetic = {row["file"]: row["is_synthetic"] == "true" for row in csv.DictReader(file)}
    return [synthetic[id_] for id_ in images.ids]


def _write_grid(path: Path, images: LabelledImages, synthetic: Sequence[bool]) -> None:
    """Draw the rare digits, a row of real ones above a row of synthetic ones for each."""
    import numpy as np

    from ganaug.cli.exports import write_picture
    from ganaug.demo import RARE
    from ganaug.grids import draw_grid

    pixels, rows = np.asarray(images.pixels), []
    for name in RARE:
        of_class = images.labels == images.class_names.index(name)
        for kind, wanted in (("real", False), ("synthetic", True)):
            chosen = of_class & (np.array(synthetic) == wanted)
            rows.append((f"{name}, {kind}", pixels[chosen][:_SHOWN]))
    write_picture(path, draw_grid(rows, images.value_range, cell=_CELL))


def _compare(
    images: LabelledImages, balanced: LabelledImages, steps: int, seeds: Sequence[int]
) -> None:
    """Train the classifiers, print their held-out scores, and one sentence that reads them."""
    import numpy as np

    from ganaug.cli.progress import counting
    from ganaug.demo import RARE, WAYS, compare, verdict

    splits = np.array(images.splits)
    training, holdout = (
        images.subset(np.flatnonzero(splits == split)) for split in ("training", "holdout")
    )
    with counting("Training classifiers", len(WAYS) * len(seeds)) as count:
        scores = compare(training, balanced, holdout, steps=steps, seeds=seeds, on_classifier=count)
    _print_scores(scores)
    rare = sum(holdout.counts[name] for name in RARE)
    _say(
        f"{verdict(scores)}\nMean and standard deviation of {len(seeds)} seeds; {steps} steps "
        f"each; {rare} held-out images of the rare digits. One generator and so few seeds prove "
        "nothing, least of all about your images: this shows how to ask."
    )


def _print_scores(scores: Sequence[Scores]) -> None:
    import numpy as np

    right = ["recall of 8 and 9", "balanced accuracy"]
    table = make_table("trained on", *right, right=right)
    for each in scores:
        columns = (each.recall, each.balanced_accuracy)
        table.add_row(each.name, *(f"{np.mean(c):.3f} ± {np.std(c):.3f}" for c in columns))
    output().print(table)
