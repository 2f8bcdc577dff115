"""What the metrics of class probabilities ask an extractor for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganaug import FeatureExtractor

__all__ = ["class_logits"]


def class_logits(metric: str, extractor: FeatureExtractor | None, images: Tensor) -> Tensor:
    """Return the extractor's logits of images, float32 (N, classes), at least two classes.

    Raises ConfigError, which names the metric, when there is no extractor, or one that tells no
    classes apart.
    """
    if extractor is None:
        raise ConfigError(f"{metric} needs a feature extractor; got none.")
    logits = extractor.logits(images)
    if logits.shape[1] < 2:
        raise ConfigError(
            f"{metric} needs an extractor that tells at least 2 classes apart; "
            f"{extractor.name or type(extractor).__name__} tells {logits.shape[1]}."
        )
    return logits
