"""Built-in studies: a TOML file each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from ganaug import Study, hookimpl

__all__ = ["ganaug_studies"]

_NAMES = ("any", "isic-aegan", "bone-xray", "ham-bcc", "mammo-patches", "headct-pggan")


@hookimpl
def ganaug_studies() -> Iterable[Study]:
    """Yield ``any``, for any image set, and five that follow published ones."""
    for name in _NAMES:
        yield Study.from_toml(files(__package__) / f"{name}.toml")
