"""A generator plugin as checks see it: built, trained for a few steps, and drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ganaug.config import Config
from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.generator import Generator
from ganaug.plugins import GeneratorPlugin
from ganaug.randomness import seeded
from ganaug.spec import ImageSpec, LabelledImages
from ganaug.testing.checks import expect, expect_kind
from ganaug.testing.images import example_images
from ganaug.training import Training, train

__all__ = ["BATCH", "REFUSALS", "STEPS", "GeneratorSubject", "draw", "spec_of"]

_SIZES = (16, 32, 28, 64, 8, 128)
BATCH = 8
STEPS = 2

#: How a generator says that it cannot do a spec.
REFUSALS = (ShapeError, ConfigError, DataError)


@dataclass
class GeneratorSubject:
    """A generator plugin under test.

    settings: fields of its config, such as small widths. size: pixels a side of the images that
    it is tried with; the first of several that it can do unless given.
    """

    record: GeneratorPlugin
    settings: dict[str, Any]
    size: int | None = None

    @cached_property
    def config(self) -> Config:
        """The config that it is built with."""
        return self.record.config.from_fields(self.settings)

    def build(self, spec: ImageSpec, seed: int = 0) -> Generator:
        """Build for a spec, seeded."""
        with seeded(seed):
            generator = self.record.build(self.config, spec)
        expect_kind(generator, Generator, "build")
        return generator

    def spec(self, channels: int | None = None, classes: int = 1) -> ImageSpec:
        """Return the smallest spec that it can do. Raises CheckFailedError when there is none."""
        refused = ""
        sizes = (self.size,) if self.size else _SIZES
        for size in sizes:
            for number in (channels,) if channels else (3, 1):
                found = spec_of(number, size, classes)
                try:
                    self.build(found)
                except REFUSALS as error:
                    refused = str(error)
                else:
                    return found
        what = f"{channels} channels" if channels else "1 or 3 channels"
        expect(
            False,
            f"it builds for no size of {', '.join(map(str, sizes))} with {what}; give a size that "
            f"it does, on the command line --size PIXELS. It says: {refused}",
        )
        raise AssertionError

    def images(self, spec: ImageSpec) -> LabelledImages:
        """Return images of a spec to train on."""
        return example_images(spec, n=4 * BATCH)

    def training(self, spec: ImageSpec, *, steps: int = STEPS, seed: int = 0) -> Training:
        """Return a training of a new generator, on this machine's processor."""
        generator = self.build(spec)
        return train(
            generator,
            self.images(spec),
            total_images=steps * (generator.batch_size(0) or BATCH),
            batch_size=BATCH,
            device="cpu",
            precision="32-true",
            random_state=seed,
        )

    def trained(self, spec: ImageSpec) -> Generator:
        """Return the averaged generator after a few steps."""
        training = self.training(spec)
        for _ in training:
            pass
        return training.ema


def draw(generator: Generator, labels: list[int], seed: int = 0) -> Tensor:
    """Sample as ganaug does: in eval mode, without gradients, from a generator of its own."""
    was = generator.training
    generator.eval()
    with torch.no_grad():
        images = generator.sample(
            torch.tensor(labels, dtype=torch.int64), rng=torch.Generator().manual_seed(seed)
        )
    generator.train(was)
    return images


def spec_of(channels: int, size: int, classes: int) -> ImageSpec:
    """Return the spec of square images of classes a, b, ..."""
    return ImageSpec(
        channels=channels, height=size, width=size, class_names=tuple("abcdefgh"[:classes])
    )
