"""Opening the images that a command line names: ``[PLUGIN:]LOCATION``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.errors import ConfigError, DataError, PluginConflictError

if TYPE_CHECKING:
    from ganaug.plugins import DatasetPlugin
    from ganaug.registry import Registry
    from ganaug.spec import LabelledImages

__all__ = ["absolute", "check_outside", "open_images"]


def open_images(
    data: str, registry: Registry, fields: Mapping[str, str] | None = None
) -> LabelledImages:
    """Open ``[PLUGIN:]LOCATION`` with the named dataset plugin, or the one of the highest claim.

    fields: of the plugin's config, as strings (``{"file_column": "path"}``).
    Raises DataError when the location does not exist, nothing understands it, or its data cannot
    be used; PluginConflictError when two plugins claim it equally; UnknownPluginError and
    ConfigError for a wrong name or field.
    """
    from ganaug.spec import LabelledImages

    name, location = _parse(data)
    plugin = registry.datasets[name] if name else _claimant(location, registry)
    try:
        config = plugin.config.from_strings(fields or {})
    except ConfigError as error:
        raise ConfigError(f"Dataset plugin {plugin.name!r}: {error}") from error
    return registry.datasets.make(
        plugin.name, lambda plugin: plugin.open(config, location), LabelledImages
    )


def check_outside(out: Path, data: str) -> None:
    """Raise ConfigError when output would land inside the folder of DATA, among its images."""
    _, location = _parse(data)
    if location.is_dir() and out.resolve().is_relative_to(location.resolve()):
        raise ConfigError(
            f"--out {out} is inside the images' own folder {location}, where it would be taken "
            "for images. Write it somewhere else."
        )


def absolute(data: str) -> str:
    """Return the same images for a process in whatever working directory; a name stays a name.

    Raises DataError for empty text.
    """
    name, location = _parse(data)
    if not location.exists():
        return data
    return f"{name}:{location.absolute()}" if name else str(location.absolute())


def _parse(data: str) -> tuple[str | None, Path]:
    """Return the plugin, if one is named, and the location. Raises DataError for empty text.

    A colon may be part of a path: what stands before it is a plugin's name unless that path exists.
    """
    if not data.strip():
        raise DataError("DATA is empty; expected [PLUGIN:]LOCATION, such as photos/ or digits.")
    name, colon, rest = data.partition(":")
    is_drive = len(name) == 1 and rest[:1] in {"\\", "/"}  # C:\images
    if not colon or is_drive or "/" in name or "\\" in name or Path(data).exists():
        return None, Path(data).expanduser()
    return name, Path(rest).expanduser()


def _claim(plugin: DatasetPlugin, location: Path) -> int:
    try:
        return plugin.claims(location)
    except Exception as error:  # a broken stranger must not keep others from opening their data
        warnings.warn(
            f"The dataset plugin {plugin.name!r} failed to look at {location}: {error!r}.",
            stacklevel=2,
        )
        return 0


def _claimant(location: Path, registry: Registry) -> DatasetPlugin:
    claims = {name: _claim(plugin, location) for name, plugin in registry.datasets.items()}
    highest = max(claims.values(), default=0)
    winners = sorted(name for name, claim in claims.items() if claim == highest > 0)
    if len(winners) > 1:
        raise PluginConflictError(
            f"{location} is claimed equally by {' and '.join(winners)}. Name the one to use: "
            f"{winners[0]}:{location}."
        )
    if winners:
        return registry.datasets[winners[0]]
    if not location.exists():
        raise DataError(f"There is nothing at {location}. Check the path.")
    understood = "; ".join(
        f"{name} ({plugin.summary.rstrip('.')})"
        for name, plugin in sorted(registry.datasets.items())
    )
    raise DataError(
        f"No dataset plugin understands {location}. They are: {understood}. "
        f"Name one to insist on it: PLUGIN:{location}."
    )
