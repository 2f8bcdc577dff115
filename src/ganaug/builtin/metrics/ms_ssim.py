"""How alike images are to each other: within the real ones, and within the synthetic ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.units import units
from ganaug.errors import ShapeError, TooFewImagesError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ganaug.evaluator import Role

__all__ = ["MSSSIM", "MSSSIMConfig"]

#: What each scale weighs, the finest first (Wang et al. 2003, section 3.2).
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

#: Width of the Gaussian window and its standard deviation, in pixels.
_WINDOW, _SIGMA = 11, 1.5

#: What keeps quotients of dark and of even windows from noise, for pixels in [0, 1].
_C1, _C2 = 0.01**2, 0.03**2

#: The longest side that is compared, in pixels.
_LARGEST = 128

#: Pairs compared at once.
_BLOCK = 16

#: The most images of a group that are in pairs, so that no patient with many slices outweighs all.
_OF_A_GROUP = 4


class MSSSIMConfig(Config):
    """How many pairs of images are compared within each role, and the seed they are drawn with."""

    pairs: int = Field(default=100, ge=2)
    random_state: int = Field(default=0, ge=0)


class MSSSIM(FeatureEvaluator):
    """Multi-scale structural similarity of random pairs (Wang et al. 2003; Odena et al. 2017, 4.2).

    The mean similarity within the real images and within the synthetic ones: 1 for equal images,
    near 0 for unrelated ones. Synthetic images that are more alike than real ones have collapsed.
    It looks at pixels, and needs no extractor.

    Images with labels are paired within their class, in equal numbers of pairs of a class in
    both roles, so that only similarity differs. An image is in one pair at most, so that pairs are
    independent. Where images have groups, pairs are of different groups, and at most four images
    of a group are in them: slices of one patient are alike whatever the others are.

    Images with a side of more than 128 px are averaged down to it, the size that Odena et al.
    compare at. The window is a Gaussian of 11 px (smaller only for images that are), and
    there are as many of the five scales as leave the coarsest one as large as the window: four at
    128 px, three at 64, two at 28, one at 16. Their weights are Wang's, divided by their sum. So
    values compare at one size only.
    """

    higher_is_better = None

    def __init__(self, config: MSSSIMConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(None)
        self._config = config

    def describe(self, images: Tensor) -> Tensor:
        """Return images as they are compared: uint8, since all of them are kept.

        Eight bits are enough: rounding to them adds a variance of 1.3e-6 to that of a window, and
        SSIM itself adds a constant of 9e-4, the square of 3 % of the range.

        Raises ShapeError when a side has less than 2 pixels.
        """
        import torch
        from torch.nn.functional import interpolate

        height, width = images.shape[2:]
        if max(height, width) > _LARGEST:
            shrink = _LARGEST / max(height, width)
            size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
            images = interpolate(images, size, mode="area")
        if min(images.shape[2:]) < 2:
            raise ShapeError(
                "MS-SSIM needs images of at least 2 px a side once the longer is at most "
                f"{_LARGEST}; got {height}x{width}."
            )
        return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def compute(self) -> Mapping[str, float]:
        """Return `ms_ssim_real` and `ms_ssim_synthetic`, 0 to 1.

        Raises TooFewImagesError when no class has a pair of images in both roles.
        """
        return {
            f"ms_ssim_{name}": float(values.mean())
            for name, (values, _) in self.once(self._values).items()
        }

    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Return the mean plus and minus 1.96 standard errors over pairs, within 0 to 1.

        Pairs that share a group vary together, which standard errors of dyads count (Fafchamps
        and Gubert 2007); without groups, they are those of independent pairs.
        """
        bounds = {}
        for name, (values, of_units) in self.once(self._values).items():
            if len(values) > 1:
                error, mean = 1.96 * _standard_error(values, of_units), float(values.mean())
                bounds[f"ms_ssim_{name}"] = (max(0.0, mean - error), min(1.0, mean + error))
        return bounds

    def _values(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Return the similarity of each pair, float64 (P,), and its units, (P, 2), by role."""
        images = {role: self.features(role) for role in self.roles}
        of = {role: units(self.groups(role), len(found)) for role, found in images.items()}
        pairs = self._pairs(of)
        names: dict[Role, str] = {"holdout": "real", "synthetic": "synthetic"}
        return {
            name: (_similarity(images[role], pairs[role]), of[role][pairs[role]])
            for role, name in names.items()
        }

    def _pairs(self, of: Mapping[Role, NDArray[Any]]) -> dict[Role, NDArray[Any]]:
        """Draw rows (P, 2) of each role, as many of a class in both; of: the unit of each row."""
        import numpy as np

        labels = {role: self.labels(role).numpy() for role in self.roles}
        if any(len(labels[role]) != len(of[role]) for role in self.roles):
            labels = {role: np.zeros(len(of[role]), dtype=np.int64) for role in self.roles}
        rng = np.random.default_rng(self._config.random_state)
        classes = np.unique(labels["holdout"])
        all_pairs = {
            role: [_pair_up(np.flatnonzero(own == each), of[role], rng) for each in classes]
            for role, own in labels.items()
        }
        available = np.min([[len(pairs) for pairs in each] for each in all_pairs.values()], axis=0)
        if not available.any():
            raise TooFewImagesError(
                "MS-SSIM compares images of one class and of different groups, and no class has 2 "
                f"in both roles; got {len(of['holdout'])} holdout and {len(of['synthetic'])} "
                "synthetic images."
            )
        # In proportion to what there is, rounded up: every class that can be is compared.
        total = available.sum()
        counts = np.minimum(available, (available * self._config.pairs + total - 1) // total)
        return {
            role: np.concatenate([pairs[:k] for pairs, k in zip(each, counts, strict=True)])
            for role, each in all_pairs.items()
        }


def _pair_up(rows: NDArray[Any], of: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Return pairs (P, 2) of rows of different units, in random order, no row in two of them.

    Rows in the order of their units, the largest first, are paired with those half of them on:
    then a unit meets itself only if it has more than half of them, and such pairs are left out.
    """
    import numpy as np

    members: dict[int, list[int]] = {}
    for row in rng.permutation(rows).tolist():
        members.setdefault(int(of[row]), []).append(row)
    some = sorted((each[:_OF_A_GROUP] for each in members.values()), key=len, reverse=True)
    kept = [row for each in some for row in each]
    pairs = np.array(list(zip(kept, kept[(len(kept) + 1) // 2 :], strict=False)), dtype=np.int64)
    pairs = pairs.reshape(-1, 2)
    return rng.permutation(pairs[of[pairs[:, 0]] != of[pairs[:, 1]]])


def _standard_error(values: NDArray[Any], of_units: NDArray[Any]) -> float:
    """Return that of the mean of values (P,) of pairs of units (P, 2), some of which share one."""
    import numpy as np

    n = len(values)
    apart = values - values.mean()
    # Products of pairs that share a unit; each pair shares both with itself, and counts once.
    sums = np.bincount(of_units.ravel(), weights=apart.repeat(2))
    alone = float(apart @ apart)
    return math.sqrt(max(float(sums @ sums) - alone, alone) / (n * (n - 1)))


def _similarity(images: Tensor, pairs: NDArray[Any]) -> NDArray[Any]:
    """Return the similarity float64 (P,) of pairs (P, 2) of rows of images uint8 (N, C, H, W)."""
    import torch

    side = min(images.shape[2:])
    window = min(_WINDOW, side - 1 + side % 2)  # odd, so that it has a middle
    scales = max(k for k in range(1, 6) if k == 1 or _fits(side, window, k))
    weights = [weight / sum(_WEIGHTS[:scales]) for weight in _WEIGHTS[:scales]]
    blocks = []
    for block in torch.from_numpy(pairs).split(_BLOCK):
        left, right = (images[rows].float() / 255 for rows in block.T)
        blocks.append(_ms_ssim(left, right, window, weights).double())
    return torch.cat(blocks).numpy()


def _ms_ssim(left: Tensor, right: Tensor, window: int, weights: Sequence[float]) -> Tensor:
    """Return the MS-SSIM of pairs (P,), of images float32 (P, C, H, W) in [0, 1].

    The product over scales, each half as large as the one before, of contrast and structure to
    the power of its weight; at the last scale of luminance too (Wang et al. 2003, equation 7). A
    negative mean of a scale counts as 0. As MONAI's `compute_ms_ssim` has it, which cannot be
    imported without all of MONAI: that takes several times as long as scoring the pairs.
    """
    import torch
    from torch.nn.functional import avg_pool2d

    means = []
    for scale in range(len(weights)):
        if scale:
            left, right = avg_pool2d(left, 2), avg_pool2d(right, 2)
        luminance, contrast = _ssim_terms(left, right, window)
        last = scale == len(weights) - 1
        means.append((luminance * contrast if last else contrast).flatten(1).mean(1).relu())
    return (torch.stack(means) ** torch.tensor(weights)[:, None]).prod(0)


def _ssim_terms(left: Tensor, right: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return luminance, and contrast with structure, at each place of a Gaussian window."""
    import torch
    from torch.nn.functional import conv2d

    offsets = torch.arange((1 - window) / 2, (1 + window) / 2)
    gauss = torch.exp(-((offsets / _SIGMA) ** 2) / 2)
    gauss = gauss / gauss.sum()
    channels = left.shape[1]
    kernel = torch.outer(gauss, gauss).expand(channels, 1, -1, -1)

    def mean(values: Tensor) -> Tensor:
        return conv2d(values, kernel, groups=channels)

    mean_l, mean_r = mean(left), mean(right)
    variances = (mean(left * left) - mean_l**2) + (mean(right * right) - mean_r**2)
    covariance = mean(left * right) - mean_l * mean_r
    luminance = (2 * mean_l * mean_r + _C1) / (mean_l**2 + mean_r**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)


def _fits(side: int, window: int, scales: int) -> bool:
    """Whether the coarsest scale holds a window, also by MONAI's rule, and 2 px for its pooling."""
    return side // 2 ** (scales - 1) >= max(window, 2) and side // (scales - 1) ** 2 >= window
