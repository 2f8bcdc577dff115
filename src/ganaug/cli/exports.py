"""Images as files: safe names, PNG pictures, manifests, and what filters dropped."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.files import write_bytes, write_text
from ganaug.pixels import to_pil
from ganaug.randomness import class_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ganaug.model import ImageModel

__all__ = [
    "ClassFolders",
    "FileNames",
    "class_seed",
    "folder_names",
    "picture",
    "print_drops",
    "safe_name",
    "write_log",
    "write_manifest",
    "write_picture",
]

_LONGEST = 100
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str) -> str:
    """Return a text as a file's name that every system takes; letters of any language stay.

    Not unique: ``a/b`` and ``a:b`` have the same one. See `FileNames`.
    """
    name = unicodedata.normalize("NFC", text)
    name = re.sub(r'[\x00-\x1f\x7f/\\<>:"|?*]', "_", name).strip(" .")
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    return f"_{name}" if not name or _RESERVED.fullmatch(name) else name


class FileNames:
    """Hands out names that are safe and each different, even where case does not count."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, text: str, suffix: str = "") -> str:
        """Return a name for a text: the text itself where it can be."""
        name = base = safe_name(text)
        number = 2
        while f"{name}{suffix}".casefold() in self._taken:
            name = f"{base}-{number}"
            number += 1
        self._taken.add(f"{name}{suffix}".casefold())
        return f"{name}{suffix}"


def folder_names(class_names: Iterable[str]) -> dict[str, str]:
    """Return a folder's name for each class."""
    names = FileNames()
    return {name: names.take(name) for name in class_names}


class ClassFolders:
    """Writes pictures into a folder for each class, under names that are safe and different."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self._folder = folder
        self._names = folder_names(class_names)
        self._files = {name: FileNames() for name in class_names}

    def write(
        self, label: str, stem: str, pixels: NDArray[Any], value_range: tuple[float, float]
    ) -> str:
        """Write pixels (C, H, W) as a PNG file; return its path under the folder."""
        folder = self._names[label]
        (self._folder / folder).mkdir(exist_ok=True)
        file = f"{folder}/{self._files[label].take(stem, '.png')}"
        picture(pixels, value_range).save(self._folder / file)
        return file


def picture(pixels: NDArray[Any], value_range: tuple[float, float]) -> Image.Image:
    """Return pixels (C, H, W) as a picture: 16-bit for one channel of uint16, else 8-bit.

    Float pixels, and three channels of uint16, which PNG files of Pillow cannot hold, are scaled
    from `value_range` to 0..255.
    """
    if pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and len(pixels) == 1):
        return to_pil(pixels)
    low, high = value_range
    scaled = (pixels.astype(np.float32) - low) * (255.0 / (high - low))
    return to_pil(scaled.round().clip(0, 255).astype(np.uint8))


def write_picture(path: Path, image: Image.Image) -> None:
    """Write a PNG file whole. Raises RunError when it cannot be written."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    write_bytes(path, stream.getvalue())


def write_manifest(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file with a row for each image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_log(path: Path, model: ImageModel) -> None:
    """Write what filters dropped of all that a model drew, and why; nothing without filters."""
    from ganaug.filters import log_fields

    if model.filters:
        write_text(path, f"{json.dumps(log_fields(model), indent=2)}\n")


def print_drops(model: ImageModel) -> None:
    """Say how many draws filters dropped, and why; nothing where they dropped none."""
    from ganaug.cli.console import output

    if dropped := sum(model.dropped.values()):
        draws = f"{dropped:,} draw{'s' * (dropped > 1)} dropped"
        output().print(f"{draws}: {model.explain_drops()}.", soft_wrap=True)
