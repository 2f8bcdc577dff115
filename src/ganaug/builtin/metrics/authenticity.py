"""Whether synthetic images are copies of training images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.neighbours import distance_blocks, nearest
from ganaug.builtin.metrics.units import units
from ganaug.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ganaug.evaluator import Role

__all__ = ["Authenticity", "AuthenticityConfig"]


class AuthenticityConfig(Config):
    """Which images stand for the rest where the roles must be of one size.

    random_state: the seed they are drawn with.
    """

    random_state: int = Field(default=0, ge=0)


class Authenticity(FeatureEvaluator):
    """Three views of copying, each from distances of features to the nearest training image.

    `authenticity` is the share of synthetic images that are farther from their nearest training
    image than that image is from its own nearest other training image (Alaa et al. 2022,
    section 3.3; AuthPct is 100 times this). Copies: 0.

    `c_t` compares distances to the nearest training image, of synthetic and of holdout images:
    the z-score of a Mann-Whitney test (Meehan et al. 2020, section 3.1, over all images as one
    cell). Standard normal when the generator draws new images of the training law, far below 0
    when it copies, far above 0 when it misses the law. Images that crowd where training images
    are dense, such as blurred ones, are below 0 as well; then the ratio stays near 1.

    `neighbour_ratio` is the median, over synthetic images, of the distance to the nearest
    training image over that to the nearest holdout image: 1 for new images of the law, 0 for
    copies. A larger training set lies nearer by itself; so the ratio is divided by how much
    nearer the holdout lies to all training images than to as many as it has images itself.
    """

    higher_is_better = None
    ranges = MappingProxyType({"authenticity": (0.0, 1.0), "neighbour_ratio": (0.0, math.inf)})
    roles = ("train", "holdout", "synthetic")

    def __init__(self, config: AuthenticityConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._random_state = config.random_state

    def compute(self) -> Mapping[str, float]:
        """Return `authenticity`, `c_t` and `neighbour_ratio`.

        Raises TooFewImagesError for a single image of a role, and DataError when the holdout
        has copies of so many training or synthetic images that no ratio can be told.
        """
        from scipy.stats import ranksums

        (to_train, row), (holdout_to_train, _) = self.once(self._nearest)
        authentic = self._to_nearest_other(row) < to_train
        return {
            "authenticity": float(authentic.double().mean()),
            "c_t": float(ranksums(to_train.numpy(), holdout_to_train.numpy()).statistic),
            "neighbour_ratio": self._ratio(to_train, holdout_to_train),
        }

    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Return `c_t` plus and minus 1.96 of its standard deviations.

        That of a z-score is 1 at any number of images, so that half samples would find too little.
        It is more where images depend: those of one group lie about as far from the training
        images. So it is estimated from sums over groups (Obuchowski 1997), and at least 1. The
        other scores get intervals by half samples.
        """
        from scipy.stats import ranksums

        left, right = (distance.numpy() for distance, _ in self.once(self._nearest))
        groups = self.groups("synthetic"), self.groups("holdout")
        spread = 1.96 * _deviation_of_z(left, right, *groups)
        c_t = float(ranksums(left, right).statistic)
        return {"c_t": (c_t - spread, c_t + spread)}

    def _nearest(self) -> list[tuple[Tensor, Tensor]]:
        """Return distance and row of the nearest training image: of synthetic ones, of holdout."""
        others: tuple[Role, Role] = ("synthetic", "holdout")
        return [nearest(self.pairs(distance_blocks, role, "train")) for role in others]

    def _to_nearest_other(self, rows: Tensor) -> Tensor:
        """Return the distance of these training rows to their nearest other one, float64 (M,)."""
        import torch

        train = self.features("train")
        kept, place = rows.unique(return_inverse=True)
        distances, start = [], 0
        for block in distance_blocks(train[kept], train):
            block[torch.arange(len(block)), kept[start : start + len(block)]] = torch.inf
            distances.append(block.amin(1))
            start += len(block)
        return torch.cat(distances)[place]

    def _ratio(self, to_train: Tensor, holdout_to_train: Tensor) -> float:
        import torch

        n_train, n_holdout = len(self.features("train")), len(self.features("holdout"))
        rng = torch.Generator().manual_seed(self._random_state)
        some_train, some_holdout = (
            torch.randperm(n, generator=rng)[: min(n_train, n_holdout)]
            for n in (n_train, n_holdout)
        )
        to_some_train, to_some_holdout = (
            nearest(self.pairs(distance_blocks, "holdout", "train", columns=some_train))[0],
            nearest(self.pairs(distance_blocks, "synthetic", "holdout", columns=some_holdout))[0],
        )
        nearer = _median_ratio(holdout_to_train.median()[None], to_some_train.median()[None])
        ratio = _median_ratio(to_train, to_some_holdout)
        if not (math.isfinite(ratio) and nearer > 0):
            raise DataError(
                "Half of the synthetic images equal a holdout image, or half of the holdout "
                "equals a training image, so that nothing can be said of copies. Check that the "
                "holdout was held out."
            )
        return ratio / nearer


def _deviation_of_z(
    left: NDArray[Any],
    right: NDArray[Any],
    left_groups: Sequence[str],
    right_groups: Sequence[str],
) -> float:
    """Return the standard deviation of the z-score of a Mann-Whitney test, at least 1.

    left, right: (N,) and (M,); groups: of each, whose values may depend on each other.
    """
    import numpy as np

    variance = 0.0  # of the share of pairs in which left is the smaller
    for values, others, groups in ((left, right, left_groups), (right, left, right_groups)):
        ordered = np.sort(others)
        ends = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
        placements = (ends[0] + ends[1]) / 2 / len(others)
        sums = np.bincount(units(groups, len(values)), weights=placements - placements.mean())
        if len(sums) > 1:
            variance += (sums**2).sum() / len(values) ** 2 * len(sums) / (len(sums) - 1)
    n, m = len(left), len(right)
    return max(1.0, math.sqrt(variance * 12 * n * m / (n + m + 1)))


def _median_ratio(above: Tensor, below: Tensor) -> float:
    """Return the median of quotients; none is as far as none, so 0 / 0 is 1."""
    import torch

    quotients = torch.where((above == 0) & (below == 0), 1.0, above / below)
    return float(quotients.quantile(0.5, interpolation="lower"))
