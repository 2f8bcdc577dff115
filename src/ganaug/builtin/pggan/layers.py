"""Layers of a progressively grown GAN: equalised learning rate, pixel norm, minibatch stddev.

Equalised layers keep weights drawn from N(0, 1) and scale them as they are used, by gain /
sqrt(fan in) (Karras et al. 2018, section 4.1), so that Adam moves all of them at one speed.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    conv2d,
    conv_transpose2d,
    interpolate,
    leaky_relu,
    linear,
)

__all__ = [
    "GROUP",
    "Conv",
    "Dense",
    "DownConv",
    "FromLatent",
    "UpConv",
    "activate",
    "fade_reals",
    "minibatch_stddev",
    "pixel_norm",
]

GROUP = 4  # images whose deviation is compared: the paper's released code
_SLOPE = 0.2
_GAIN = math.sqrt(2.0)  # of a layer that a rectifier follows (He et al. 2015)
_EPSILON = 1e-8


class _Equalised(nn.Module):
    """A weight (out, in, ...) from N(0, 1), and a bias of zeros (out,)."""

    def __init__(self, outputs: int, fan_in: tuple[int, ...], gain: float = _GAIN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, *fan_in))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(math.prod(fan_in))


class Conv(_Equalised):
    """A convolution that keeps the size; maps (N, C, H, W) to (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, gain: float = _GAIN) -> None:
        super().__init__(outputs, (inputs, kernel, kernel), gain)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        return conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class UpConv(_Equalised):
    """Nearest-neighbour doubling and a 3x3 convolution, as one transposed 4x4 convolution.

    Each output pixel sees only four different inputs, so summing the taps that fall on one input
    first gives the same numbers for 4/9 of the work; the released code of the paper does so too.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(outputs, (inputs, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Double the size and convolve."""
        w = _mean_of_shifts((self.weight * (4 * self.scale)).flip(2, 3)).transpose(0, 1)
        return conv_transpose2d(x, w, self.bias, stride=2, padding=1)


class DownConv(_Equalised):
    """A 3x3 convolution and averaging of 2x2 pixels, as one 4x4 convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(outputs, (inputs, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and halve the size."""
        w = _mean_of_shifts(self.weight * self.scale)
        return conv2d(x, w, self.bias, stride=2, padding=1)


class Dense(_Equalised):
    """A fully connected layer; maps (N, inputs) to (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, gain: float = _GAIN) -> None:
        super().__init__(outputs, (inputs,), gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return a linear map of x."""
        return linear(x, self.weight * self.scale, self.bias)


class FromLatent(nn.Module):
    """The first layer of the generator: (N, inputs) to (N, outputs, side, side).

    One weight a pixel and channel, one bias a channel; the gain is sqrt(2) / side, as that of the
    paper's released code, sqrt(2) / 4, is for its 4 pixels.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.randn(side * side * outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = _GAIN / side / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps, channels last in memory."""
        maps: Tensor = linear(x, self.weight * self.scale)
        maps = maps.view(len(x), self.side, self.side, len(self.bias)) + self.bias
        return maps.permute(0, 3, 1, 2)


def activate(x: Tensor) -> Tensor:
    """Leaky rectifier of slope .2, in place."""
    return leaky_relu(x, _SLOPE, inplace=True)


def pixel_norm(x: Tensor) -> Tensor:
    """Scale each pixel's channels, dimension 1, to a mean square of one.

    x: (N, C, ...), any float dtype; the mean is taken in float32. Karras et al. 2018, section 4.2.
    Can be differentiated once.
    """
    return cast(Tensor, _PixelNorm.apply(x))


class _PixelNorm(torch.autograd.Function):
    """Half of the passes over the pixels that autograd's own steps would make."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
        factor = (norm.square() / x.shape[1] + _EPSILON).rsqrt()
        y = x * factor.to(x.dtype)
        ctx.save_for_backward(y, factor)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        y, factor = ctx.saved_tensors
        along: Tensor = (gradient * y).mean(dim=1, keepdim=True, dtype=torch.float32).to(y.dtype)
        return torch.addcmul(gradient, y, along, value=-1).mul_(factor.to(y.dtype))


def minibatch_stddev(x: Tensor, *, sets: int = 1) -> Tensor:
    """Add a channel: the standard deviation over each group of images, averaged over the rest.

    x: (N, C, H, W). sets: how many equal batches x holds; groups are neighbours within one of
    them, as many as divide it, up to four. Returns (N, C + 1, H, W) in the dtype of x; computed in
    float32. Karras et al. 2018, section 3.
    """
    images = len(x) // sets
    group = next((size for size in range(GROUP, 0, -1) if images % size == 0), 1)
    groups = x.float().unflatten(0, (-1, group))
    # Not Tensor.var, which is many times slower along this dimension on a CPU.
    variance = (groups - groups.mean(dim=1, keepdim=True)).square().mean(dim=1)
    deviation = (variance + _EPSILON).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat_interleave(group)[:, None, None, None]
    return torch.cat([x, channel.to(x.dtype).expand(-1, 1, *x.shape[2:])], dim=1)


def fade_reals(images: Tensor, side: int, alpha: float) -> Tensor:
    """Return images (N, C, S, S) at `side`, as sharp as a generator whose stage has faded to alpha.

    As the paper's released code: averages of pixels, and the next coarser ones mixed in.
    """
    if side != images.shape[2]:
        images = avg_pool2d(images, images.shape[2] // side)
    if alpha < 1:
        images = torch.lerp(interpolate(avg_pool2d(images, 2), scale_factor=2.0), images, alpha)
    return images


def _mean_of_shifts(kernel: Tensor) -> Tensor:
    """A 3x3 kernel (O, I, 3, 3) at the four places of a 4x4 one, averaged: (O, I, 4, 4)."""
    return avg_pool2d(kernel, 2, stride=1, padding=1)
