"""The dataset plugin ``medmnist`` for ganaug: ``medmnist:dermamnist`` and its siblings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import field_validator

from ganaug import Config, DatasetPlugin, hookimpl

if TYPE_CHECKING:
    from ganaug import LabelledImages

__all__ = ["MedMNISTConfig", "ganaug_datasets"]


class MedMNISTConfig(Config):
    """How a set of MedMNIST is opened."""

    root: str | None = None  # folder of the .npz files, no network; else they are downloaded once
    size: int = 28  # pixels a side: 28, 64, 128 or 224; a set is held in memory as a whole

    @field_validator("size")
    @classmethod
    def _is_published(cls, size: int) -> int:
        if size not in (28, 64, 128, 224):
            raise ValueError("MedMNIST has images of 28, 64, 128 and 224 pixels a side")
        return size


def _open(config: MedMNISTConfig, location: Path) -> LabelledImages:
    from ganaug_medmnist.sets import open_set

    return open_set(config, str(location))


@hookimpl
def ganaug_datasets() -> Iterable[DatasetPlugin]:
    """Yield ``medmnist``. It claims nothing: its sets are named, as in ``medmnist:bloodmnist``."""
    yield DatasetPlugin(
        name="medmnist",
        summary="A 2-D set of MedMNIST v2 by name, in its official splits.",
        config=MedMNISTConfig,
        open=_open,
        claims=lambda location: 0,
    )
