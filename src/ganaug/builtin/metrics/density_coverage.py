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
        import torch

        real, synthetic = self.features("holdout"), self.features("synthetic")
        if len(real) <= self._k:
            raise TooFewImagesError(
                f"Density and coverage with k={self._k} need at least {self._k + 1} holdout "
                f"images; got {len(real)}. Lower k."
            )
        balls, start = [], 0
        for block in distance_blocks(real, torch.cat([real, synthetic])):
            to_real, to_synthetic = block[:, : len(real)], block[:, len(real) :]
            rows = torch.arange(len(block))
            to_real[rows, start + rows] = torch.inf  # no image is its own neighbour
            balls.append(_balls(to_real, to_synthetic, self._k))
            start += len(block)
        inside, covered = torch.cat(balls, dim=1)
        return {
            "density": float(inside.sum()) / (self._k * len(synthetic)),
            "coverage": float(covered.mean()),
        }


def _balls(to_real: Tensor, to_synthetic: Tensor, k: int) -> Tensor:
    """Return the synthetic images in each ball, and the chance that there are any: (2, rows).

    The last of the k is the m-th of t real images that are equally far; f synthetic ones are so
    too. In random order m / (t + 1) of the f come before it, and none does with the chance that
    the first m of the t + f are all real.
    """
    import torch

    radius = to_real.topk(k, largest=False).values[:, -1:]
    low, high = radius * (1 - _TIE), radius * (1 + _TIE)
    closer = (to_synthetic < low).sum(1)
    f = ((to_synthetic >= low) & (to_synthetic <= high)).sum(1)
    t = ((to_real >= low) & (to_real <= high)).sum(1)
    m = k - (to_real < low).sum(1)
    inside = closer + f * m / (t + 1)
    i = torch.arange(k)
    step = torch.where(i < m[:, None], (t[:, None] - i) / (t + f)[:, None].sub(i), 1.0)
    return torch.stack([inside, torch.where(closer > 0, 1.0, 1.0 - step.prod(1))]).double()
