"""Signatures of images: 64 numbers a space, by which a copy is known.

No pixels, and too few numbers to hold an image; but who has other images of the same kind can
estimate a coarse outline from them. Fitted on four images in five, linear regression from pixel
signatures to grey images of 30 x 30 pixels gave correlations of 0.72 to 0.89 with the others (the
mean image alone: 0.20 to 0.68), on skin lesions, mammography patches and head CT of 64 px.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ganaug.errors import ShapeError
from ganaug.features import build_extractor

if TYPE_CHECKING:
    from ganaug.evaluator import FeatureExtractor
    from ganaug.registry import Registry
    from ganaug.spec import ImageSpec

__all__ = ["SIGNATURE_LENGTH", "FeatureSignature", "PixelSignature", "Signature", "signatures_for"]

#: Numbers in a signature. An image of 64 px has 4,096 pixels a channel.
SIGNATURE_LENGTH = 64

#: The two feature spaces, and whether images are given one brightness and contrast before. Neither
#: needs anything learned or downloaded. What `pca` learns would have to be kept in the run, and
#: principal components of few images are these images.
_EXTRACTORS = {"random-conv": False, "random-conv:seed=1": True}

_FAST = "use_mm_for_euclid_dist"

_LARGEST = 64
_SHIFT = 2
#: Below a quarter of a grey level of 256, what a signature sees of an image is rounding.
_BLANK = 0.002
#: The standard deviation that images are given before the second extractor.
_CONTRAST = 0.4


class Signature(ABC):
    """One way to compare images. Signatures are float32 (N, 64); equal images have equal ones.

    name: of the space, which changes whenever signatures would. farthest: a distance at which two
    images have nothing in common; None where none is known.
    """

    name: str
    farthest: float | None = None

    @abstractmethod
    def describe(self, images: Tensor) -> Tensor:
        """Return the signatures of images, float32 (N, C, H, W) in [-1, 1]."""

    @abstractmethod
    def distances(self, images: Tensor, references: Tensor) -> Tensor:
        """Return the distances, float32 (N, M), of images to signatures, (M, 64).

        Of an image, each version is compared (mirrored at least), and the nearest one counts.
        """


class PixelSignature(Signature):
    """What images look like, whatever their brightness and contrast: 64 random measurements.

    Images with a side above 64 px are shrunk to 64. The middle, without two pixels on each side,
    is averaged over 2 x 2 pixels and multiplied by 64 fixed patterns of noise without mean or
    coarse structure; the products are scaled to norm one. A Johnson-Lindenstrauss projection, so
    that distances are nearly those between standardised images. To compare an image, the window
    moves by up to two pixels each way and the image is mirrored, which makes 50 versions; a shift
    is undone exactly, whatever came in at the edges.
    """

    name = "pixels"
    farthest = 1.0  # a correlation of 0.5; unrelated images are at the square root of 2

    def __init__(self, spec: ImageSpec) -> None:
        self._size = min(spec.height, _LARGEST), min(spec.width, _LARGEST)
        smallest = min(self._size)
        self._margin = min(_SHIFT, (smallest - 1) // 4)
        self._pool = 2 if smallest >= 16 else 1
        height, width = ((side - 2 * self._margin) // self._pool for side in self._size)
        self._window = height, width
        self._patterns = _draw_patterns(spec.channels, height, width)

    def describe(self, images: Tensor) -> Tensor:
        """Return unit vectors; zeros for blank images, those of hardly more than one value."""
        middle = slice(self._margin, self._margin + 1)
        return next(self._windows(self._shrink(images), middle))

    def distances(self, images: Tensor, references: Tensor) -> Tensor:
        """Return Euclidean distances, from 0 to 2; see `Signature.distances`."""
        nearest = torch.full((len(images), len(references)), -1.0)
        everywhere, shrunk = slice(0, 2 * self._margin + 1), self._shrink(images)
        for version in (shrunk, shrunk.flip(3)):
            for signatures in self._windows(version, everywhere):
                torch.maximum(nearest, signatures @ references.T, out=nearest)
        return (2.0 - 2.0 * nearest).clamp_min(0.0).sqrt()

    def _windows(self, images: Tensor, starts: slice) -> Iterator[Tensor]:
        """Yield signatures, (N, 64), of windows that start at these rows and columns each."""
        height, width = self._window
        places = range(2 * self._margin + 1)[starts]
        for top, left in product(range(self._pool), repeat=2):
            # windows whose starts differ by whole cells share their averages
            pooled = avg_pool2d(images[:, :, top:, left:], self._pool)
            for y, x in product(places, repeat=2):
                if (y % self._pool, x % self._pool) == (top, left):
                    row, column = y // self._pool, x // self._pool
                    window = pooled[:, :, row : row + height, column : column + width]
                    yield self._measure(window)

    def _measure(self, window: Tensor) -> Tensor:
        measured = window.flatten(1) @ self._patterns
        norms = measured.norm(dim=1, keepdim=True)
        seen = norms > _BLANK * SIGNATURE_LENGTH**0.5
        return torch.where(seen, measured / norms, torch.zeros(()))

    def _shrink(self, images: Tensor) -> Tensor:
        if tuple(images.shape[2:]) == self._size:
            return images
        return interpolate(images, self._size, mode="bilinear", antialias=True)


class FeatureSignature(Signature):
    """What an extractor says of images, through a fixed random projection to 64 numbers."""

    def __init__(self, name: str, extractor: FeatureExtractor, standardise: bool) -> None:
        self.name = f"{name}.{extractor.fingerprint[:16]}"
        self._standardise = standardise
        self._extractor = extractor
        rng = np.random.default_rng(0)
        patterns = rng.standard_normal((extractor.dimension, SIGNATURE_LENGTH))
        self._patterns = torch.from_numpy(patterns / SIGNATURE_LENGTH**0.5)

    def describe(self, images: Tensor) -> Tensor:
        """Return projected features; see `Signature.describe`."""
        if self._standardise:
            deviations, means = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)
            images = ((images - means) * (_CONTRAST / deviations.clamp_min(_BLANK))).clamp(-1, 1)
        return (self._extractor.extract(images).double() @ self._patterns).float()

    def distances(self, images: Tensor, references: Tensor) -> Tensor:
        """Return Euclidean distances of images and their mirror images, whichever is nearer."""
        known = references.double()  # matrix products are fast, and not exact enough in float32
        both = (
            torch.cdist(self.describe(version).double(), known, compute_mode=_FAST)
            for version in (images, images.flip(3))
        )
        return torch.minimum(*both).float()


def signatures_for(spec: ImageSpec, registry: Registry) -> tuple[Signature, ...]:
    """Return the pixel signature, and one for each feature space that takes images of this spec."""
    found: list[Signature] = [PixelSignature(spec)]
    for text, standardise in _EXTRACTORS.items():
        try:
            extractor = build_extractor(text, spec, registry)
            found.append(FeatureSignature(text, extractor, standardise))
        except ShapeError:
            continue
    return tuple(found)


def _draw_patterns(channels: int, height: int, width: int) -> Tensor:
    """Return float32 (C * H * W, 64): noise without what a blur of an eighth of the side keeps."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    noise = rng.standard_normal((SIGNATURE_LENGTH, channels, height, width))
    blur = (0, 0, height / 8, width / 8)
    noise -= gaussian_filter(noise, blur)
    noise -= noise.mean(axis=(2, 3), keepdims=True)
    flat = noise.reshape(SIGNATURE_LENGTH, -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return torch.from_numpy(np.ascontiguousarray(flat.T, dtype=np.float32))
