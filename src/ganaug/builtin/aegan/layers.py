"""Layers and networks of an autoencoder, of a GAN on its codes, and of discriminators."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ganaug.layers import SLOPE, Up, he

__all__ = [
    "Autoencoder",
    "ImageDiscriminator",
    "LatentDiscriminator",
    "LatentGenerator",
    "PatchCritic",
]

_BASE = 4  # pixels a side of the coarsest layer
_LARGEST_BASIS = 64  # pixels a side; what is finer than that is no principal component
_LOG_VARIANCE = -4.0  # where a VAE starts


class Components(nn.Module):
    """Principal components of images (N, C, S, S), taken at `side` pixels or less; buffers.

    Until `take` they are all zero. basis: (D, C * side * side), orthonormal rows. deviation: (D,),
    of the components, which are divided by it so that each has deviation 1.
    """

    mean: Tensor
    basis: Tensor
    deviation: Tensor

    def __init__(self, channels: int, side: int, count: int) -> None:
        super().__init__()
        self.shape = (channels, min(side, _LARGEST_BASIS), min(side, _LARGEST_BASIS))
        pixels = math.prod(self.shape)
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("basis", torch.zeros(count, pixels))
        self.register_buffer("deviation", torch.ones(count))

    def encode(self, images: Tensor) -> Tensor:
        """Images to components (N, D)."""
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has two digits
            components = (self.shrink(images.float()) - self.mean) @ self.basis.T
        return components / self.deviation

    def decode(self, components: Tensor, side: int) -> Tensor:
        """Components (N, D) to images of `side` pixels."""
        with torch.autocast(components.device.type, enabled=False):
            flat = (components.float() * self.deviation) @ self.basis + self.mean
        images: Tensor = flat.unflatten(1, self.shape)
        if side > self.shape[1]:
            images = interpolate(images, size=side, mode="bilinear")
        return images

    def shrink(self, images: Tensor) -> Tensor:
        """Images as the components see them, (N, C * side * side)."""
        return adaptive_avg_pool2d(images, self.shape[1]).flatten(1)

    @torch.no_grad()
    def take(self, flat: Tensor) -> None:
        """Find the components of images (N, pixels), as `shrink` gives them.

        Where there are fewer than wanted, the rest stay zero.
        """
        exact = flat.double()
        mean = exact.mean(dim=0)
        apart = exact - mean
        values, vectors = torch.linalg.eigh(apart @ apart.T)
        kept = min(len(self.basis), max(int((values > 1e-9 * values[-1]).sum()), 1))
        lengths = values[-kept:].flip(0).clamp(min=1e-12).sqrt()
        self.mean.copy_(mean)
        self.basis.zero_()
        self.basis[:kept] = (vectors[:, -kept:].flip(1).T @ apart) / lengths[:, None]
        self.deviation.fill_(1.0)
        self.deviation[:kept] = lengths / math.sqrt(len(flat))


class Encoder(nn.Module):
    """Images (N, C, S, S) to codes (N, outputs): strided convolutions and one linear layer."""

    def __init__(self, channels: int, side: int, width: int, outputs: int) -> None:
        super().__init__()
        widths = _widths(side, width)[::-1]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise([channels, *widths[1:]]):
            layers += [he(nn.Conv2d(narrow, wide, 4, 2, 1)), _rectifier()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * _BASE**2, outputs)
        he(self.head, gain=1.0)

    def forward(self, images: Tensor) -> Tensor:
        """Return codes."""
        codes: Tensor = self.head(self.body(images).flatten(1))
        return codes


class Decoder(nn.Module):
    """Codes (N, D) to images (N, C, S, S), which start close to zero and can leave [-1, 1]."""

    def __init__(self, channels: int, side: int, width: int, inputs: int) -> None:
        super().__init__()
        widths = _widths(side, width)
        layers: list[nn.Module] = [
            he(nn.Linear(inputs, widths[0] * _BASE**2)),
            nn.Unflatten(1, (widths[0], _BASE, _BASE)),
            _rectifier(),
        ]
        for wide, narrow in pairwise(widths):
            layers += [Up(wide, narrow), _rectifier()]
        layers += [he(nn.Conv2d(widths[-1], channels, 3, padding=1), gain=0.05)]
        self.body = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        """Return images."""
        images: Tensor = self.body(codes)
        return images


class Autoencoder(nn.Module):
    """Principal components, which are fixed, and convolutions that correct them both ways.

    What few images say of a code is in their principal components at once; from random weights
    it takes thousands of steps to come as far. The convolutions add what is not linear.
    """

    def __init__(self, channels: int, side: int, width: int, code_dim: int, is_vae: bool) -> None:
        super().__init__()
        self.side = side
        self.code_dim = code_dim
        self.components = Components(channels, side, code_dim)
        self.encoder = Encoder(channels, side, width, code_dim * (2 if is_vae else 1))
        self.decoder = Decoder(channels, side, width, code_dim)
        nn.init.zeros_(self.encoder.head.weight)
        with torch.no_grad():
            self.encoder.head.bias[code_dim:] = _LOG_VARIANCE

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (N, C, S, S) to codes (N, D) and, of a VAE, logarithms of their variances."""
        found = self.encoder(images).float()
        codes = self.components.encode(images) + found[:, : self.code_dim]
        return codes, found[:, self.code_dim :] if found.shape[1] > self.code_dim else None

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (N, D) to images (N, C, S, S), float32, which can leave [-1, 1]."""
        smooth = self.components.decode(codes, self.side)
        return smooth + cast(Tensor, self.decoder(codes)).float()


class PatchCritic(nn.Module):
    """Images (N, C, S, S) to logits (N, 1, S / 4, S / 4), each of 22 pixels a side.

    What it sees of an image is texture (Isola et al. 2017, section 3.2.2).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            he(nn.Conv2d(channels, width, 4, 2, 1)),
            _rectifier(),
            he(nn.Conv2d(width, 2 * width, 4, 2, 1)),
            _rectifier(),
            he(nn.Conv2d(2 * width, 2 * width, 3, padding=1)),
            _rectifier(),
            he(nn.Conv2d(2 * width, 1, 1), gain=1.0),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 logits."""
        logits: Tensor = self.body(images)
        return logits.float()


class LatentGenerator(nn.Module):
    """Latents (N, D) and labels (N,) to standardised codes (N, D).

    A correction of the latents by two residual layers, which starts at nothing: the first samples
    are independent standard normal codes, which is what codes are but for what ties them.
    """

    def __init__(self, code_dim: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, hidden) if num_classes > 1 else None
        self.first = he(nn.Linear(code_dim, hidden))
        self.second = he(nn.Linear(hidden, hidden))
        self.last = nn.Linear(hidden, code_dim)
        self.rectify = nn.LeakyReLU(SLOPE)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return codes; labels are not read where there are no classes."""
        h = self.first(latents)
        if self.embedding is not None:
            h = h + self.embedding(labels)
        h = self.rectify(h)
        h = h + self.rectify(self.second(h))
        codes: Tensor = latents + self.last(h)
        return codes


class LatentDiscriminator(nn.Module):
    """Standardised codes (N, D) and labels (N,) to logits (N,); a class is a projection.

    It sees the squares of codes beside them, so that a wrong deviation shows like a wrong mean.
    """

    def __init__(self, code_dim: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            he(nn.Linear(2 * code_dim, hidden)),
            _rectifier(),
            he(nn.Linear(hidden, hidden)),
            _rectifier(),
        )
        self.head = _Judge(hidden, num_classes)

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return float32 logits; labels are not read where there are no classes."""
        features = self.body(torch.cat([codes, codes.square() - 1.0], dim=1))
        return cast(Tensor, self.head(features, labels))


class ImageDiscriminator(nn.Module):
    """Images (N, C, S, S) and labels (N,) to logits (N,): an encoder's layers with another end."""

    def __init__(self, channels: int, side: int, width: int, num_classes: int) -> None:
        super().__init__()
        hidden = 4 * width
        self.encoder = Encoder(channels, side, width, hidden)
        self.rectify = _rectifier()
        self.head = _Judge(hidden, num_classes)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return float32 logits; labels are not read where there are no classes."""
        return cast(Tensor, self.head(self.rectify(self.encoder(images)), labels))


class _Judge(nn.Module):
    """Features (N, F) and labels (N,) to logits (N,) (Miyato & Koyama 2018, Eq. 3)."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = he(nn.Linear(features, 1), gain=1.0)
        self.projection = nn.Embedding(num_classes, features) if num_classes > 1 else None
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, std=features**-0.5)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = self.linear(features).flatten()
        if self.projection is not None:
            logits = logits + (self.projection(labels) * features).sum(dim=1)
        return logits.float()


def _widths(side: int, width: int) -> list[int]:
    """Channels from 4 pixels a side to `side`: `width` at 32, up to four times as many below."""
    sides = [_BASE * 2**step for step in range(int(math.log2(side // _BASE)) + 1)]
    return [max(8, int(width * min(32 / side, 4))) for side in sides]


def _rectifier() -> nn.Module:
    return nn.LeakyReLU(SLOPE, inplace=True)
