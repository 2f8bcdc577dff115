"""How alike images are to each other: within the real ones, and within the synthetic ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.errors import ShapeError, TooFewImagesError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ganaug.evaluator import Role

__all__ = ["MSSSIM", "MSSSIMConfig"]

#: What each scale weighs, the finest first (Wang et al. 2003, section 3.2).
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

#: Width of the Gaussian window, in pixels.
_WINDOW = 11

#: The longest side that is compared, in pixels.
_LARGEST = 128

#: Pairs compared at once.
_BLOCK = 16


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
    both roles, so that only similarity differs. An image is in one pair at most: pairs are
    independent.

    Images with a side of more than 128 px are averaged down to it, the size that Odena et al.
    compare at. The window is MONAI's Gaussian of 11 px (smaller only for images that are), and
    there are as many of the five scales as leave the coarsest one as large as the window: four at
    128 px, three at 64, two at 28, one at 16. Their weights are Wang's, divided by their sum. So
    values compare at one size only.
    """

    higher_is_better = None

    def __init__(self, config: MSSSIMConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(None)
        self._config = config

    def describe(self, images: Tensor) -> Tensor:
        """Return images as they are compared, in [0, 1]: float16, 1/16 of an 8-bit step or less.

        Raises ShapeError when a side has less than 2 pixels.
        """
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
        return ((images + 1) / 2).half()

    def compute(self) -> Mapping[str, float]:
        """Return `ms_ssim_real` and `ms_ssim_synthetic`, 0 to 1.

        Raises TooFewImagesError when no class has two images in both roles.
        """
        return {f"ms_ssim_{name}": float(values.mean()) for name, values in self._values().items()}

    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Return the mean plus and minus 1.96 standard errors over pairs, within 0 to 1."""
        bounds = {}
        for name, values in self._values().items():
            if len(values) > 1:
                error = 1.96 * float(values.std()) / len(values) ** 0.5
                mean = float(values.mean())
                bounds[f"ms_ssim_{name}"] = (max(0.0, mean - error), min(1.0, mean + error))
        return bounds

    def _values(self) -> dict[str, Tensor]:
        """Return the similarity of each pair, float64 (pairs,), of both roles."""
        images = {role: self.features(role) for role in self.roles}
        pairs = self._pairs({role: len(found) for role, found in images.items()})
        return {
            "real": _similarity(images["holdout"], pairs["holdout"]),
            "synthetic": _similarity(images["synthetic"], pairs["synthetic"]),
        }

    def _pairs(self, n: Mapping[Role, int]) -> dict[Role, NDArray[Any]]:
        """Draw rows (pairs, 2) of each role, as many of a class in both."""
        import numpy as np

        labels = {role: self.labels(role).numpy() for role in self.roles}
        if any(len(labels[role]) != n[role] for role in self.roles):
            labels = {role: np.zeros(n[role], dtype=np.int64) for role in self.roles}
        rng = np.random.default_rng(self._config.random_state)
        shuffled = {role: rng.permutation(n[role]) for role in self.roles}
        classes = np.unique(labels["holdout"])
        members = {
            role: [rows[labels[role][rows] == each] for each in classes]
            for role, rows in shuffled.items()
        }
        available = np.min([[len(rows) // 2 for rows in each] for each in members.values()], axis=0)
        if not available.any():
            raise TooFewImagesError(
                "MS-SSIM compares images of one class, and no class has 2 in both roles; got "
                f"{n['holdout']} holdout and {n['synthetic']} synthetic images."
            )
        # In proportion to what there is, rounded up: every class that can be is compared.
        total = available.sum()
        counts = np.minimum(available, (available * self._config.pairs + total - 1) // total)
        return {
            role: np.concatenate(
                [rows[: 2 * k].reshape(k, 2) for rows, k in zip(each, counts, strict=True)]
            )
            for role, each in members.items()
        }


def _similarity(images: Tensor, pairs: NDArray[Any]) -> Tensor:
    import torch
    from monai.metrics.regression import compute_ms_ssim

    side = min(images.shape[2:])
    window = min(_WINDOW, side - 1 + side % 2)  # odd, so that it has a middle
    scales = max(k for k in range(1, 6) if k == 1 or _fits(side, window, k))
    weights = [weight / sum(_WEIGHTS[:scales]) for weight in _WEIGHTS[:scales]]
    blocks = []
    for block in torch.from_numpy(pairs).split(_BLOCK):
        left, right = (images[rows].float() for rows in block.T)
        blocks.append(
            compute_ms_ssim(left, right, 2, kernel_size=window, weights=weights)[:, 0].double()
        )
    return torch.cat(blocks)


def _fits(side: int, window: int, scales: int) -> bool:
    """Whether the coarsest scale holds a window, also by MONAI's rule, and 2 px for its pooling."""
    return side // 2 ** (scales - 1) >= max(window, 2) and side // (scales - 1) ** 2 >= window
