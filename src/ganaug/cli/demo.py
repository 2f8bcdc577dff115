"""``ganaug demo``: everything in two minutes, on digits that need no download."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganaug.cli.console import command, make_table, output

if TYPE_CHECKING:
    from ganaug.demo import Scores
    from ganaug.spec import LabelledImages

__all__ = ["register", "run_demo"]

_EPILOG = """[bold]Example[/bold]

  ganaug demo --out out/demo"""

_TOTAL_IMAGES = 20_000
_CLASSIFIER_STEPS = 400
_SEEDS = (0, 1, 2)
_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog=_EPILOG)(demo)


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")] = Path(
        "out/demo"
    ),
) -> None:
    """Grow two rare digits, look at them, and see whether a classifier gains from it.

    Takes two to three minutes on two processor cores and downloads nothing.
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
    from ganaug.cli.requests import FitRequest
    from ganaug.cli.session import fit_run
    from ganaug.demo import RARE

    console = output()
    with _folder(out):
        data, run, balanced = out / "digits.npz", out / "run", out / "balanced"
        _heading(f"1. A set of digits in which {' and '.join(RARE)} are rare: {data}")
        images = _write_data(data)
        _heading("2. Train a generator on the rare digits")
        classes = [word for name in RARE for word in ("--class", name)]
        console.print(
            command("$ ganaug fit", data, "--out", run, *classes, "--images", total_images)
        )
        request = FitRequest(data=str(data), out=run, classes=RARE, total_images=total_images)
        if code := fit_run(request):
            return code
        _heading("3. Write the training images, and as many new ones as balance them")
        console.print(f"$ {command('ganaug', 'augment', data, '--run', run, '--out', balanced)}")
        augment(str(data), run=run, out=balanced)
        grown = _read_balanced(balanced)
        _write_grid(out / "grid.png", images, grown)
        console.print(f"Real and synthetic digits side by side: {out / 'grid.png'}")
        _heading("4. Did it help? The same classifier, trained in three ways")
        _compare(images, grown, steps, seeds)
        _heading("5. Your own images: a folder with a folder of images for each class")
        _print_next_steps()
    return 0


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder, and remove it again on any error."""
    from ganaug.files import check_absent, explained

    check_absent(path)
    with explained(path):
        path.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
