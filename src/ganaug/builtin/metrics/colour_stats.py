"""Colours of synthetic images against those of real ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.errors import ShapeError
from ganaug.spec import LUMA

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ColourStats", "ColourStatsConfig"]

_COLOURS = ("red", "green", "blue", "grey")


class ColourStatsConfig(Config):
    """There is nothing to set."""


class ColourStats(FeatureEvaluator):
    """Distributions of each image's mean red, green, blue and grey, real against synthetic.

    Images of one channel have a mean grey alone. Means are on the scale of the pixels, where 0
    is the lowest value that a pixel can have and 1 the highest. It looks at pixels, and needs
    no extractor.
    """

    higher_is_better = None  # a distance is better low, its p-value high
    ranges = MappingProxyType(
        {f"{what}_{colour}": (0.0, 1.0) for what in ("wasserstein", "ks") for colour in _COLOURS}
    )

    def __init__(self, config: ColourStatsConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(None)

    def describe(self, images: Tensor) -> Tensor:
        """Return channel means in [0, 1]: float64 (N, 1) of grey, or (N, 4) with colours first.

        Raises ShapeError unless the images have 1 or 3 channels.
        """
        import torch

        channels = images.shape[1]
        if channels not in (1, 3):
            raise ShapeError(
                f"Colour statistics need images of 1 or 3 channels (grey; red, green, blue); got "
                f"{channels}."
            )
        means = (images.double().mean((2, 3)) + 1) / 2
        if channels == 1:
            return means
        grey = means @ means.new_tensor(LUMA)
        return torch.cat([means, grey[:, None]], dim=1)

    def intervals(self) -> Mapping[str, tuple[float, float] | None]:
        """Say that p-values have no interval."""
        return {f"ks_p_{colour}": None for colour in _COLOURS}

    def compute(self) -> Mapping[str, float]:
        """Return three numbers a colour, such as `wasserstein_red`, `ks_red` and `ks_p_red`.

        The Wasserstein distance is in shares of the range of pixels, 0 to 1: how far means have
        to move on average. `ks` is the Kolmogorov-Smirnov statistic, 0 to 1, and `ks_p` the
        p-value of one distribution for both roles. Raises TooFewImagesError for a single image
        of a role.
        """
        from scipy.stats import ks_2samp, wasserstein_distance

        real, synthetic = (self.features(role).numpy() for role in self.roles)
        colours = _COLOURS[-1:] if real.shape[1] == 1 else _COLOURS
        scores: dict[str, float] = {}
        for colour, ours, theirs in zip(colours, real.T, synthetic.T, strict=True):
            test = ks_2samp(ours, theirs)
            scores[f"wasserstein_{colour}"] = float(wasserstein_distance(ours, theirs))
            scores[f"ks_{colour}"] = float(test.statistic)
            scores[f"ks_p_{colour}"] = float(test.pvalue)
        return scores
