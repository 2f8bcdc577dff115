"""Density and coverage: how true to the real images, and how much of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.neighbours import distance_blocks
from ganaug.errors import TooFewImagesError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DensityCoverage", "DensityCoverageConfig"]

#: Distances that differ by less than this share of themselves are equal, as of equal images.
_TIE = 1e-7


class DensityCoverageConfig(Config):
    """How far the neighbourhood of a real image reaches.

    k: to its k-th nearest other real image; 5 as Naeem et al. 2020 use.
    """

    k: int = Field(default=5, ge=1)


class DensityCoverage(FeatureEvaluator):
    """Density and coverage of synthetic images (Naeem et al. 2020, Eqs. 4 and 6).

    Around each real image lies a ball that reaches to its k-th nearest other real image.
    `density` is how many balls a synthetic image lies in, over k: 1 for two samples of one law,
    more where synthetic images crowd the densest places. `coverage` is the share of balls with a
    synthetic image in them: for N real and M synthetic images of one law,
    1 - prod_{i=1..k} (N - i) / (M + N - i), below 1 by design.

    Equal distances, as among equal images, count by what they are expected to when they are put
    in order at random, so that both oracles hold for any law, one of a single image included.
    Without them this is the papers' own, with open balls.
    """

    higher_is_better = True
    ranges = MappingProxyType({"density": (0.0, math.inf), "coverage": (0.0, 1.0)})

    def __init__(self, config: DensityCoverageConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._k = config.k

    def compute(self) -> Mapping[str, float]:
        """Return `density`, 0 or more, and `coverage`, 0 to 1.

        Raises TooFewImagesError for k real images or fewer.
        """
        n, n_synthetic = len(self.features("holdout")), len(self.features("synthetic"))
        if n <= self._k:
            raise TooFewImagesError(
                f"Density and coverage with k={self._k} need at least {self._k + 1} holdout "
                f"images; got {n}. Lower k."
            )
        inside, covered = self._balls()
        return {
            "density": float(inside.sum()) / (self._k * n_synthetic),
            "coverage": float(covered.mean()),
        }

    def _balls(self) -> Tensor:
        """Return the synthetic images in each ball, and the chance that there are any: (2, N).

        The last of the k is the m-th of t real images that are equally far; f synthetic ones are
        so too. In random order m / (t + 1) of the f come before it, and none does with the chance
        that the first m of the t + f are all real.
        """
        import torch

        radii, real, synthetic, start = [], [], [], 0
        for block in self.pairs(distance_blocks, "holdout", "holdout"):
            block.diagonal(start).fill_(torch.inf)  # no image is its own neighbour
            radii.append(block.topk(self._k, largest=False).values[:, -1:])
            real.append(_closer_and_equal(block, radii[-1]))
            start += len(block)
        radius, start = torch.cat(radii), 0
        for block in self.pairs(distance_blocks, "holdout", "synthetic"):
            synthetic.append(_closer_and_equal(block, radius[start : start + len(block)]))
            start += len(block)
        closer, f = torch.cat(synthetic, dim=1)
        closer_real, t = torch.cat(real, dim=1)
        m = self._k - closer_real
        i = torch.arange(self._k)
        step = torch.where(i < m[:, None], (t[:, None] - i) / (t + f)[:, None].sub(i), 1.0)
        covered = torch.where(closer > 0, 1.0, 1.0 - step.prod(1))
        return torch.stack([closer + f * m / (t + 1), covered]).double()


def _closer_and_equal(distances: Tensor, radius: Tensor) -> Tensor:
    """Return how many of each row (R, N) are below its radius (R, 1), and how many at it: (2, R).

    At it within `_TIE`.
    """
    import torch

    closer = (distances < radius * (1 - _TIE)).sum(1)
    return torch.stack([closer, (distances <= radius * (1 + _TIE)).sum(1) - closer])
