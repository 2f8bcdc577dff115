"""From images and a recipe to a fitted model: the steps that Python and command line share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ganaug.config import Config
from ganaug.copies import CopyFilter
from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.generator import Generator
from ganaug.model import ImageModel, Output, Source
from ganaug.randomness import seeded
from ganaug.selection import Selection, check_selection, select
from ganaug.spec import ImageSpec, LabelledImages
from ganaug.stopping import History, Progress, StoppingPolicy, first_reason
from ganaug.training import Training, train

if TYPE_CHECKING:
    from ganaug.registry import Registry

__all__ = [
    "Part",
    "Recipe",
    "build_policy",
    "copies_of",
    "fit_part",
    "make_model",
    "output_of",
    "plan_parts",
    "policies_of",
    "resolve_config",
    "start_training",
]

#: What `total_images` is when neither images nor minutes are given: minutes at 32 px on a laptop.
DEFAULT_TOTAL_IMAGES = 100_000
_UNLIMITED = 2**53

_SMALLEST, _LARGEST = 16, 256


class Recipe(Config):
    """How a model is fitted; with the images, everything that its weights follow from.

    generator, settings: the plugin's name and its config's fields.
    size: pixels a side to train at; None for the images' own size where the generator can do it.
    conditioning: "conditional" (one generator, told the class) or "per-class" (one each).
    total_images: training images to see, per class when per class; None for 100,000, or no
        limit when there is one in minutes. minutes: of training, shared by the classes.
    stop: policies, ``NAME`` or ``NAME:FIELD=VALUE,...``.
    select: "last" or "average".
    """

    generator: str = "dcgan"
    settings: dict[str, Any] = Field(default_factory=dict)
    size: int | None = Field(default=None, ge=4, le=4096)
    conditioning: Literal["conditional", "per-class"] = "conditional"
    total_images: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=64, ge=1)
    stop: tuple[str, ...] = ()
    select: Selection = "last"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    random_state: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One training of a recipe: all classes, or one of them.

    index, name: the class, or None and "all". images: loaded, at the generator's size.
    """

    index: int | None
    name: str
    images: LabelledImages
    generator: Generator


def resolve_config(registry: Registry, recipe: Recipe) -> Config:
    """Return the generator's config with every default filled in. Raises ConfigError."""
    return registry.generators[recipe.generator].config.from_fields(recipe.settings)


def build_policy(text: str, registry: Registry) -> StoppingPolicy:
    """Build a policy from ``NAME`` or ``NAME:FIELD=VALUE,...``. Raises ConfigError."""
    name, _, fields = text.partition(":")
    plugin = registry.stopping_policies[name]
    assignments = {}
    for assignment in filter(None, fields.split(",")):
        field, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: expected NAME:FIELD=VALUE,...; got {assignment!r}.")
        assignments[field.strip()] = value.strip()
    return plugin.build(plugin.config.from_strings(assignments))


def plan_parts(
    images: LabelledImages, recipe: Recipe, registry: Registry, built: Generator | None = None
) -> list[Part]:
    """Check the images, load them at the generator's size and build what will be trained.

    built: a generator to use instead of the recipe's plugin, of the images' own spec.
    Raises DataError, ShapeError or ConfigError; nothing was trained then.
    """
    check_selection(recipe.select)
    _check_classes(images)
    if len(images.class_names) == 1 or recipe.conditioning == "conditional":
        groups: list[tuple[int | None, LabelledImages]] = [(None, images)]
    else:
        groups = [(i, images.only([i])) for i in range(len(images.class_names))]
    if built is not None:
        if len(groups) > 1:
            raise ConfigError(
                "conditioning='per-class' needs a generator by name, to build one each."
            )
        loaded = _load_for(built.spec, images)
        return [Part(index=None, name="all", images=loaded, generator=built)]
    config = resolve_config(registry, recipe)
    build = registry.generators[recipe.generator].build
    parts = []
    for index, chosen in groups:
        with seeded(_seed(recipe, index, purpose=0)):
            generator, loaded = _build(lambda spec: build(config, spec), chosen, recipe.size)
        name = "all" if index is None else images.class_names[index]
        parts.append(Part(index=index, name=name, images=loaded, generator=generator))
    return parts


def _load_for(spec: ImageSpec, images: LabelledImages) -> LabelledImages:
    """Load images at the size of a built generator; only a square one can be resized to."""
    if spec.height == spec.width:
        return images.load(spec.height)
    loaded = images.load()
    if loaded.spec.shape[1:] != (spec.height, spec.width):
        raise ShapeError(
            f"The generator makes images of {spec.height}x{spec.width}; the training images are "
            f"{loaded.spec.height}x{loaded.spec.width}. Images are resized to squares only: "
            "resize them first, or build the generator for their size."
        )
    return loaded


def _check_classes(images: LabelledImages) -> None:
    if not len(images):
        raise DataError("There are no images to learn from.")
    for name, n in images.counts.items():
        if n < 2:
            raise DataError(
                f"Class {name!r} has {n} training image{'s' * (n != 1)}; a generator needs at "
                "least 2 to learn a class from. Add images, or leave the class out."
            )


def _build(
    build: Callable[[ImageSpec], Generator], images: LabelledImages, size: int | None
) -> tuple[Generator, LabelledImages]:
    """Build for the images' size; where that cannot be done, for the next power of two."""
    loaded = images.load(size)
    try:
        return build(loaded.spec), loaded
    except ShapeError:
        if size is not None:
            raise
        side = max(loaded.spec.height, loaded.spec.width)
        nearest = min(max(1 << (side - 1).bit_length(), _SMALLEST), _LARGEST)
        loaded = loaded.load(nearest)
        return build(loaded.spec), loaded


def start_training(part: Part, recipe: Recipe, *, device: str = "auto") -> Training:
    """Return a part's training, at its first step."""
    unlimited = _UNLIMITED if recipe.minutes else DEFAULT_TOTAL_IMAGES
    return train(
        part.generator,
        part.images,
        total_images=recipe.total_images or unlimited,
        batch_size=recipe.batch_size,
        precision=recipe.precision,
        device=device,
        random_state=_seed(recipe, part.index, purpose=1),
    )


def fit_part(
    training: Training,
    policies: Sequence[StoppingPolicy],
    *,
    history: History | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> str:
    """Train to the end, or until a policy gives its reason; return why it ended, as a clause."""
    history = History() if history is None else history
    for progress in training:
        history.record(progress)
        if on_step is not None:
            on_step(progress)
        if reason := first_reason(policies, history):
            return reason
    return f"{training.images_seen:,} images were seen"


def policies_of(recipe: Recipe, registry: Registry, parts: int) -> list[StoppingPolicy]:
    """Build the recipe's policies; its minutes are shared by the parts."""
    texts = list(recipe.stop)
    if recipe.minutes is not None:
        texts.append(f"max-seconds:seconds={recipe.minutes * 60 / parts!r}")
    return [build_policy(text, registry) for text in texts]


def make_model(
    images: LabelledImages,
    parts: Sequence[Part],
    trainings: Sequence[Training],
    recipe: Recipe,
    *,
    keep_copies: bool = False,
    source: Source | None = None,
) -> ImageModel:
    """Return the fitted model: selected weights, original size and bit depth, a copy filter."""
    return ImageModel(
        generators=[select(training, recipe.select) for training in trainings],
        class_names=images.class_names,
        output=output_of(parts),
        copies=None if keep_copies else copies_of(parts),
        source=source,
    )


def output_of(parts: Sequence[Part]) -> Output:
    """Say what images look like on the way out: as they came in, if they were all of one size."""
    loaded = parts[0].images
    sizes = {part.images.original_size for part in parts}
    height, width = (len(sizes) == 1 and sizes.pop()) or loaded.spec.shape[1:]
    return Output(
        height=height,
        width=width,
        dtype=str(np.asarray(loaded.pixels).dtype),
        value_range=loaded.value_range,
    )


def copies_of(parts: Sequence[Part]) -> CopyFilter:
    """Hash the training images of all parts, at the size they are generated at."""
    pixels = np.concatenate([np.asarray(part.images.pixels) for part in parts])
    return CopyFilter.of(pixels, parts[0].images.value_range)


def _seed(recipe: Recipe, index: int | None, *, purpose: int) -> int:
    entropy = [recipe.random_state, purpose, 0 if index is None else index + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 16)
