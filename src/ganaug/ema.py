"""The exponential moving average of a generator's network, its halflife counted in images."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ganaug.generator import Generator

__all__ = ["EMA"]

# Karras et al. 2022 (EDM), training_loop.py: the halflife grows with the images seen, so that
# the first weights are forgotten soon.
_RAMP = 0.05


class EMA:
    """A copy of a generator whose network is averaged: beta = 0.5 ** (batch / halflife).

    Buffers, such as running statistics, are copied. halflife_images: images after which a
    weight has moved half of the way; at most a twentieth of the images seen.
    """

    def __init__(self, generator: Generator, *, halflife_images: float) -> None:
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self._halflife_images = halflife_images

    @property
    def network(self) -> nn.Module:
        """The averaged network."""
        return self.generator.network

    @torch.no_grad()
    def update(self, network: nn.Module, *, batch_size: int, images_seen: int) -> None:
        """Move towards `network`, which just learned from `batch_size` images."""
        halflife = min(self._halflife_images, _RAMP * images_seen)
        weight = 1.0 - 0.5 ** (batch_size / halflife) if halflife > 0 else 1.0
        averaged: list[torch.Tensor] = list(self.network.parameters())
        if averaged:
            torch._foreach_lerp_(averaged, [p.detach() for p in network.parameters()], weight)
        for old, new in zip(self.network.buffers(), network.buffers(), strict=True):
            old.copy_(new)
