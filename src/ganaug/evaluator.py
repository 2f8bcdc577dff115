"""What evaluator and feature-extractor plugins implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from ganaug.spec import LabelledImages

__all__ = ["Evaluator", "FeatureExtractor", "Role"]

Role = Literal["train", "holdout", "synthetic"]


class FeatureExtractor(ABC):
    """Turns images into feature vectors.

    dimension: length of a feature vector.
    """

    dimension: int

    def prepare(self, images: LabelledImages) -> None:
        """Learn from training images, for extractors that do; the default has nothing to learn."""
        return None

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes whenever the features would; scores record it."""


class Evaluator(ABC):
    """Scores synthetic images against real ones, independent of batch size and order.

    higher_is_better: True, False, or None where neither end is better.
    """

    higher_is_better: ClassVar[bool | None]

    @abstractmethod
    def update(self, images: Tensor, *, role: Role, labels: Tensor | None = None) -> None:
        """Add images, float32 (N, C, H, W) in [-1, 1], seen in that role; labels int64 (N,)."""

    @abstractmethod
    def compute(self) -> Mapping[str, float]:
        """Return named scores over all images added since the last `reset`."""

    @abstractmethod
    def reset(self) -> None:
        """Forget every image."""
