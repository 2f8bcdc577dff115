"""What a run keeps of the filters that learned, and what an export says of what they dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.errors import ConfigError, DataError, RunError
from ganaug.filters.classifier import ClassifierFilter
from ganaug.filters.discriminator import DiscriminatorFilter
from ganaug.filters.learning import FILTERS
from ganaug.integrity import check_intact

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.registry import Registry

__all__ = ["log_fields", "read_filters", "write_filters"]

_FORMAT = 1


def write_filters(folder: Path, model: ImageModel) -> None:
    """Write filters/NAME.safetensors into a run, for each filter that learned."""
    for each in model.filters:
        if isinstance(each, ClassifierFilter | DiscriminatorFilter):
            tensors, header = each.to_tensors()
            header = {"format": _FORMAT, "classes": model.class_names, **header}
            write_tensors(_path(folder, each.name), tensors, header)


def read_filters(
    folder: Path,
    names: Sequence[str],
    model: ImageModel,
    registry: Registry,
    manifest: dict[str, str],
) -> list[ClassifierFilter | DiscriminatorFilter]:
    """Read the filters of a run's model that learned, in their order.

    manifest: of the run's files. Raises RunError when one is missing, damaged, or made by
    another version.
    """
    kinds = {kind.name: kind for kind in (ClassifierFilter, DiscriminatorFilter)}
    found: list[ClassifierFilter | DiscriminatorFilter] = []
    for name in (name for name in FILTERS if name in names and name in kinds):
        path = _path(folder, name)
        check_intact(folder, path, manifest)
        tensors, header = read_tensors(path)
        try:
            if header["format"] != _FORMAT or header["classes"] != list(model.class_names):
                raise ValueError("it is of another version or other classes")
            found.append(kinds[name].from_tensors(tensors, header, model, registry))
        except (ConfigError, DataError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"{path} does not fit the run: {reason}. Restore it from a copy, or fit the run "
                "again."
            ) from error
    return found


def log_fields(model: ImageModel) -> dict[str, Any]:
    """Return what filters dropped of all that was drawn so far, and why; for JSON.

    Keys: filters (by name in their order: what they drop, and a summary) and classes (by name:
    drawn, kept, and dropped by filter). An image that several would drop counts for the first.
    """
    drawn = {name: tally for name, tally in model.tallies.items() if tally.drawn}
    return {
        "filters": {
            each.name: {"drops": each.reason, "summary": each.summary} for each in model.filters
        },
        "classes": {
            name: {
                "drawn": tally.drawn,
                "kept": tally.kept,
                "dropped": {each.name: tally.dropped[each.name] for each in model.filters},
            }
            for name, tally in drawn.items()
        },
    }


def _path(folder: Path, name: str) -> Path:
    return folder / "filters" / f"{name}.safetensors"
