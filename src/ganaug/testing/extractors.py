"""What every feature extractor promises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganaug.config import Config
from ganaug.errors import ShapeError
from ganaug.evaluator import FeatureExtractor
from ganaug.plugins import FeatureExtractorPlugin
from ganaug.randomness import seeded
from ganaug.spec import ImageSpec, LabelledImages
from ganaug.testing.checks import check_table, config_round_trip, expect, expect_kind
from ganaug.testing.images import example_images

__all__ = ["CHECKS", "ExtractorSubject", "as_batch"]

CHECKS, _check = check_table()
_check(config_round_trip)

_TOLERANCE = 1e-4
_SIZE = 32


def as_batch(images: LabelledImages) -> Tensor:
    """Return uint8 images as float32 (N, C, H, W) in [-1, 1]."""
    return torch.from_numpy(np.asarray(images.pixels)).float() / 127.5 - 1


@dataclass
class ExtractorSubject:
    """A feature extractor under test. settings: fields of its config. size: of images, 32 px."""

    record: FeatureExtractorPlugin
    settings: dict[str, Any]
    size: int | None = None

    @cached_property
    def config(self) -> Config:
        """The config that it is built with."""
        return self.record.config.from_fields(self.settings)

    @cached_property
    def images(self) -> LabelledImages:
        """Images to learn from and to look at."""
        return self.example(seed=0)

    def example(self, seed: int, channels: int = 3) -> LabelledImages:
        """Return images of two classes."""
        size = self.size or _SIZE
        spec = ImageSpec(channels=channels, height=size, width=size, class_names=("a", "b"))
        return example_images(spec, n=48, seed=seed)

    @cached_property
    def built(self) -> FeatureExtractor:
        """One that was built and prepared, for checks that need no other."""
        return self.build()

    def build(self) -> FeatureExtractor:
        """Build it, and let it learn what it learns."""
        return self.build_on(self.images)

    def build_on(self, images: LabelledImages) -> FeatureExtractor:
        """Build it, and let it learn what it learns, from these images."""
        with seeded(0):
            extractor = self.record.build(self.config, images.spec)
            expect_kind(extractor, FeatureExtractor, "build")
            extractor.prepare(images)
        return extractor


@_check
def declared_shape(subject: ExtractorSubject) -> None:
    """Features are finite float32 (N, dimension), without gradients, for any N, of grey too."""
    _expect_declared(subject.built, as_batch(subject.images))
    grey = subject.example(seed=0, channels=1)
    try:
        extractor = subject.build_on(grey)
    except ShapeError:
        return  # it does colour only, and says so
    _expect_declared(extractor, as_batch(grey))


def _expect_declared(extractor: FeatureExtractor, batch: Tensor) -> None:
    """Extract features of images and compare them with what is declared."""
    for n in (1, 7):
        features = extractor.extract(batch[:n])
        shape = tuple(features.shape)
        expect(
            shape == (n, extractor.dimension),
            f"for {n} images it gave {shape}; it declares (N, {extractor.dimension})",
        )
        expect(features.dtype == torch.float32, f"it gave {features.dtype}; expected float32")
        expect(bool(torch.isfinite(features).all()), "some features are not finite")
        expect(not features.requires_grad, "its features carry gradients")


@_check
def one_image_at_a_time(subject: ExtractorSubject) -> None:
    """An image's features depend on no other image of the batch."""
    extractor = subject.built
    batch = as_batch(subject.images)[:8]
    together = extractor.extract(batch)
    alone = torch.cat([extractor.extract(image[None]) for image in batch])
    error = float((together - alone).abs().max() / together.abs().max().clamp(min=1e-12))
    expect(
        error <= _TOLERANCE,
        f"features differ by {error:.2g} of their range between one batch and single images",
    )


@_check
def stable_fingerprint(subject: ExtractorSubject) -> None:
    """Built again, it has the same fingerprint, and the same features."""
    first, second = subject.built, subject.build()
    batch = as_batch(subject.images)[:4]
    expect(
        first.fingerprint == second.fingerprint,
        "built and prepared again on the same images, it has another fingerprint",
    )
    same = torch.allclose(first.extract(batch), second.extract(batch), rtol=_TOLERANCE)
    expect(same, "with the same fingerprint it has other features")


@_check
def fingerprint_of_what_it_learned(subject: ExtractorSubject) -> None:
    """What it learned can be kept: another one that takes it over has the same features."""
    first = subject.built
    with seeded(1):
        second = subject.record.build(subject.config, subject.images.spec)
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    batch = as_batch(subject.images)[:4]
    same = torch.allclose(first.extract(batch), second.extract(batch), rtol=_TOLERANCE)
    expect(same, "with another's state_dict it has other features than that")
    expect(
        first.fingerprint == second.fingerprint,
        "with another's state_dict it has another fingerprint than that",
    )


@_check
def other_images_other_fingerprint(subject: ExtractorSubject) -> None:
    """Having learned other features from other images, it has another fingerprint."""
    first, second = subject.built, subject.build_on(subject.example(seed=1))
    batch = as_batch(subject.images)[:4]
    if not torch.allclose(first.extract(batch), second.extract(batch), rtol=_TOLERANCE):
        expect(
            first.fingerprint != second.fingerprint,
            "prepared on other images it has other features and the same fingerprint, so that "
            "features kept for one would be taken for the other's; hash what it learned",
        )


@_check
def leaves_the_global_rng_alone(subject: ExtractorSubject) -> None:
    """Extracting draws no random numbers."""
    extractor = subject.built
    before = torch.get_rng_state()
    extractor.extract(as_batch(subject.images)[:2])
    expect(torch.equal(before, torch.get_rng_state()), "extracting drew torch's global numbers")
