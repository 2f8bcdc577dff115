"""Whose code raised an error that nobody expected: an installed plugin's, or ganaug's own."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

__all__ = ["blame"]


def blame(error: Exception) -> str | None:
    """Return a sentence about the installed plugin whose code raised an error; None if none did."""
    homes = {home: entry for entry in entry_points(group="ganaug") for home in _homes(entry)}
    for file, line in reversed(list(_places(error))):
        entry = next((homes[home] for home in (file, *file.parents) if home in homes), None)
        if entry is not None and entry.dist is not None:
            owner = f"{entry.dist.name} {entry.dist.version}"
            return (
                f"The plugin {entry.name!r} of {owner} raised {type(error).__name__}: {error} (in "
                f"{file.name}, line {line}). Look at it with: ganaug plugins check "
                f"{_name(owner) or entry.name}"
            )
    return None


def _homes(entry: EntryPoint) -> list[Path]:
    """Return the folder of a plugin's package, or the file of its module."""
    try:
        spec = find_spec(entry.module)
    except (ImportError, ValueError):  # a broken plugin, which raised nothing here
        return []
    if spec is None or entry.module.partition(".")[0] == "ganaug":
        return []
    places = spec.submodule_search_locations or [spec.origin or ""]
    return [Path(place).resolve() for place in places if place]


def _places(error: BaseException) -> Iterator[tuple[Path, int]]:
    """Yield file and line of what an error passed through, outermost first; of workers as well."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield Path(frame.f_code.co_filename).resolve(), line
    if error.__cause__ is not None and type(error.__cause__).__name__ == "_RemoteTraceback":
        for file, line in re.findall(r'File "(.+?)", line (\d+)', str(error.__cause__)):
            yield Path(file).resolve(), int(line)


def _name(owner: str) -> str | None:
    """Return the name of the first plugin of a distribution."""
    from ganaug.registry import Registry

    return next((item.name for item in Registry.load().listings if item.provider == owner), None)
