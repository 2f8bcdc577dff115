"""Kernel distance between real and synthetic features: KID when the features are Inception's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.errors import DataError, TooFewImagesError

if TYPE_CHECKING:
    from torch import Tensor

    from ganaug.evaluator import Role

__all__ = ["KID", "KIDConfig"]

_SEED = 2020  # torch-fidelity's
_BLOCK_VALUES = 2**22  # of a kernel matrix that are held at once


class KIDConfig(Config):
    """How the kernel distance is estimated; the defaults are torch-fidelity's but for the size.

    subsets: how many pairs of subsets are drawn.
    subset_size: images of each role in a subset. None fits it to n: half of the images of the
        smaller role, and at most 1,000, which is torch-fidelity's.
    degree, gamma, coef0: the kernel (gamma x.y + coef0)^degree; None for gamma is 1 / dimension.
    """

    subsets: int = Field(default=100, ge=1)
    subset_size: int | None = Field(default=None, ge=2)
    degree: int = Field(default=3, ge=1)
    gamma: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    coef0: float = Field(default=1.0, ge=0, allow_inf_nan=False)


class KID(FeatureEvaluator):
    """Squared maximum mean discrepancy under a polynomial kernel (Binkowski et al. 2018, 4).

    The primary metric, because its estimate is unbiased at every n: zero is expected of two
    samples of one distribution, and values a little below zero are right. Equals torch-fidelity's
    `kid_features_to_metric` on the same features in the same order; the order matters, slightly,
    because it decides which images a subset holds.

    `kid` is the mean over the subsets. `kid_subset_std` is their standard deviation, which people
    print beside it. It is no standard error: it speaks of `subset_size` images, and the subsets
    share images. Divided by the root of their number it would make a 95 % interval that holds the
    true value one time in five (40 or 200 images of each role, 32 dimensions); the interval from
    half samples, which `Evaluator.intervals` leaves to its caller, held it 93 to 100 % of the time.

    At least 4 images of each role: the estimate divides by m (m - 1), so that a subset of m needs
    two, and it is half of the images. Few images cost no bias, only a wide interval.
    """

    higher_is_better = False
    minimum_images = 4

    def __init__(self, config: KIDConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._config = config
        self._kernel = partial(
            _kernel, degree=config.degree, gamma=config.gamma, coef0=config.coef0
        )

    def compute(self) -> Mapping[str, float]:
        """Return `kid` and `kid_subset_std`.

        Raises TooFewImagesError below `minimum_images` or a `subset_size` that was asked for, and
        DataError for features so large that their kernel is not a number.
        """
        synthetic = self.features("synthetic").cpu().double()
        real = self.features("holdout").cpu().double()
        size = self._fitted_size(min(len(synthetic), len(real)))
        kernels = len(synthetic) ** 2 + len(real) ** 2 + len(synthetic) * len(real)
        once_is_less = kernels <= 3 * size**2 * self._config.subsets
        estimate = self._from_matrices if once_is_less else self._from_subsets
        mean, std = estimate(synthetic, real, size)
        if not (math.isfinite(mean) and math.isfinite(std)):
            raise DataError(
                "The kernel of these features is too large for a number; their largest is "
                f"{max(synthetic.abs().max(), real.abs().max()):.3g}. Standardise the features, or "
                "choose another extractor."
            )
        return {"kid": mean, "kid_subset_std": std}

    def intervals(self) -> Mapping[str, tuple[float, float] | None]:
        """Say that `kid_subset_std`, a spread itself, has no interval."""
        return {"kid_subset_std": None}

    def _fitted_size(self, n: int) -> int:
        """Return how many images a subset has, where the smaller role has n."""
        size = self._config.subset_size
        if size is None:
            return min(1000, n // 2)
        if size > n:
            raise TooFewImagesError(
                f"KID in subsets of {size} needs at least {size} images of each role; got {n}. "
                "Leave subset_size out to have it fitted."
            )
        return size

    def _from_subsets(self, synthetic: Tensor, real: Tensor, size: int) -> tuple[float, float]:
        """Compute the kernel anew for each subset, which is less work when n is large."""
        import numpy as np
        from torch_fidelity import metric_kid

        with np.errstate(over="ignore", invalid="ignore"):  # `compute` says what is wrong
            scores = metric_kid.kid_features_to_metric(
                synthetic,
                real,
                kid_subsets=self._config.subsets,
                kid_subset_size=size,
                kid_kernel_poly_degree=self._config.degree,
                kid_kernel_poly_gamma=self._config.gamma,
                kid_kernel_poly_coef0=self._config.coef0,
                rng_seed=_SEED,
                verbose=False,
            )
        return scores[metric_kid.KEY_METRIC_KID_MEAN], scores[metric_kid.KEY_METRIC_KID_STD]

    def _from_matrices(self, synthetic: Tensor, real: Tensor, size: int) -> tuple[float, float]:
        """Compute each kernel value once and add up those of each subset.

        The same number as `_from_subsets`, ten times as fast for 2,000 images.
        """
        drawn_1, drawn_2 = _draws(len(synthetic), len(real), self._config.subsets, size)
        # A constant added to the kernel leaves the result alone; without what all of its values
        # have in common, less is lost to rounding.
        common = next(self._kernel(synthetic[:1], real[:1]))
        within = self._sums("synthetic", "synthetic", drawn_1, drawn_1, common)
        within += self._sums("holdout", "holdout", drawn_2, drawn_2, common)
        across = self._sums("synthetic", "holdout", drawn_1, drawn_2, common)
        mmds = within / (size * (size - 1)) - 2 * across / size**2
        return mmds.mean().item(), mmds.std(correction=0).item()

    def _sums(
        self, left: Role, right: Role, in_left: Tensor, in_right: Tensor, common: Tensor
    ) -> Tensor:
        """Return the sum of the kernel, less `common`, over each subset: (subsets,).

        in_left, in_right: 0 or 1, (images, subsets). An image is not compared with itself.
        """
        import torch

        sums, start = torch.zeros(in_left.shape[1], dtype=torch.float64), 0
        for block in self.pairs(self._kernel, left, right):
            block -= common
            if left == right:
                block.diagonal(start).zero_()
            sums += (in_left[start : start + len(block)] * (block @ in_right)).sum(dim=0)
            start += len(block)
        return sums


def _kernel(
    left: Tensor, right: Tensor, *, degree: int, gamma: float | None, coef0: float
) -> Iterator[Tensor]:
    """Yield the polynomial kernel, float64 (rows, N), of successive rows."""
    right = right.cpu().double()
    for rows in left.cpu().double().split(max(1, _BLOCK_VALUES // len(right))):
        yield (rows @ right.T * (gamma or 1 / right.shape[1]) + coef0) ** degree


@lru_cache(maxsize=1)  # the same for all half samples
def _draws(n_1: int, n_2: int, subsets: int, size: int) -> tuple[Tensor, Tensor]:
    """Return who is in each subset, 0 or 1, float64 (n, subsets): drawn as torch-fidelity draws."""
    import numpy as np
    import torch

    rng = np.random.RandomState(_SEED)  # torch-fidelity's, so that subsets are equal
    drawn_1 = torch.zeros(n_1, subsets, dtype=torch.float64)
    drawn_2 = torch.zeros(n_2, subsets, dtype=torch.float64)
    for subset in range(subsets):
        drawn_1[rng.choice(n_1, size, replace=False), subset] = 1
        drawn_2[rng.choice(n_2, size, replace=False), subset] = 1
    return drawn_1, drawn_2
