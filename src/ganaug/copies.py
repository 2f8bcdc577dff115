"""The gate: which synthetic images are copies of training images.

An image is compared with the training images in three spaces (see `ganaug.signatures`). In each,
what counts is a ratio: its distance to the nearest training image, over its distance to the
nearest one that does not belong with that (other group, no near duplicate of it). A copy has one
training image far nearer than all others; a new image has several about as near. Thresholds of
the ratios are set on real images, each judged against the training images that it does not
belong with, as if it were synthetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganaug.config import Config
from ganaug.duplicates import find_duplicates
from ganaug.errors import RunError, ShapeError
from ganaug.hashes import hash_images
from ganaug.pixels import to_signed
from ganaug.registry import Registry
from ganaug.signatures import Signature, signatures_for
from ganaug.spec import ImageSpec, LabelledImages
from ganaug.splits import bundle_rows

__all__ = ["CopyGate", "Rate", "has_gate"]

#: What fraction of real images may be flagged, all spaces together, and how far below the ratio
#: of that fraction a threshold stays: sets are small, and quantiles in their tails uncertain.
_FLAGGED = 0.005
_CAUTION = 2 / 3

# Planted copies (mirrored, shifted by 2 px, 5 % brighter) of three real image sets have ratios of
# up to 0.16 in pixels, held-out images of at least 0.58 but for a few near duplicates.
#: An image five times as near to one training image as to others is a copy, whatever real ones do.
_LOWEST = 0.2
#: Above this, no threshold: nothing says that an image belongs with one training image.
_HIGHEST = 0.7

#: Real images that thresholds are set on, at most; and the fewest bundles that allow it.
_PROBES = 1000
_FEWEST = 20
_FOLDS = 5

_CHUNK = 128
_PREFIX = "gate-1"


class Rate(Config):
    """How many of some images are near copies."""

    flagged: int = 0
    images: int = 0

    def __add__(self, other: Rate) -> Rate:
        return Rate(flagged=self.flagged + other.flagged, images=self.images + other.images)

    def __str__(self) -> str:
        share = f"{self.flagged / self.images:.1%} " if self.images else ""
        return f"{share}({self.flagged:,} of {self.images:,})"


class CopyGate:
    """Knows training images by their signatures, never their pixels, and says what copies them.

    spec: of the images, as generated. bundles: int64 (M,), training images of one number belong
    together. references: signatures of the training images by space, float32 (M, 64).
    thresholds: by space; an image with a lower ratio is a copy. crossfit: how many real training
    images were flagged by thresholds that were set on others.
    """

    name = "copies"
    reason = "near copies of training images"

    def __init__(
        self,
        spec: ImageSpec,
        bundles: NDArray[np.int64],
        references: Mapping[str, Tensor],
        thresholds: Mapping[str, float],
        crossfit: Rate,
    ) -> None:
        self.spec = spec
        self.bundles = bundles
        self.references = dict(references)
        self.thresholds = dict(thresholds)
        self.crossfit = crossfit
        self._signatures: tuple[Signature, ...] | None = None

    @classmethod
    def of(cls, images: LabelledImages, registry: Registry | None = None) -> CopyGate:
        """Take signatures of training images in memory, and set thresholds on them.

        Images of one group, and near duplicates (`ganaug.duplicates`), belong together. With
        fewer than 20 bundles of them, nothing can be learned: every threshold is 0.2 then.
        """
        signatures = signatures_for(images.spec, registry or Registry.load())
        bundles = _number_bundles(images)
        signed = _Signed(images.pixels, images.value_range)
        references = {
            signature.name: torch.cat([signature.describe(chunk) for chunk in signed])
            for signature in signatures
        }
        gate = cls(images.spec, bundles, references, {}, Rate())
        gate._signatures = signatures
        gate._calibrate(images)
        return gate

    def find(self, pixels: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.bool_]:
        """Say which images, (N, C, H, W) within `value_range`, are copies; bool (N,).

        Blank images are copies of none. An image's verdict does not depend on the others.
        """
        return self._flag(self.ratios(pixels, value_range), self._limits())

    def keep(
        self, pixels: NDArray[Any], class_: int, value_range: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Say which images are no copies, as `find` does; their class does not matter."""
        return ~self.find(pixels, value_range)

    @property
    def summary(self) -> str:
        """What it drops, and how many real images it flags by chance."""
        return (
            "Drops near copies of training images. Of training images that were judged as if they "
            f"were new it flagged {self.crossfit}."
        )

    def rate(self, images: LabelledImages) -> Rate:
        """Return how many of the images in memory are flagged."""
        found = self.find(np.asarray(images.pixels), images.value_range)
        return Rate(flagged=int(found.sum()), images=len(found))

    def ratios(
        self,
        pixels: NDArray[Any],
        value_range: tuple[float, float],
        own: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Return how near images are to one training image, (N, spaces); infinite: no evidence.

        own: int64 (N,), the bundles that they belong to, which are left out. Raises ShapeError
        for images of another size than those that the gate was made of.
        """
        if pixels.shape[1:] != self.spec.shape:
            raise ShapeError(
                f"The copy gate knows images of shape {self.spec.shape}; got "
                f"{pixels.shape[1:]}. Judge images at the size that the generator makes them."
            )
        found, start = [np.empty((0, len(self.references)))], 0
        for chunk in _Signed(pixels, value_range):
            excluded = None if own is None else own[start : start + len(chunk)]
            columns = [self._ratios_in(space, chunk, excluded) for space in self._spaces()]
            blank = ~self._spaces()[0].describe(chunk).any(dim=1).numpy()
            found.append(np.where(blank[:, None], np.inf, np.stack(columns, axis=1)))
            start += len(chunk)
        return np.concatenate(found)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a run keeps, under names that say which version of the gate it is for."""
        arrays: dict[str, NDArray[Any]] = {
            f"{_PREFIX}.{name}": signatures.numpy() for name, signatures in self.references.items()
        }
        arrays[f"{_PREFIX}.bundles"] = self.bundles
        arrays[f"{_PREFIX}.thresholds"] = self._limits()
        counts = [self.crossfit.flagged, self.crossfit.images]
        arrays[f"{_PREFIX}.crossfit"] = np.array(counts, dtype=np.int64)
        return arrays

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], spec: ImageSpec, registry: Registry
    ) -> CopyGate:
        """Take over what `to_arrays` returned. Raises RunError when another version wrote it."""
        signatures = signatures_for(spec, registry)
        names = [signature.name for signature in signatures]
        expected = [f"{_PREFIX}.{name}" for name in (*names, "bundles", "thresholds", "crossfit")]
        if not set(expected) <= set(tensors):
            raise RunError(
                "there is nothing by which this version of ganaug could tell copies of training "
                "images: another version made it. Fit it again."
            )
        *references, bundles, limits, counts = (tensors[name] for name in expected)
        gate = cls(
            spec,
            bundles.numpy(),
            dict(zip(names, references, strict=True)),
            dict(zip(names, limits.tolist(), strict=True)),
            Rate(flagged=int(counts[0]), images=int(counts[1])),
        )
        gate._signatures = signatures
        return gate

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_signatures": None}

    # --- ratios -----------------------------------------------------------------------------

    def _spaces(self) -> tuple[Signature, ...]:
        if self._signatures is None:  # another process: extractors are built there
            self._signatures = signatures_for(self.spec, Registry.load())
        return self._signatures

    def _ratios_in(
        self, space: Signature, images: Tensor, own: NDArray[np.int64] | None
    ) -> NDArray[np.float64]:
        distances = space.distances(images, self.references[space.name]).double().numpy()
        if own is not None:
            distances[own[:, None] == self.bundles] = np.inf
        nearest = distances.min(axis=1)
        belonging = self.bundles[distances.argmin(axis=1)][:, None] == self.bundles
        others = np.where(belonging, np.inf, distances).min(axis=1)
        if space.farthest is not None:
            others = np.minimum(others, space.farthest)
        comparable = np.isfinite(nearest) & np.isfinite(others)
        ratios = np.full(len(images), np.inf)
        # images that are all at one place are as near to one as to others
        np.divide(nearest, others, out=ratios, where=comparable & (others > 0))
        return ratios

    @staticmethod
    def _flag(ratios: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray((ratios < limits).any(axis=1), dtype=np.bool_)

    def _limits(self) -> NDArray[np.float64]:
        return np.array([self.thresholds[name] for name in self.references])

    # --- thresholds -------------------------------------------------------------------------

    def _calibrate(self, images: LabelledImages) -> None:
        """Set thresholds by real images, and count by cross-fitting what they flag."""
        rng = np.random.default_rng(0)
        rows = np.sort(rng.permutation(len(images))[:_PROBES])
        own = self.bundles[rows]
        numbers = np.unique(own)
        pixels = np.asarray(images.pixels)[rows]
        ratios = self.ratios(pixels, images.value_range, own)
        enough = len(numbers) >= _FEWEST
        self.thresholds = dict(zip(self.references, self._choose(ratios, enough), strict=True))
        if len(numbers) < 2:
            return
        fold_of = rng.permutation(len(numbers)) % _FOLDS
        folds = fold_of[np.searchsorted(numbers, own)]
        for fold in range(_FOLDS):
            limits = self._choose(ratios[folds != fold], enough)
            flagged = self._flag(ratios[folds == fold], np.array(limits))
            self.crossfit += Rate(flagged=int(flagged.sum()), images=len(flagged))

    def _choose(self, ratios: NDArray[np.float64], enough: bool) -> list[float]:
        """Return a threshold a space, from the ratios of real images, (N, spaces)."""
        if not enough:
            return [_LOWEST] * ratios.shape[1]
        share = _FLAGGED / ratios.shape[1]
        found = _CAUTION * np.quantile(ratios, share, axis=0, method="lower")
        lowest = [_LOWEST if space.farthest is not None else 0.0 for space in self._spaces()]
        return [float(limit) for limit in np.clip(found, lowest, _HIGHEST)]


def has_gate(names: Iterable[str]) -> bool:
    """Say whether arrays of these names are of a gate, be it another version's."""
    return any(name == "hashes" or name.startswith("gate-") for name in names)


class _Signed:
    """Images as float32 tensors in [-1, 1], a chunk at a time."""

    def __init__(self, pixels: Any, value_range: tuple[float, float]) -> None:
        self._pixels = np.asarray(pixels)
        self._value_range = value_range

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self._pixels), _CHUNK):
            yield to_signed(self._pixels[start : start + _CHUNK], self._value_range)


def _number_bundles(images: LabelledImages) -> NDArray[np.int64]:
    """Return a number for each row, the same for rows that belong together."""
    near = find_duplicates(images, hash_images(images)).near
    numbers = np.empty(len(images), dtype=np.int64)
    for number, rows in enumerate(bundle_rows(images, near)):
        numbers[rows] = number
    return numbers
