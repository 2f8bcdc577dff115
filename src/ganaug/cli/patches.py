"""``ganaug data patches``: lesion and normal patches of whole images, as an image set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ganaug.cli.console import facts, make_table, output
from ganaug.cli.opening import AllowBurnedIn, Data, Open, Window, open_fields

if TYPE_CHECKING:
    import numpy as np

    from ganaug.lesions import Lesion, Lesions
    from ganaug.patches import Patch, Recipe
    from ganaug.spec import LabelledImages

__all__ = ["register"]

_EPILOG = (
    """[bold]Examples[/bold]

  ganaug data patches films/ --boxes boxes.csv --out patches --size 128

  ganaug data patches films/ --masks masks/ --out patches --size 128

"""
    # a paragraph a line: Typer keeps the line breaks of an epilog, and of help after its first line
    "[bold]Boxes[/bold] have a row a lesion: file, a place in pixels, and perhaps label. The place "
    "is x,y,width,height (a corner and a size), xmin,ymin,xmax,ymax, or x,y,radius (a centre). "
    "MIAS counts y from the bottom of the film: --origin bottom-left."
)

_HELP = (
    "Cut lesion patches, and normal patches off every lesion, into class folders of PNG files.\n\n"
    "Each image is mapped to 8 bit, its own lowest value to 0 and its highest to 255. A lesion's "
    "patch is a square centred on it, as long as its longer side and at least --size, shifted "
    "inside at a border. Normal patches lie wholly in tissue, overlap neither lesions nor each "
    "other, and have sides drawn from those of the lesion patches, so that scale does not give "
    "the class away. labels.csv keeps the group of each image, or else the image itself as the "
    "group."
)

_NORMAL = "normal"


class _Contrast(StrEnum):
    none = "none"
    equalize = "equalize"
    clahe = "clahe"


class _Tissue(StrEnum):
    nonzero = "nonzero"
    otsu = "otsu"


class _Origin(StrEnum):
    top_left = "top-left"
    bottom_left = "bottom-left"


def register(group: typer.Typer) -> None:
    """Add the command to a group."""
    group.command(help=_HELP, epilog=_EPILOG)(patches)


class _Line(NamedTuple):
    """A row of labels.csv. x, y and side: the patch's top left corner and size in its image."""

    file: str
    label: str
    group: str
    source: str
    x: int
    y: int
    side: int


@dataclass(slots=True)
class _Tally:
    """What was written, and what is worth saying about the images."""

    lines: list[_Line] = field(default_factory=list)
    images: int = 0
    without_lesion: int = 0
    unmarked: int = 0
    over_border: int = 0
    too_long: int = 0
    short_of_normal: int = 0

    def note(
        self, lesions: list[Lesion], cut: list[Patch], normal: list[Patch], recipe: Recipe
    ) -> None:
        """Count an image."""
        self.images += 1
        self.without_lesion += not lesions
        self.over_border += sum(lesion.reaches_over for lesion in lesions)
        self.too_long += sum(
            patch.window.side < max(lesion.box.width, lesion.box.height)
            for lesion, patch in zip(lesions, cut, strict=True)
        )
        self.short_of_normal += len(normal) < recipe.per_image

    def notes(self, recipe: Recipe) -> list[str]:
        """Return a sentence for each thing that happened."""
        notes = {
            "Images without a lesion: {}.": self.without_lesion,
            "Images without a lesion, of classes whose other images have some: {}; if lesions "
            "there are only not marked, leave these images out.": self.unmarked,
            "Lesions that reach over their image's border: {}; their patches are shifted "
            "inside.": self.over_border,
            "Lesions longer than their image's shorter side: {}; their patches show a part of "
            "them.": self.too_long,
            f"Images with room for fewer than {recipe.per_image} normal patches: "
            "{}.": self.short_of_normal,
        }
        return [note.format(f"{number:,}") for note, number in notes.items() if number]


def patches(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    size: Annotated[
        int, typer.Option(metavar="PX", min=1, help="Height and width of a patch, in pixels.")
    ],
    boxes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV table of lesions; see below.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Masks named as their images, 0 off the lesions; each connected part is one. Or "
            "a CSV table with the columns file, mask and perhaps label.",
        ),
    ] = None,
    origin: Annotated[
        _Origin, typer.Option(help="The corner that the boxes' x and y are measured from.")
    ] = _Origin.top_left,
    per_image: Annotated[
        int, typer.Option(metavar="N", min=0, help="Most normal patches of an image.")
    ] = 10,
    tissue: Annotated[
        _Tissue,
        typer.Option(
            help="Where normal patches may lie: pixels above the image's lowest value, or, for "
            "films with a noisy background, the largest part above Otsu's threshold."
        ),
    ] = _Tissue.nonzero,
    contrast: Annotated[
        _Contrast, typer.Option(help="Applied to the whole image, before patches are cut.")
    ] = _Contrast.none,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="The same seed draws the same patches.")
    ] = 0,
    fields: Open = None,
    window: Window = None,
    allow_burned_in: AllowBurnedIn = False,
) -> None:
    """Write lesion and normal patches of whole images, as an image set."""
    from ganaug.files import check_absent, new_folder
    from ganaug.patches import Recipe
    from ganaug.registry import Registry
    from ganaug.sources import check_outside, open_images

    check_absent(out)
    check_outside(out, data)
    images = open_images(data, Registry.load(), open_fields(fields, window, allow_burned_in))
    lesions = _read_lesions(boxes, masks, origin, images.ids)
    recipe = Recipe(size=size, per_image=per_image, tissue=tissue, contrast=contrast)
    with new_folder(out) as folder:
        tally = _write(folder, images, lesions, recipe, seed)
    _print(out, tally, recipe)


def _read_lesions(
    boxes: Path | None, masks: Path | None, origin: str, ids: Sequence[str]
) -> Lesions:
    from ganaug.errors import ConfigError
    from ganaug.lesions import Lesions, read_boxes, read_masks

    if boxes and masks:
        raise ConfigError("Give --boxes or --masks, not both.")
    if boxes:
        return read_boxes(boxes, ids, origin=origin)
    return read_masks(masks, ids) if masks else Lesions(by_row={}, masks={})


def _write(
    folder: Path, images: LabelledImages, lesions: Lesions, recipe: Recipe, seed: int
) -> _Tally:
    """Cut and write the patches of one image after the other."""
    import numpy as np

    from ganaug.cli.exports import ClassFolders, write_manifest
    from ganaug.cli.progress import counting
    from ganaug.errors import DataError

    labels = {row: _labels(images, row, found) for row, found in lesions.by_row.items()}
    names = sorted({label for found in labels.values() for label in found})
    folders = ClassFolders(folder, [*names, _NORMAL])
    sides = lesions.sides(recipe.size)
    tally = _Tally(unmarked=_unmarked(images, lesions))
    with counting("Cutting", len(images)) as count:
        for row, name in enumerate(images.ids):
            group = (images.groups[row] if images.groups else "") or name
            rng = np.random.default_rng([seed, *name.encode()])
            found, cut, normal = _cut(images, row, lesions, recipe, sides, rng)
            tally.note(found, cut, normal, recipe)
            pairs = [*zip(labels.get(row, []), cut, strict=True), *((_NORMAL, p) for p in normal)]
            for label, patch in pairs:
                file = folders.write(label, Path(name).stem, patch.pixels, (0.0, 255.0))
                at = patch.window
                tally.lines.append(_Line(file, label, group, name, at.x, at.y, at.side))
            count()
    if not tally.lines:
        raise DataError(
            "No patch was found: there are no lesions, and no image has room for a normal patch "
            f"of {recipe.size} pixels wholly in tissue. Try a smaller --size or --tissue otsu."
        )
    write_manifest(folder / "labels.csv", _Line._fields, tally.lines)
    return tally


def _labels(images: LabelledImages, row: int, lesions: Sequence[Lesion]) -> list[str]:
    """Return the label of each lesion of an image: its own, else the image's class."""
    from ganaug.errors import DataError

    own = images.class_names[images.labels[row]] if len(images.class_names) > 1 else "lesion"
    labels = [lesion.label or own for lesion in lesions]
    for lesion, label in zip(lesions, labels, strict=True):
        if label.casefold() == _NORMAL:
            raise DataError(
                f"{lesion.source}: a lesion cannot have the label {label!r}, which is for patches "
                "without one. Correct the label, or remove the lesion."
            )
    return labels


def _unmarked(images: LabelledImages, lesions: Lesions) -> int:
    """Return how many images have no lesion though others of their class have; 0 for one class."""
    marked = {row for row, found in lesions.by_row.items() if found}
    classes = {int(images.labels[row]) for row in marked}
    if len(images.class_names) == 1:
        return 0
    return sum(label in classes for label in images.labels.tolist()) - len(marked)


def _cut(
    images: LabelledImages,
    row: int,
    lesions: Lesions,
    recipe: Recipe,
    sides: Sequence[int],
    rng: np.random.Generator,
) -> tuple[list[Lesion], list[Patch], list[Patch]]:
    """Return the lesions of an image and its patches. Raises errors that name the image."""
    import numpy as np

    from ganaug.errors import DataError, ShapeError
    from ganaug.patches import cut_patches

    pixels = np.asarray(images.pixels[row])
    try:
        found = lesions.on(row, *pixels.shape[1:])
        boxes = [lesion.box for lesion in found]
        return found, *cut_patches(pixels, boxes, recipe, sides=sides, rng=rng)
    except (DataError, ShapeError) as error:
        raise type(error)(f"Image {images.ids[row]}: {error}") from error


def _print(out: Path, tally: _Tally, recipe: Recipe) -> None:
    console = output()
    groups = len({line.group for line in tally.lines})
    console.print(
        f"{out}: {len(tally.lines):,} patches of {recipe.size}x{recipe.size} pixels from "
        f"{tally.images:,} images in {groups:,} groups",
        soft_wrap=True,
        style="bold",
    )
    numbers = ["patches", "images", "groups", "side (px)"]
    table = make_table("class", *numbers, right=numbers)
    for label in dict.fromkeys(sorted(line.label for line in tally.lines)):
        own = [line for line in tally.lines if line.label == label]
        side = sorted(line.side for line in own)
        table.add_row(
            label,
            f"{len(own):,}",
            f"{len({line.source for line in own}):,}",
            f"{len({line.group for line in own}):,}",
            f"{side[0]:,} to {side[-1]:,}, median {side[len(side) // 2]:,}",
        )
    console.print(table)
    console.print(facts([("Note", note) for note in tally.notes(recipe)]))
