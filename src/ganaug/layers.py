"""Layers that several generators are made of."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

__all__ = ["SLOPE", "Down", "Up", "he"]

SLOPE = 0.2  # of every leaky rectifier: Radford et al. 2016, section 3


class Up(nn.Module):
    """Nearest-neighbour doubling and a 3x3 convolution, as one transposed 4x4 convolution.

    Each output pixel sees only four different inputs, so summing the taps that fall on one input
    first gives the same numbers for 4/9 of the work, and no checkers (Odena et al. 2016).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        he(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, 2H, 2W) for x (N, inputs, H, W)."""
        w = pad(self.weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
        w = w[:, :, 1:, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, 1:] + w[:, :, :-1, :-1]
        return conv_transpose2d(x, w, self.bias, stride=2, padding=1)


class Down(nn.Module):
    """A 3x3 convolution and averaging of 2x2 pixels, as one 4x4 convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        he(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / 2, W / 2) for x (N, inputs, H, W)."""
        w = pad(self.weight, (1, 1, 1, 1))
        w = w[:, :, 1:, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, 1:] + w[:, :, :-1, :-1]
        return conv2d(x, w / 4, self.bias, stride=2, padding=1)


def he(layer: nn.Module, gain: float = math.sqrt(2 / (1 + SLOPE**2))) -> nn.Module:
    """Initialise weights (out, in, ...) to N(0, gain^2 / fan_in), biases to zero (He et al. 2015).

    Returns the layer.
    """
    weight = cast(Tensor, layer.weight)
    nn.init.normal_(weight, std=gain / math.sqrt(weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(cast(Tensor, layer.bias))
    return layer
