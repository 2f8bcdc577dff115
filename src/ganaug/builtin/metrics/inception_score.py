"""Inception score: how sure and how varied the classes of synthetic images are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.logits import class_logits
from ganaug.errors import TooFewImagesError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["InceptionScore", "InceptionScoreConfig"]

_IMAGES_IN_A_SPLIT = 500


class InceptionScoreConfig(Config):
    """How the inception score is averaged.

    splits: parts that are scored apart and averaged. None fits them to n: one for every 500
        images, at least one, and at most the usual ten, which 5,000 images reach.
    """

    splits: int | None = Field(default=None, ge=1)


class InceptionScore(FeatureEvaluator):
    """The exponential of the mean KL divergence of p(y|x) from p(y) (Salimans et al. 2016, 4).

    Between 1 and the number of classes that the extractor tells apart, over its own logits. Looks
    at synthetic images only, so that it knows nothing of the real ones, and a generator that hands
    out training images scores best. Equals torch-fidelity's `isc_features_to_metric` at the same
    number of splits; as there, which images share a split follows from the order of arrival.

    Too low for few images: the entropy of p(y) is estimated too low, which lowers the logarithm of
    the score by up to (classes - 1) / (2 n), n of a split (Miller 1955), and n images cannot score
    more than n. Hence at least as many images as classes, and 2 for each split; compare scores at
    one n only.
    """

    higher_is_better = True
    ranges = MappingProxyType({"is": (1.0, math.inf)})
    roles = ("synthetic",)

    def __init__(self, config: InceptionScoreConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._config = config

    def describe(self, images: Tensor) -> Tensor:
        """Return the extractor's logits, (N, classes). Raises ConfigError when it has none."""
        return class_logits("InceptionScore", self.extractor, images)

    def compute(self) -> Mapping[str, float]:
        """Return `is`.

        Raises TooFewImagesError for fewer images than classes, or than two a split.
        """
        from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

        logits = self.features("synthetic").cpu().double()
        n, classes = logits.shape
        splits = self._config.splits or min(10, max(1, n // _IMAGES_IN_A_SPLIT))
        needed = max(classes, 2 * splits)
        if n < needed:
            raise TooFewImagesError(
                f"InceptionScore over {classes} classes in {splits} splits needs at least "
                f"{needed} synthetic images; got {n}."
            )
        # A probability that is rounded to zero for every image makes torch-fidelity's 0 log 0 NaN.
        log_probabilities = logits.log_softmax(dim=1).clamp(min=-700)
        return {"is": isc_features_to_metric(log_probabilities, splits)[KEY_METRIC_ISC_MEAN]}
