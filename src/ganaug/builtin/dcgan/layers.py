"""The networks of the presets: bodies of generators and discriminators.

A generator body maps latents (N, D) to images (N, C, S, S). A discriminator body maps images to
features (N, F, h, w) and comes with a head that maps these to logits, any shape with N elements.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ganaug.layers import SLOPE, Down, Up, he

__all__ = ["Body", "Sizes", "default_networks", "keras_faces", "mammo_patches", "radford"]


class Sizes(NamedTuple):
    """What the networks are built for."""

    channels: int
    side: int  # pixels, a power of two
    inputs: int  # latents, and the class embedding where there is one
    width: int


class Body(NamedTuple):
    """The networks of a preset, and how many features its discriminator ends in."""

    generator: nn.Module
    discriminator: nn.Module
    head: nn.Module
    features: int


class Scale(nn.Module):
    """``x * factor + shift``, to move between value ranges."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor = factor
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.shift


def default_networks(sizes: Sizes) -> Body:
    """Small networks without normalisation, whose weights start at He's scale.

    There are `width` channels at 32 pixels a side, half as many at twice the side and up to four
    times as many at 4 pixels, so that each doubling of the side adds about equal work.
    """
    sides = [4 * 2**step for step in range(int(math.log2(sizes.side)) - 1)]
    widths = [max(8, int(sizes.width * min(32 / side, 4))) for side in sides]
    up: list[nn.Module] = [
        he(nn.Linear(sizes.inputs, widths[0] * 16)),
        nn.Unflatten(1, (widths[0], 4, 4)),
        nn.LeakyReLU(SLOPE, inplace=True),
    ]
    for wide, narrow in pairwise(widths):
        up += [Up(wide, narrow), nn.LeakyReLU(SLOPE, inplace=True)]
    up += [he(nn.Conv2d(widths[-1], sizes.channels, 3, padding=1), gain=0.5)]
    widths.reverse()
    down: list[nn.Module] = [
        he(nn.Conv2d(sizes.channels, widths[1], 4, 2, 1)),
        nn.LeakyReLU(SLOPE, inplace=True),
    ]
    for narrow, wide in pairwise(widths[1:]):
        down += [Down(narrow, wide), nn.LeakyReLU(SLOPE, inplace=True)]
    down += [he(nn.Conv2d(widths[-1], widths[-1], 4)), nn.LeakyReLU(SLOPE, inplace=True)]
    head = he(nn.Conv2d(widths[-1], 1, 1), gain=1.0)
    return Body(nn.Sequential(*up), nn.Sequential(*down), head, widths[-1])


def radford(sizes: Sizes) -> Body:
    """Radford et al. 2016, section 3, layer for layer as the PyTorch example at 64 px.

    Other sizes have a layer more or less; no layer has more than 8 times the width.
    """
    layers = int(math.log2(sizes.side)) - 2
    widths = [sizes.width * min(2**k, 8) for k in range(layers)]
    up: list[nn.Module] = [
        nn.Unflatten(1, (sizes.inputs, 1, 1)),
        nn.ConvTranspose2d(sizes.inputs, widths[-1], 4, 1, 0, bias=False),
    ]
    for wide, narrow in zip(reversed(widths), reversed(widths[:-1]), strict=False):
        up += [nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
        up += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False)]
    up += [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    up += [nn.ConvTranspose2d(widths[0], sizes.channels, 4, 2, 1, bias=False), nn.Tanh()]
    down: list[nn.Module] = [
        nn.Conv2d(sizes.channels, widths[0], 4, 2, 1, bias=False),
        nn.LeakyReLU(SLOPE, inplace=True),
    ]
    for narrow, wide in pairwise(widths):
        down += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide)]
        down += [nn.LeakyReLU(SLOPE, inplace=True)]
    head = nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False)
    return _normal(Body(nn.Sequential(*up), nn.Sequential(*down), head, widths[-1]))


def keras_faces(sizes: Sizes) -> Body:
    """The Keras example of a DCGAN, whose images are in [0, 1] inside, layer for layer at 64 px.

    Other sizes have a layer more or less; no layer has more than 8 times the width.
    """
    layers = int(math.log2(sizes.side)) - 3
    base = 2 * sizes.width
    up: list[nn.Module] = [nn.Linear(sizes.inputs, base * 64), nn.Unflatten(1, (base, 8, 8))]
    wide = base
    for step in range(layers):
        narrow, wide = wide, base * min(2**step, 4)
        up += [nn.ConvTranspose2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(SLOPE, inplace=True)]
    up += [nn.Conv2d(wide, sizes.channels, 5, 1, 2), nn.Sigmoid(), Scale(2.0, -1.0)]
    down: list[nn.Module] = [Scale(0.5, 0.5)]
    for inputs, outputs in zip(
        [sizes.channels, sizes.width, *[base] * layers],
        [sizes.width, *[base] * (layers - 1)],
        strict=False,
    ):
        down += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE, inplace=True)]
    features = base if layers > 1 else sizes.width
    head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(features * 64, 1))
    body = Body(nn.Sequential(*up), nn.Sequential(*down), head, features)
    for layer in _weighted(body):
        nn.init.xavier_uniform_(layer.weight)  # what Keras layers start from
        nn.init.zeros_(cast(Tensor, layer.bias))
    return body


def mammo_patches(sizes: Sizes) -> Body:
    """The DCGAN of the mammography study, layer for layer at 128 px.

    Other sizes have a layer more or less, the widest ones first.
    """
    layers = int(math.log2(sizes.side)) - 2
    multiples = [10, 10, 8, 4, 2, 1][-layers:]
    widths = [sizes.width * multiple for multiple in multiples]
    up: list[nn.Module] = [
        nn.Unflatten(1, (sizes.inputs, 1, 1)),
        nn.ConvTranspose2d(sizes.inputs, widths[0], 4, 1, 0, bias=False),
    ]
    for wide, narrow in pairwise(widths):
        up += [nn.BatchNorm2d(wide), nn.LeakyReLU(SLOPE, inplace=True)]
        up += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False)]
    up += [nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(SLOPE, inplace=True)]
    up += [nn.ConvTranspose2d(widths[-1], sizes.channels, 4, 2, 1, bias=False), nn.Tanh()]
    widths.reverse()
    down: list[nn.Module] = [
        nn.Conv2d(sizes.channels, widths[0], 4, 2, 1, bias=False),
        nn.LeakyReLU(SLOPE, inplace=True),
    ]
    for narrow, wide in pairwise(widths):
        down += [nn.Conv2d(narrow, wide, 6, 2, 2, bias=False), nn.BatchNorm2d(wide)]
        down += [nn.LeakyReLU(SLOPE, inplace=True)]
    head = nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False)
    return _normal(Body(nn.Sequential(*up), nn.Sequential(*down), head, widths[-1]))


def _weighted(body: Body) -> list[nn.Conv2d | nn.ConvTranspose2d | nn.Linear]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    networks = (body.generator, body.discriminator, body.head)
    return [layer for net in networks for layer in net.modules() if isinstance(layer, kinds)]


@torch.no_grad()
def _normal(body: Body) -> Body:
    """Weights N(0, .02), batch norm N(1, .02) (Radford et al. 2016, section 4)."""
    for layer in _weighted(body):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    for net in (body.generator, body.discriminator):
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
    return body
