"""Features of a convolutional network that is never trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d, leaky_relu, pad

from ganaug import FeatureExtractor, ImageSpec
from ganaug.builtin.extractors.config import RandomConvConfig
from ganaug.builtin.extractors.inputs import batched, check_images, check_spec, digest, shrink

__all__ = ["RandomConv"]

_VERSION = 1

#: Output channels, stride and side of the pooled grid of each layer.
_LAYERS = ((16, 1, 4), (32, 2, 2), (64, 2, 1))
_THUMBNAIL = 4
_SMALLEST, _LARGEST = 8, 64

#: What keeps responses of smooth images from fading with depth, and the logarithm finite.
_GAIN, _FLOOR = 2.0, 0.05


class RandomConv(FeatureExtractor):
    """Energies of three layers of random convolutions, beside a thumbnail of 4 x 4 pixels.

    Random filters keep colour, texture and, through pooled grids, rough layout, with nothing
    learned from anybody's images: a feature space that favours no class and no training set.
    Weights are uniform with twice the standard deviation of He et al. 2015 (Eq. 10), less the
    mean of each filter, so that filters answer to structure and the thumbnail alone to
    brightness. A feature is the logarithm of the mean magnitude of a filter's responses in a
    cell of its layer's grid: in ratios, faint texture counts as much as strong edges do, and a
    slight blur shows. numpy's PCG64 draws the same weights on every machine.

    Takes 1 or 3 channels, at least 8 pixels a side; raises ShapeError for other images.
    """

    resize = f"sides above {_LARGEST} px to {_LARGEST} px, bilinear with antialiasing"

    def __init__(self, config: RandomConvConfig, spec: ImageSpec) -> None:
        check_spec("random-conv", spec, smallest=_SMALLEST)
        self._config = config
        self._channels = self.channels = spec.channels
        self._weights = _draw_weights(config.seed, spec.channels)
        pooled = sum(channels * grid**2 for channels, _, grid in _LAYERS)
        self.dimension = spec.channels * _THUMBNAIL**2 + pooled

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""
        check_images("random-conv", images, channels=self._channels, smallest=_SMALLEST)
        return batched(self._features, images, self.dimension)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over the weights and the version of this code."""
        facts = {"extractor": "random-conv", "version": _VERSION}
        return digest(facts, {str(depth): w for depth, w in enumerate(self._weights)})

    def _features(self, images: Tensor) -> Tensor:
        values = shrink(images, _LARGEST)
        features = [adaptive_avg_pool2d(values, _THUMBNAIL).flatten(1)]
        for weight, (_, stride, grid) in zip(self._weights, _LAYERS, strict=True):
            padded = pad(values, (1, 1, 1, 1), mode="replicate")  # no edges that images lack
            responses = conv2d(padded, weight.to(padded), stride=stride)
            energies = adaptive_avg_pool2d(responses.abs(), grid)
            features.append((energies + _FLOOR).log().flatten(1))
            values = leaky_relu(responses, 0.2)
        return torch.cat(features, dim=1)


def _draw_weights(seed: int, channels: int) -> list[Tensor]:
    """Return a float32 kernel (out, in, 3, 3) a layer."""
    rng = np.random.default_rng(seed)
    weights = []
    for out, _, _ in _LAYERS:
        kernel = rng.uniform(-1, 1, (out, channels, 3, 3)) * (6 / (9 * channels)) ** 0.5 * _GAIN
        kernel -= kernel.mean(axis=(1, 2, 3), keepdims=True)
        weights.append(torch.from_numpy(kernel.astype(np.float32)))
        channels = out
    return weights
