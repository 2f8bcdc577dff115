"""``ganaug sample``: new images of a run's classes, as files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ganaug.model import ImageModel

__all__ = ["export_samples", "register", "warn_if_memorised"]

_EPILOG = """[bold]Example[/bold]

  ganaug sample runs/photos --out out/rare -n 64 --class rare --seed 1"""

_SHOWN_A_CLASS = 64
_COLUMNS = 16


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog=_EPILOG)(sample)


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run directory.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="Images of each class.")] = 64,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="NAME", help="Draw this class only; all unless given. Repeatable."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="The same seed draws the same images.")
    ] = 0,
) -> None:
    """Draw new images from a run: PNG files by class, grid.png and manifest.csv.

    filters.json counts what the run's filters dropped, by class and reason.
    """
    from ganaug.cli.console import output
    from ganaug.cli.exports import print_drops
    from ganaug.files import check_absent, new_folder
    from ganaug.registry import Registry
    from ganaug.runs import Run
    from ganaug.spec import class_indices

    check_absent(out)
    opened = Run.open(run)
    indices = sorted(class_indices(classes or opened.config.class_names, opened.config.class_names))
    model = opened.read_model(Registry.load())
    warn_if_memorised(model, run)
    with new_folder(out) as folder:
        counts = export_samples(model, folder, indices, n, seed=seed, source=str(run))
    output().print(
        f"{sum(counts.values()):,} images in {out} ("
        + ", ".join(f"{name} {count:,}" for name, count in counts.items())
        + f"). See {out / 'grid.png'}.",
        soft_wrap=True,
    )
    print_drops(model)


def warn_if_memorised(model: ImageModel, run: Path) -> None:
    """Warn when the audit of a run found that it has memorised training images."""
    found = model.memorisation
    if found is not None and found.flagged:
        warnings.warn(
            f"{run} has memorised training images: {found}. Near copies are dropped; others may "
            "be missed.",
            stacklevel=2,
        )


def export_samples(
    model: ImageModel, folder: Path, classes: Sequence[int], n: int, *, seed: int, source: str
) -> dict[str, int]:
    """Write n images of each class into class folders, a sheet of them, a manifest and a log.

    Returns how many there are by class; fewer where too few draws pass the filters, after a
    warning.
    """
    from ganaug.cli.exports import (
        ClassFolders,
        class_seed,
        write_log,
        write_manifest,
        write_picture,
    )
    from ganaug.cli.progress import counting
    from ganaug.grids import draw_grid

    value_range = model.output.value_range
    folders = ClassFolders(folder, model.class_names)
    counts, lines, rows = {}, [], []
    with counting("Drawing", n * len(classes)) as count:
        for class_ in classes:
            name, number = model.class_names[class_], 0
            shown: list[Any] = []
            for batch in model.draw_batches(class_, n, seed=class_seed(seed, class_)):
                shown += list(batch)[: _SHOWN_A_CLASS - len(shown)]
                for pixels in batch:
                    file = folders.write(name, f"{number:05}", pixels, value_range)
                    lines.append((file, name, seed, number, source))
                    number += 1
                    count()
            counts[name] = number
            rows += _sheet_rows(name, shown)
    write_picture(folder / "grid.png", draw_grid(rows, value_range))
    write_manifest(folder / "manifest.csv", ("file", "label", "seed", "index", "run"), lines)
    write_log(folder / "filters.json", model)
    return counts


def _sheet_rows(name: str, images: list[Any]) -> list[tuple[str, Any]]:
    """Cut a class's images into rows of a sheet, the first one titled."""
    import numpy as np

    if not images:
        return [(f"{name}: none", np.empty((0, 1, 1, 1), dtype=np.uint8))]
    starts = range(0, len(images), _COLUMNS)
    return [
        (name if start == 0 else "", np.stack(images[start : start + _COLUMNS])) for start in starts
    ]
