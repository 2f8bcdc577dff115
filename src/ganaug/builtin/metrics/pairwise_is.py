"""The inception score of pairs: how differently a classifier sees two images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.logits import class_logits

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PairwiseIS", "PairwiseISConfig", "pairwise_is"]

Base = Literal["nat", "bit"]

_MOST_TERMS = 30_000_000  # probabilities mixed for one mean; about a second


class PairwiseISConfig(Config):
    """How the score of a pair is scaled.

    base: the unit of the divergence in the exponent. "nat" is the true inception score of the two
        images and lies in [1, 2]; "bit" lies in [1, e], the scale of the reported figures.
    """

    base: Base = "nat"


class PairwiseIS(FeatureEvaluator):
    """Mean `pairwise_is` between images: 1 where the extractor sees the same, more where not.

    A dissimilarity, so that neither end is better. `pairwise_is_synthetic` over pairs of
    synthetic images is their variety, to be read beside `pairwise_is_real` over pairs of real
    ones; `pairwise_is_cross`, synthetic against real, is like both where the two look alike.

    A study of skin lesions reported, for single pairs: identical images 1.0, an autoencoder's
    image with its original 1.45, a GAN's 2.16, a GAN's on autoencoder codes 1.89, totally
    different images 2.60. No true inception score of a pair exceeds 2; these fit base "bit".

    All pairs are averaged while that takes about a second: 2,000 images against 2,000 in 7
    classes. Beyond it, evenly many pairs for each image, drawn with a fixed seed; only then does
    the order of arrival matter. At least 2 images of each role, for there to be a pair.
    """

    higher_is_better = None
    minimum_images = 2
    ranges = MappingProxyType(
        dict.fromkeys(
            [f"pairwise_is_{name}" for name in ("synthetic", "cross", "real")], (1.0, math.e)
        )
    )

    def __init__(self, config: PairwiseISConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._config = config

    def describe(self, images: Tensor) -> Tensor:
        """Return the extractor's logits, (N, classes). Raises ConfigError when it has none."""
        return class_logits("PairwiseIS", self.extractor, images)

    def compute(self) -> Mapping[str, float]:
        """Return `pairwise_is_synthetic`, `pairwise_is_cross` and `pairwise_is_real`.

        Raises TooFewImagesError below `minimum_images`.
        """
        synthetic = self.features("synthetic").cpu().softmax(dim=1)
        real = self.features("holdout").cpu().softmax(dim=1)
        base = self._config.base
        return {
            "pairwise_is_synthetic": _mean_score(synthetic, synthetic, base, itself=False),
            "pairwise_is_cross": _mean_score(synthetic, real, base, itself=True),
            "pairwise_is_real": _mean_score(real, real, base, itself=False),
        }


def pairwise_is(left: Tensor, right: Tensor, base: Base = "nat") -> Tensor:
    """Return the inception score of each pair of images, (N,), from their class probabilities.

    left, right: (N, classes), rows that add up to 1; the rows of one index are a pair. The
    inception score of two images is exp(mean KL(p || (p + q) / 2)), which is the exponential of
    their Jensen-Shannon divergence (Lin 1991): in [1, 2] with base "nat". With base
    "bit" the divergence in the exponent is in bits, at most 1, and the score in [1, e].
    """
    return _scores(left, right, _entropy(left) + _entropy(right), base)


def _entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of each row in nats, (N,)."""
    from torch.special import entr

    entropy: Tensor = entr(probabilities).sum(dim=1)
    return entropy


def _scores(left: Tensor, right: Tensor, entropies: Tensor, base: Base) -> Tensor:
    """Return the score of each pair, (N,), given the sum of its two entropies."""
    divergence = _entropy((left + right) / 2) - entropies / 2
    divergence = divergence.clamp(0, math.log(2))  # its bounds, which rounding may overstep
    return (divergence / math.log(2) if base == "bit" else divergence).exp()


def _mean_score(left: Tensor, right: Tensor, base: Base, *, itself: bool) -> float:
    """Return the mean score over pairs of a row of left and one of right.

    itself: whether rows of the same index are a pair too. Rows are paired at an offset, going
    round; every offset once makes every pair once.
    """
    import numpy as np

    if len(left) < len(right):
        left, right = right, left
    offsets = np.arange(0 if itself else 1, len(right))
    affordable = max(1, _MOST_TERMS // left.numel())
    if affordable < len(offsets):
        offsets = np.random.default_rng(0).choice(offsets, affordable, replace=False)
    entropy_left, entropy_right = _entropy(left), _entropy(right)
    rounds = 1 + -(-len(left) // len(right))
    right, entropy_right = right.repeat(rounds, 1), entropy_right.repeat(rounds)
    total = 0.0
    for offset in offsets:
        paired = slice(offset, offset + len(left))
        entropies = entropy_left + entropy_right[paired]
        total += _scores(left, right[paired], entropies, base).mean().item()
    return total / len(offsets)
