"""What ``run.toml`` holds: what was fitted, on what, and how its images are handed out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

import ganaug
from ganaug.config import Config
from ganaug.fitting import output_of
from ganaug.parts import Part
from ganaug.recipes import Recipe

if TYPE_CHECKING:
    from ganaug.registry import Registry
    from ganaug.spec import LabelledImages

__all__ = ["FORMAT", "FormConfig", "OutputConfig", "RunConfig", "describe_run"]

#: The version of the layout; a reader refuses a newer one.
FORMAT = 1


class FormConfig(Config):
    """The form of the images that `SyntheticAugmenter` was fitted on, and what it adds.

    kind: "pillow", "tensor" or "array". layout: "HW", "HWC" or "CHW". dtype: torch's or NumPy's
    name. labels: as the caller knows them, by class index. to_add: images by class index.
    """

    kind: Literal["pillow", "tensor", "array"]
    layout: Literal["HW", "HWC", "CHW"]
    dtype: str
    channels: int
    labels: tuple[int | float | bool | str, ...]
    to_add: dict[str, int]


class OutputConfig(Config):
    """What images look like on the way out; see `ganaug.model.Output`."""

    height: int
    width: int
    dtype: str
    value_range: tuple[float, float]


class RunConfig(Config):
    """What ``run.toml`` holds.

    provider: who the generator plugin came from. source: the images, as DATA was given, or
    "python". fingerprint: SHA-256 of the training pixels, labels and class names. class_names:
    the trained classes; source_class_names: all of the source. channels, size: of the images
    that were trained on. form: the images that SyntheticAugmenter was fitted on, if it was.
    """

    format: int = FORMAT
    versions: dict[str, str]
    provider: str
    source: str
    source_fields: dict[str, str] = Field(default_factory=dict)
    fingerprint: str
    class_names: tuple[str, ...]
    source_class_names: tuple[str, ...]
    counts: dict[str, int]
    channels: int
    height: int
    width: int
    output: OutputConfig
    recipe: Recipe
    form: FormConfig | None = None


def describe_run(
    images: LabelledImages,
    parts: Sequence[Part],
    recipe: Recipe,
    registry: Registry,
    *,
    source: str,
    source_fields: Mapping[str, str] | None = None,
    form: FormConfig | None = None,
) -> RunConfig:
    """Describe the fitting of `parts`; `images` are all training rows of the source."""
    made = [part for part in parts if part.role != "pretraining"]
    trained = {name for part in made for name in part.images.class_names}
    loaded = parts[0].images
    digest = hashlib.sha256("".join(part.images.fingerprint() for part in parts).encode())
    output = output_of(parts)
    return RunConfig(
        versions=_versions(),
        provider=registry.provider("generators", recipe.generator),
        source=source,
        source_fields=dict(source_fields or {}),
        fingerprint=digest.hexdigest(),
        class_names=tuple(name for name in images.class_names if name in trained),
        source_class_names=images.class_names,
        counts=images.counts,
        channels=loaded.spec.channels,
        height=loaded.spec.height,
        width=loaded.spec.width,
        output=OutputConfig(**dataclasses.asdict(output)),
        recipe=recipe,
        form=form,
    )


def _versions() -> dict[str, str]:
    """Return the versions that a run's numbers depend on."""
    import torch

    return {"ganaug": ganaug.__version__, "torch": str(torch.__version__)}
