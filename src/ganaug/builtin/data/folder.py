"""A folder of class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganaug.builtin.data.files import SUFFIXES, FilePixels, image_files, is_image
from ganaug.builtin.data.groups import groups_from_names
from ganaug.errors import DataError
from ganaug.spec import LabelledImages

__all__ = ["open_folder"]


def open_folder(location: Path, group_pattern: str | None = None) -> LabelledImages:
    """Open a folder whose sub-folders are the classes, in alphabetical order.

    Images lie anywhere below their class folder. A folder of images without sub-folders is one
    class, ``image``. Ids are paths relative to the folder, with forward slashes.
    Groups are what `group_pattern` finds in the ids, if it is given.
    Raises DataError when there is no such folder, no image, a class without images, or an id that
    does not match.
    """
    if not location.is_dir():
        what = "is not a folder" if location.exists() else "does not exist"
        raise DataError(f"{location} {what}; expected a folder of class folders.")
    visible = sorted(path for path in location.iterdir() if not path.name.startswith("."))
    folders = [path for path in visible if path.is_dir()]
    loose = [path for path in visible if is_image(path)]
    if folders and loose:
        raise DataError(
            f"{location} holds both class folders ({_names(folders)}) and {len(loose)} loose "
            f"images ({_names(loose)}). Move the images into a class folder."
        )
    classes = {path.name: image_files(path) for path in folders} or {"image": loose}
    empty = [name for name, files in classes.items() if not files]
    if len(empty) == len(classes):
        archives = sorted(location.glob("*.npz"))
        if archives:
            raise DataError(
                f"{location} holds no images but the archive {archives[0].name}; open that: "
                f"{archives[0]}"
            )
        raise DataError(
            f"{location} holds no images; expected files named {', '.join(sorted(SUFFIXES))} "
            "in a folder for each class."
        )
    if empty:
        raise DataError(
            f"{location}: the class folder{'s' if len(empty) > 1 else ''} {', '.join(empty)} "
            f"hold{'' if len(empty) > 1 else 's'} no images. Add some, or remove the folder."
        )
    paths = [path for files in classes.values() for path in files]
    pixels = FilePixels(paths)
    ids = tuple(path.relative_to(location).as_posix() for path in paths)
    return LabelledImages(
        pixels=pixels,
        labels=np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()]),
        class_names=tuple(classes),
        value_range=pixels.value_range(),
        ids=ids,
        groups=groups_from_names(location, ids, group_pattern) if group_pattern else None,
    )


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
