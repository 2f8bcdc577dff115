"""Parts: what a recipe trains, one generator each, checked and built before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ganaug.config import Config
from ganaug.errors import ConfigError, DataError, PluginError, ShapeError
from ganaug.generator import Generator
from ganaug.randomness import seeded
from ganaug.recipes import Conditioning, Recipe, resolve_config, seed_of
from ganaug.registry import Registry
from ganaug.selection import check_selection
from ganaug.spec import ImageSpec, LabelledImages

__all__ = [
    "DEFAULT_TOTAL_IMAGES",
    "FINE_TUNING_SHARE",
    "Part",
    "load_at",
    "plan_parts",
    "time_share",
    "total_images",
    "with_conditioning",
]

#: What `total_images` is when neither images nor minutes are given: minutes at 32 px on a laptop.
DEFAULT_TOTAL_IMAGES = 100_000

#: How long a class is fine-tuned, in terms of the pretraining. A quarter is not measured to be
#: best; it keeps the whole of few classes near the length of one training.
FINE_TUNING_SHARE = 0.25

_SMALLEST, _LARGEST = 16, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One training of a recipe: all classes, or one of them.

    index, name: the class, or None and "all" or "pretraining". images: loaded, at the generator's
    size. role: the model is made of all parts but the pretraining, which comes first and which
    fine-tunings go on from.
    """

    index: int | None
    name: str
    images: LabelledImages
    generator: Generator
    role: Literal["alone", "pretraining", "fine-tuning"] = "alone"

    @property
    def weight(self) -> float:
        """How long it is trained, in terms of a part that is not fine-tuned."""
        return FINE_TUNING_SHARE if self.role == "fine-tuning" else 1.0


def total_images(recipe: Recipe, part: Part) -> int | None:
    """Return the training images that a part sees; None without a limit."""
    images = recipe.total_images or (None if recipe.minutes else DEFAULT_TOTAL_IMAGES)
    return None if images is None else max(round(images * part.weight), 1)


def time_share(part: Part, parts: Sequence[Part]) -> float:
    """Return the share of a recipe's minutes that one of its parts has."""
    return part.weight / sum(each.weight for each in parts)


def with_conditioning(
    recipe: Recipe, images: LabelledImages, classes: Sequence[int], registry: Registry
) -> Recipe:
    """Return the recipe with the way of conditioning of those who name none.

    "pretrain-finetune" where only some of the classes are learned, so that the others have
    something to teach; "conditional" otherwise, and for a generator whose training has stages, as
    two trainings of one need not meet in the same. images: all training rows. classes: that are
    learned, by index. `python benchmarks/few_images.py` is what this follows from.

    Raises what building a generator raises.
    """
    others = set(np.unique(images.labels).tolist()) - set(classes)
    learned = [np.flatnonzero(images.labels == label)[:1] for label in classes]
    chosen: Conditioning = "conditional"
    if others and any(map(len, learned)):
        build = _builder(recipe, resolve_config(registry, recipe), registry)
        with seeded(seed_of(recipe, None, purpose=0)):
            generator, _ = _build(
                build, images.subset(np.concatenate(learned)).as_one_class(), recipe.size
            )
        if not generator.has_stages:
            chosen = "pretrain-finetune"
    return recipe.model_copy(update={"conditioning": chosen})


def plan_parts(
    images: LabelledImages,
    recipe: Recipe,
    registry: Registry,
    built: Generator | None = None,
    *,
    pretraining: LabelledImages | None = None,
) -> list[Part]:
    """Check the images, load them at the generator's size and build what will be trained.

    built: a generator to use instead of the recipe's plugin, of the images' own spec.
    pretraining: what a pretraining sees, of all classes there are; `images` unless given.
    Raises DataError, ShapeError or ConfigError; nothing was trained then.
    """
    check_selection(recipe.select)
    _check_classes(images)
    pretrained = recipe.conditioning == "pretrain-finetune"
    if built is not None:
        if pretrained or (len(images.class_names) > 1 and recipe.conditioning == "per-class"):
            raise ConfigError(
                f"conditioning={recipe.conditioning!r} needs a generator by name, to build one "
                "each."
            )
        loaded = load_at(images, *built.spec.shape[1:])
        return [Part(index=None, name="all", images=loaded, generator=built)]
    build = _builder(recipe, resolve_config(registry, recipe), registry)
    parts = []
    for index, chosen in _divide(images, recipe, images if pretraining is None else pretraining):
        with seeded(seed_of(recipe, index, purpose=0)):
            generator, loaded = _build(build, chosen, recipe.size)
        name = "all" if index is None else images.class_names[index]
        parts.append(Part(index=index, name=name, images=loaded, generator=generator))
    if pretrained:
        parts[0] = replace(parts[0], name="pretraining", role="pretraining")
        parts[1:] = [replace(part, role="fine-tuning") for part in parts[1:]]
        _check_stages(parts, recipe)
    return parts


def _builder(
    recipe: Recipe, config: Config, registry: Registry
) -> Callable[[ImageSpec], Generator]:
    """Return what builds the recipe's generator for images of a spec."""

    def build(spec: ImageSpec) -> Generator:
        generators = registry.generators
        generator = generators.make(recipe.generator, lambda it: it.build(config, spec), Generator)
        _check_device(generator, recipe.generator, registry)
        return generator

    return build


def _check_device(generator: Generator, name: str, registry: Registry) -> None:
    for weight, tensor in generator.state_dict().items():
        if tensor.device.type != "cpu":
            raise PluginError(
                f"The generator {name!r} of {registry.provider('generators', name)} built {weight} "
                f"on {tensor.device}; expected the CPU, as the loop moves it. That fails the check "
                f"'builds-on-the-cpu'. Look at it with: ganaug plugins check {name}"
            )


def _check_stages(parts: Sequence[Part], recipe: Recipe) -> None:
    """Raise ConfigError where a class cannot go on from the stage that a pretraining ends at.

    Only where that is known beforehand: minutes and policies can end it anywhere. Should it end
    within a step of a change of stage, `Training.go_on_from` is the one to notice.
    """
    first, total = parts[0], total_images(recipe, parts[0])
    if total is None or recipe.minutes is not None or recipe.stop:
        return
    with seeded(0):
        ended = copy.deepcopy(first.generator)
        ended.advance(total - 1, first.images)
        for part in parts[1:]:
            if copy.deepcopy(ended).advance(total - 1, part.images):
                raise ConfigError(
                    f"The pretraining on {len(first.images):,} images would end at another stage "
                    f"than a training on the {len(part.images):,} of class {part.name!r} is at "
                    f"after {total:,} images: the schedule of {type(ended).__name__} follows from "
                    "their number. Set the schedule in images "
                    "(ganaug plugins show NAME), or use 'per-class' or 'conditional'."
                )


def _divide(
    images: LabelledImages, recipe: Recipe, pretraining: LabelledImages
) -> Iterator[tuple[int | None, LabelledImages]]:
    """Yield what each part is trained on, with its class. Raises ConfigError; see `plan_parts`."""
    if recipe.conditioning == "pretrain-finetune":
        yield None, _as_pretraining(pretraining)
    elif len(images.class_names) == 1 or recipe.conditioning == "conditional":
        yield None, images
        return
    for index in range(len(images.class_names)):
        yield index, images.only([index])


def load_at(images: LabelledImages, height: int, width: int) -> LabelledImages:
    """Load images at the size of a generator, as those that it is trained on.

    Raises ShapeError for images of another size than one that is not square: only squares are
    resized to.
    """
    if height == width:
        return images.load(height)
    loaded = images.load()
    if loaded.spec.shape[1:] != (height, width):
        raise ShapeError(
            f"The generator makes images of {height}x{width}; these are "
            f"{loaded.spec.height}x{loaded.spec.width}. Images are resized to squares only: "
            "resize them first, or build the generator for their size."
        )
    return loaded


def _as_pretraining(images: LabelledImages) -> LabelledImages:
    """Return images as a pretraining sees them, each as often. Raises ConfigError for one class."""
    present = [name for name, n in images.counts.items() if n]
    if len(present) == 1:
        raise ConfigError(
            "conditioning='pretrain-finetune' trains on all classes before it fine-tunes each, and "
            f"there is only class {present[0]!r}. Give images of more classes, or use "
            "'conditional' or 'per-class'."
        )
    return images.as_one_class()


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
