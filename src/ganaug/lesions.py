"""Where lesions are in whole images: tables of boxes or circles, and masks."""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import ConfigError, DataError
from ganaug.patches import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ORIGINS", "Lesion", "Lesions", "mask_boxes", "read_boxes", "read_masks"]

#: The corner of the image that coordinates of boxes are measured from.
ORIGINS = ("top-left", "bottom-left")

#: Columns of a table of boxes, besides the file: corner and size, two corners, or centre and
#: radius (as MIAS gives lesions, measured from the bottom).
_COLUMNS = (("x", "y", "width", "height"), ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "radius"))

#: Most pixels of a mask that is decoded: 10,000 x 10,000.
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion's box, its label ("" when none is given) and where that was read.

    reaches_over: whether a part of the box lies over the image's border.
    """

    box: Box
    label: str
    source: str
    reaches_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesions:
    """The lesions of an image set, by row; a row that is missing has none.

    masks: for each row that has masks, their names and sizes, (height, width).
    from_bottom: whether y was measured upwards from the bottom of the image.
    """

    by_row: dict[int, list[Lesion]]
    masks: dict[int, list[tuple[str, tuple[int, int]]]]
    from_bottom: bool = False

    def on(self, row: int, height: int, width: int) -> list[Lesion]:
        """Return the lesions of one image, height x width, with boxes measured from its top.

        Raises DataError for a lesion outside the image, and for a mask of another size.
        """
        for name, size in self.masks.get(row, []):
            if size != (height, width):
                raise DataError(
                    f"the mask {name} has {size[1]}x{size[0]} pixels (width x height), the image "
                    f"{width}x{height}. Give the mask that was drawn on this image."
                )
        return [self._placed(lesion, height, width) for lesion in self.by_row.get(row, [])]

    def sides(self, size: int) -> list[int]:
        """Return the side of every lesion's patch of at least `size`; [size] without lesions."""
        boxes = [lesion.box for lesions in self.by_row.values() for lesion in lesions]
        return [math.ceil(max(box.width, box.height, size)) for box in boxes] or [size]

    def _placed(self, lesion: Lesion, height: int, width: int) -> Lesion:
        box = lesion.box
        top = height - box.y - box.height if self.from_bottom else box.y
        right, bottom = box.x + box.width, top + box.height
        if right <= 0 or bottom <= 0 or box.x >= width or top >= height:
            raise DataError(
                f"{lesion.source}: the lesion lies outside the image: columns {box.x:g} to "
                f"{right:g} and rows {top:g} to {bottom:g}, of {width}x{height} pixels "
                "(width x height). Check its coordinates and --origin."
            )
        over = min(box.x, top) < 0 or right > width or bottom > height
        return replace(lesion, box=replace(box, y=top), reaches_over=over)


def read_boxes(table: Path, ids: Sequence[str], *, origin: str = "top-left") -> Lesions:
    """Read a CSV table with a row a lesion: columns file, a place in pixels, and perhaps label.

    The place is ``x,y,width,height`` (the corner nearest the origin, and a size),
    ``xmin,ymin,xmax,ymax``, or ``x,y,radius`` (a centre). x is measured from the image's left
    edge; y from its top, or, with the origin "bottom-left", from its bottom. Files are `ids` of
    the image set, or their names with or without folders and suffix, where that names one image.
    Raises DataError for a table without these columns, numbers that are none, boxes without an
    area, rows that are there twice, and files that name no image or several; ConfigError for
    another origin.
    """
    if origin not in ORIGINS:
        raise ConfigError(f"The origin is {' or '.join(ORIGINS)}; got {origin!r}.")
    finder = _Finder(ids)
    by_row: dict[int, list[Lesion]] = defaultdict(list)
    seen: dict[tuple[int, Box], str] = {}
    for source, cells in _rows(table):
        columns = _place_columns(table, cells)
        lesion = Lesion(_box(source, cells, columns), _label(source, cells), source)
        row = finder.find(cells["file"], source)
        if (row, lesion.box) in seen:
            raise DataError(f"{source} repeats {seen[row, lesion.box]}. Keep one row a lesion.")
        seen[row, lesion.box] = source
        by_row[row].append(lesion)
    return Lesions(by_row=dict(by_row), masks={}, from_bottom=origin == "bottom-left")


def read_masks(location: Path, ids: Sequence[str]) -> Lesions:
    """Read masks: images of an image's size, 0 where there is no lesion and one value elsewhere.

    location: a folder of masks named as their images are (suffixes may differ), or a CSV table
    with the columns file, mask and perhaps label, the masks' paths relative to it. Each connected
    part of a mask is a lesion (scikit-image's `label`, diagonal neighbours connected); a mask
    without any marks an image without lesions.
    Raises DataError for masks that cannot be read, hold more than two values, belong to no image
    or to several, or (in a table) lie outside its folder.
    """
    finder = _Finder(ids)
    by_row: dict[int, list[Lesion]] = defaultdict(list)
    masks: dict[int, list[tuple[str, tuple[int, int]]]] = defaultdict(list)
    for file, path, label, source in _masks(location):
        row = finder.find(file, source)
        mask = _read_mask(path)
        masks[row].append((path.name, mask.shape))
        by_row[row] += [Lesion(box, label, source) for box in mask_boxes(mask)]
    return Lesions(by_row=dict(by_row), masks=dict(masks))


def mask_boxes(mask: NDArray[np.bool_]) -> list[Box]:
    """Return the bounding box of each connected part of a mask, bool (H, W)."""
    from skimage.measure import label, regionprops

    corners = (region.bbox for region in regionprops(label(mask, connectivity=2)))
    return [Box(left, top, right - left, bottom - top) for top, left, bottom, right in corners]


class _Finder:
    """Finds the image that a table or a mask's name means."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._rows: list[dict[str, list[int]]] = [defaultdict(list) for _ in _spellings("")]
        for row, name in enumerate(ids):
            for rows, spelling in zip(self._rows, _spellings(name), strict=True):
                rows[spelling].append(row)
        self._ids = ids

    def find(self, file: str, source: str) -> int:
        """Return the row of a file. Raises DataError when it means no image, or several."""
        for rows, spelling in zip(self._rows, _spellings(file), strict=True):
            found = rows.get(spelling, [])
            if len(found) > 1:
                raise DataError(
                    f"{source}: {file!r} names {len(found)} images. Say which, such as "
                    f"{self._ids[found[0]]!r}."
                )
            if found:
                return found[0]
        raise DataError(
            f"{source}: DATA has no image {file!r}. Its images are named like {self._ids[0]!r}."
        )


def _spellings(name: str) -> tuple[str, str, str, str]:
    """Return a name as it is, without suffix, without folders, and without both."""
    path = PurePosixPath(name.replace("\\", "/"))
    # UIDs have dots as well, so what follows the last one is a suffix if it begins with a letter
    stem = re.sub(r"\.[A-Za-z]\w*$", "", str(path))
    return str(path), stem, path.name, PurePosixPath(stem).name


def _rows(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row is, "boxes.csv line 2", and its cells, stripped."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write the mark
            reader = csv.DictReader(file, skipinitialspace=True)
            if "file" not in (reader.fieldnames or []):
                columns = ", ".join(reader.fieldnames or []) or "none"
                raise DataError(f"{table} has no column 'file'; its columns are {columns}.")
            for row in reader:
                cells = {name: (cell or "").strip() for name, cell in row.items() if name}
                yield f"{table.name} line {reader.line_num}", cells
    except OSError as error:
        raise DataError(f"Cannot read the table {table}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is not a CSV table in UTF-8: {error}.") from error


def _place_columns(table: Path, cells: dict[str, str]) -> tuple[str, ...]:
    found = [columns for columns in _COLUMNS if set(columns) <= set(cells)]
    if len(found) != 1:
        choices = " or ".join(",".join(columns) for columns in _COLUMNS)
        what = "several" if found else "none"
        raise DataError(
            f"{table} must say where lesions are in one way, columns {choices}; it has {what} of "
            f"them. Its columns are {', '.join(cells)}."
        )
    return found[0]


def _box(source: str, cells: dict[str, str], columns: tuple[str, ...]) -> Box:
    numbers = [_number(source, column, cells[column]) for column in columns]
    if columns[-1] == "radius":
        x, y, radius = numbers
        box = Box(x - radius, y - radius, 2 * radius, 2 * radius)
    elif columns[-1] == "ymax":
        x, y, right, bottom = numbers
        box = Box(x, y, right - x, bottom - y)
    else:
        box = Box(*numbers)
    if min(box.width, box.height) <= 0:
        values = ", ".join(f"{name} {cells[name]}" for name in columns)
        raise DataError(
            f"{source}: the box is empty ({values}). Correct it; an image without lesions needs "
            "no row."
        )
    return box


def _number(source: str, column: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{source}: {column} must be a number of pixels; got {text!r}. An image without "
            "lesions needs no row."
        )
    return number


def _label(source: str, cells: dict[str, str]) -> str:
    if "label" in cells and not cells["label"]:
        raise DataError(f"{source}: the label is empty. Fill it in or remove the column.")
    return cells.get("label", "")


def _masks(location: Path) -> Iterator[tuple[str, Path, str, str]]:
    """Yield each mask's image, path, label and where that is said."""
    if location.is_dir():
        paths = sorted(path for path in location.rglob("*") if path.is_file())
        paths = [path for path in paths if not path.name.startswith(".")]
        if not paths:
            raise DataError(f"{location} holds no masks; expected images named as those of DATA.")
        for path in paths:
            name = path.relative_to(location).as_posix()
            yield name, path, "", f"mask {name}"
        return
    folder = location.parent.resolve()
    for source, cells in _rows(location):
        path = (folder / cells.get("mask", "")).resolve()
        if not path.is_file() or not path.is_relative_to(folder):
            raise DataError(
                f"{source}: there is no mask {cells.get('mask', '')!r} in {location.parent}. "
                "Give its path relative to the table in the column 'mask'."
            )
        yield cells["file"], path, _label(source, cells), source


def _read_mask(path: Path) -> NDArray[np.bool_]:
    """Decode a mask of any Pillow mode, (H, W)."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked here
            with Image.open(path) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise DataError(
                        f"{path}: the mask is too large, {image.width}x{image.height} pixels; "
                        f"expected at most {_MAX_PIXELS:,}."
                    )
                values: NDArray[Any] = np.asarray(image)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a mask image ({error}).") from error
    if values.ndim == 3:
        colours = {2: 1, 4: 3}.get(values.shape[2])  # what is before the transparency
        values = values[..., :colours].max(axis=2)
    marks = np.unique(values[values != 0])
    if len(marks) > 1:
        raise DataError(
            f"{path} holds {len(marks)} values besides 0; a mask holds 0 and one other. Save it "
            "lossless (PNG), each kind of lesion in a mask of its own."
        )
    mask: NDArray[np.bool_] = values != 0
    return mask
