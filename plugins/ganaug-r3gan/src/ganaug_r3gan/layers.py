"""Residual networks without normalisation, whose training starts from the identity."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

__all__ = ["Block", "Discriminator", "Resize", "Synthesis", "widths_up_to"]

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
_GROUP = 16  # channels a group of the 3x3 convolutions
_EXPANSION = 2  # of the inverted bottleneck


def widths_up_to(side: int, width: int) -> list[int]:
    """Return the channels at 4, 8, ... `side` pixels: `width` at 32, twice that at half the side.

    At most 4 times `width` and at least one group; multiples of a group.
    """
    sides = [4 * 2**step for step in range(int(math.log2(side)) - 1)]
    wanted = (int(width * min(32 / each, 4)) for each in sides)
    return [max(_GROUP, each - each % _GROUP) for each in wanted]


def _scaled(layer: nn.Module, gain: float) -> nn.Module:
    """Initialise to N(0, gain^2 / fan_in), biases to zero (He et al. 2015). Returns the layer."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """x + f(x), f a bottleneck of 1x1, grouped 3x3 and 1x1 convolutions (Huang et al. 2024, 3.5).

    in_all: residual blocks of the network. Fix-up (Zhang et al. 2019): the last convolution starts
    at zero, the two before it in_all^(-1/4) times as large, so that depth needs no normalisation.
    """

    def __init__(self, width: int, in_all: int) -> None:
        super().__init__()
        inner, gain = _EXPANSION * width, _GAIN * in_all**-0.25
        self.wide = _scaled(nn.Conv2d(width, inner, 1), gain)
        self.spatial = _scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=inner // _GROUP), gain)
        self.narrow = _scaled(nn.Conv2d(inner, width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of x's shape, (N, width, H, W)."""
        y = leaky_relu(self.wide(x), _SLOPE)
        y = leaky_relu(self.spatial(y), _SLOPE)
        return x + self.narrow(y)


class Resize(nn.Module):
    """Bilinear doubling or halving, and a 1x1 convolution where the channels change.

    The convolution is where there are fewer pixels.
    """

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.mix = nn.Identity() if inputs == outputs else _scaled(conv, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, 2H, 2W) or (N, outputs, H / 2, W / 2) for x (N, inputs, H, W)."""
        if not self.up:
            return self.mix(avg_pool2d(x, 2))  # bilinear halving
        return interpolate(self.mix(x), scale_factor=2.0, mode="bilinear")


class Synthesis(nn.Module):
    """Latents (N, D) and labels (N,) to images (N, C, S, S), not limited to [-1, 1].

    Latents, and the class's embedding beside them, scale a learned 4x4 pattern; residual blocks
    at each resolution follow.
    """

    def __init__(
        self, widths: list[int], blocks: int, channels: int, dim: int, classes: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, dim) if classes > 1 else None
        inputs = dim * (2 if classes > 1 else 1)
        self.pattern = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.scale = _scaled(nn.Linear(inputs, widths[0], bias=False), 1.0)
        in_all, layers = blocks * len(widths), []
        for before, width in zip([None, *widths], widths, strict=False):
            layers += [Resize(before, width, up=True)] if before else []
            layers += [Block(width, in_all) for _ in range(blocks)]
        layers.append(_scaled(nn.Conv2d(widths[-1], channels, 1, bias=False), 1.0))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images; labels are not read where there are no classes."""
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], dim=1)
        return self.layers(self.scale(latents)[:, :, None, None] * self.pattern)


class Discriminator(nn.Module):
    """Images (N, C, S, S) and labels (N,) to float32 logits (N,): the mirror of `Synthesis`.

    With classes, the logit is the inner product of the class's embedding with the last features.
    """

    def __init__(
        self, widths: list[int], blocks: int, channels: int, dim: int, classes: int
    ) -> None:
        super().__init__()
        in_all, wide = blocks * len(widths), widths[0]
        layers: list[nn.Module] = [_scaled(nn.Conv2d(channels, widths[-1], 1, bias=False), 1.0)]
        down = widths[::-1]
        for width, after in zip(down, [*down[1:], None], strict=True):
            layers += [Block(width, in_all) for _ in range(blocks)]
            layers += [Resize(width, after, up=False)] if after else []
        layers += [_scaled(nn.Conv2d(wide, wide, 4, groups=wide, bias=False), 1.0), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        self.embedding = nn.Embedding(classes, dim) if classes > 1 else None
        self.head = _scaled(nn.Linear(wide, dim if classes > 1 else 1, bias=False), 1.0)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits; labels are not read where there are no classes."""
        features = self.head(self.layers(images))
        if self.embedding is not None:
            features = features * self.embedding(labels) / math.sqrt(features.shape[1])
        return features.sum(dim=1).float()
