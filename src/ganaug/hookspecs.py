"""The hooks. Each takes nothing and returns an iterable of frozen records.

A distribution takes part by an entry point in the group ``ganaug`` that names a module (or
object) with functions marked `hookimpl`::

    [project.entry-points.ganaug]
    mygan = "ganaug_mygan"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ganaug.plugins import (
        DatasetPlugin,
        EvaluatorPlugin,
        FeatureExtractorPlugin,
        GeneratorPlugin,
        StoppingPolicyPlugin,
    )
    from ganaug.study import Study

__all__ = ["PROJECT_NAME", "Hooks", "hookimpl"]

PROJECT_NAME = "ganaug"

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class Hooks:
    """The six hooks of ganaug."""

    @staticmethod
    @hookspec
    def ganaug_generators() -> Iterable[GeneratorPlugin]:  # type: ignore[empty-body]  # a declaration
        """Yield generators.

        ::

            from ganaug import Config, GeneratorPlugin, hookimpl


            class MyGANConfig(Config):
                latent_dim: int = 64


            def build(config, spec):
                from .network import MyGAN  # heavy imports wait until a generator is built

                return MyGAN(config, spec)


            @hookimpl
            def ganaug_generators():
                yield GeneratorPlugin(
                    name="mygan", summary="My GAN.", config=MyGANConfig, build=build
                )
        """

    @staticmethod
    @hookspec
    def ganaug_datasets() -> Iterable[DatasetPlugin]:  # type: ignore[empty-body]  # a declaration
        """Yield sources of images.

        ::

            import numpy as np

            from ganaug import Config, DatasetPlugin, LabelledImages, hookimpl
            from ganaug.errors import DataError


            class NpyConfig(Config):
                label: str = "image"


            def open_npy(config, location):
                if not location.is_file():
                    raise DataError(f"There is no file {location}.")
                pixels = np.load(location, allow_pickle=False)  # uint8 (N, C, H, W)
                return LabelledImages(
                    pixels=pixels,
                    labels=np.zeros(len(pixels), dtype=np.int64),
                    class_names=(config.label,),
                    value_range=(0.0, 255.0),
                )


            @hookimpl
            def ganaug_datasets():
                yield DatasetPlugin(
                    name="npy",
                    summary="One .npy array of one class.",
                    config=NpyConfig,
                    open=open_npy,
                    claims=lambda location: 10 if location.suffix == ".npy" else 0,
                )
        """

    @staticmethod
    @hookspec
    def ganaug_evaluators() -> Iterable[EvaluatorPlugin]:  # type: ignore[empty-body]  # a declaration
        """Yield metrics.

        ::

            from ganaug import Config, Evaluator, EvaluatorPlugin, hookimpl
            from ganaug.errors import TooFewImagesError


            class Brightness(Evaluator):
                higher_is_better = False

                def __init__(self):
                    self.reset()

                def reset(self):
                    self.sums = {"holdout": [0.0, 0], "synthetic": [0.0, 0]}

                def update(self, images, *, role, labels=None):
                    if role in self.sums:
                        self.sums[role][0] += images.mean(dim=(1, 2, 3)).sum().item()
                        self.sums[role][1] += len(images)

                def compute(self):
                    for role, (_, n) in self.sums.items():
                        if not n:
                            raise TooFewImagesError(f"brightness needs {role} images; got none.")
                    real, fake = (total / n for total, n in self.sums.values())
                    return {"brightness-gap": abs(real - fake)}


            @hookimpl
            def ganaug_evaluators():
                yield EvaluatorPlugin(
                    name="brightness",
                    summary="Gap between mean brightness of real and synthetic.",
                    config=Config,
                    build=lambda config, extractor: Brightness(),
                )
        """

    @staticmethod
    @hookspec
    def ganaug_feature_extractors() -> Iterable[FeatureExtractorPlugin]:  # type: ignore[empty-body]  # a declaration
        """Yield feature spaces.

        ::

            from ganaug import Config, FeatureExtractor, FeatureExtractorPlugin, hookimpl


            class Thumbnails(FeatureExtractor):
                fingerprint = "thumbnails-8x8"

                def __init__(self, spec):
                    self.dimension = spec.channels * 64

                def extract(self, images):
                    from torch.nn.functional import adaptive_avg_pool2d

                    return adaptive_avg_pool2d(images, 8).flatten(1)


            @hookimpl
            def ganaug_feature_extractors():
                yield FeatureExtractorPlugin(
                    name="thumbnails",
                    summary="8x8 thumbnails.",
                    config=Config,
                    build=lambda config, spec: Thumbnails(spec),
                )
        """

    @staticmethod
    @hookspec
    def ganaug_stopping_policies() -> Iterable[StoppingPolicyPlugin]:  # type: ignore[empty-body]  # a declaration
        """Yield stopping policies.

        ::

            from ganaug import Config, StoppingPolicy, StoppingPolicyPlugin, hookimpl


            class MaxEpochsConfig(Config):
                epochs: int = 10


            class MaxEpochs(StoppingPolicy):
                def __init__(self, epochs):
                    self.epochs = epochs

                def reason_to_stop(self, history):
                    if history and history[-1].epoch >= self.epochs:
                        return f"{self.epochs} epochs are over"
                    return None


            @hookimpl
            def ganaug_stopping_policies():
                yield StoppingPolicyPlugin(
                    name="max-passes",
                    summary="Stop after so many epochs.",
                    config=MaxEpochsConfig,
                    build=lambda config: MaxEpochs(config.epochs),
                )
        """

    @staticmethod
    @hookspec
    def ganaug_studies() -> Iterable[Study]:  # type: ignore[empty-body]  # a declaration
        """Yield studies for the classification benchmark.

        ::

            from ganaug import Arm, Study, hookimpl


            @hookimpl
            def ganaug_studies():
                yield Study(
                    name="my-study",
                    summary="Plain against synthetic.",
                    arms=(
                        Arm(name="untreated", summary="The training images as they are."),
                        Arm(name="synthetic", summary="Rare classes grown.", synthetic="beside"),
                    ),
                )
        """
