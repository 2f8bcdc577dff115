"""Whose code raised an error that nobody expected: an installed plugin's, or ganaug's own."""

from __future__ import annotations

import traceback
from importlib.metadata import entry_points

__all__ = ["blame"]


def blame(error: Exception) -> str | None:
    """Return a sentence about the installed plugin whose code raised an error; None if none did."""
    entries = {
        entry.module.partition(".")[0]: entry
        for entry in entry_points(group="ganaug")
        if entry.dist is not None
    }
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        entry = entries.get(module.partition(".")[0])
        if entry is not None and entry.dist is not None:
            owner = f"{entry.dist.name} {entry.dist.version}"
            return (
                f"The plugin {entry.name!r} of {owner} raised {type(error).__name__}: {error} (in "
                f"{module}, line {number}). Look at it with: ganaug plugins check "
                f"{_name(owner) or entry.name}"
            )
    return None


def _name(owner: str) -> str | None:
    """Return the name of the first plugin of a distribution."""
    from ganaug.registry import Registry

    return next((item.name for item in Registry.load().listings if item.provider == owner), None)
