"""Configurations of the built-in feature extractors."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ganaug import Config

__all__ = [
    "ClassifierConfig",
    "InceptionConfig",
    "PCAConfig",
    "RadiomicsConfig",
    "RandomConvConfig",
]


class RandomConvConfig(Config):
    """A convolutional network that is never trained.

    seed: of its weights; two seeds are two different feature spaces.
    """

    seed: int = Field(default=0, ge=0)


class PCAConfig(Config):
    """Principal components of the pixels of training images.

    components: how many to keep; fewer where there are fewer images or pixels.
    size: pixels a side at which images are compared; larger ones are shrunk to it.
    """

    components: int = Field(default=64, ge=1, le=1024)
    size: int = Field(default=32, ge=4, le=128)


class ClassifierConfig(Config):
    """A small network that learns to tell the classes of the training images apart.

    dimension: features an image, the width of the layer before the last.
    total_images: images that training sees, repeats included.
    learning_rate: of AdamW, at its peak.
    seed: of the first weights, of the images drawn and of how they are shifted.
    """

    dimension: int = Field(default=128, ge=16, le=1024)
    total_images: int = Field(default=12_000, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)


class RadiomicsConfig(Config):
    """Statistics of the grey values of an image, and of pairs of them.

    levels: grey levels that pairs of pixels are counted at.
    distances: between the pixels of a pair, in pixels.
    """

    levels: int = Field(default=16, ge=2, le=64)
    distances: tuple[int, ...] = Field(default=(1, 2, 4), min_length=1)


class InceptionConfig(Config):
    """Inception-v3 as FID uses it.

    weights: the file of torch-fidelity's own weights; None for the one in torch's cache, which
        is downloaded when it is not there.
    """

    weights: Path | None = None
