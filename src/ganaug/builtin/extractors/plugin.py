"""Built-in feature extractors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ganaug import FeatureExtractorPlugin, hookimpl
from ganaug.builtin.extractors.config import (
    ClassifierConfig,
    InceptionConfig,
    PCAConfig,
    RadiomicsConfig,
    RandomConvConfig,
)

if TYPE_CHECKING:
    from ganaug import FeatureExtractor, ImageSpec

__all__ = ["ganaug_feature_extractors"]


def build_random_conv(config: RandomConvConfig, spec: ImageSpec) -> FeatureExtractor:
    """Build `random-conv`. Raises ShapeError for images that it cannot take."""
    from ganaug.builtin.extractors.random_conv import RandomConv

    return RandomConv(config, spec)


def build_pca(config: PCAConfig, spec: ImageSpec) -> FeatureExtractor:
    """Build `pca`. Raises ShapeError for images that it cannot take."""
    from ganaug.builtin.extractors.pca import PCAFeatures

    return PCAFeatures(config, spec)


def build_classifier(config: ClassifierConfig, spec: ImageSpec) -> FeatureExtractor:
    """Build `classifier`. Raises ShapeError for images, ConfigError for one class."""
    from ganaug.builtin.extractors.classifier import ClassifierFeatures

    return ClassifierFeatures(config, spec)


def build_radiomics(config: RadiomicsConfig, spec: ImageSpec) -> FeatureExtractor:
    """Build `radiomics`. Raises ShapeError for images that it cannot take."""
    from ganaug.builtin.extractors.radiomics import Radiomics

    return Radiomics(config, spec)


def build_inception(config: InceptionConfig, spec: ImageSpec) -> FeatureExtractor:
    """Build `inception`. Raises ShapeError for images, ConfigError without its weights."""
    from ganaug.builtin.extractors.inception import Inception

    return Inception(config, spec)


@hookimpl
def ganaug_feature_extractors() -> Iterable[FeatureExtractorPlugin]:
    """Yield ``random-conv``, ``pca``, ``classifier``, ``radiomics`` and ``inception``."""
    yield FeatureExtractorPlugin(
        name="random-conv",
        summary="Random convolutions with a fixed seed; nothing to learn or to download.",
        config=RandomConvConfig,
        build=build_random_conv,
    )
    yield FeatureExtractorPlugin(
        name="pca",
        summary="Principal components of the pixels of training images.",
        config=PCAConfig,
        build=build_pca,
    )
    yield FeatureExtractorPlugin(
        name="classifier",
        summary="A small network trained to tell the classes of training images apart.",
        config=ClassifierConfig,
        build=build_classifier,
    )
    yield FeatureExtractorPlugin(
        name="radiomics",
        summary="First-order and texture (GLCM) statistics of the grey image.",
        config=RadiomicsConfig,
        build=build_radiomics,
    )
    yield FeatureExtractorPlugin(
        name="inception",
        summary="Inception-v3 as FID uses it, through torch-fidelity; needs its weights.",
        config=InceptionConfig,
        build=build_inception,
    )
