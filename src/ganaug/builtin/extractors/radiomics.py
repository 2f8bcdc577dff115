"""First-order and texture statistics of the grey image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganaug import FeatureExtractor, ImageSpec, LabelledImages
from ganaug.builtin.extractors.config import RadiomicsConfig
from ganaug.builtin.extractors.inputs import (
    batched,
    check_images,
    check_spec,
    digest,
    grey,
    signed_batches,
    take_state,
)
from ganaug.errors import NotFittedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FIRST_ORDER", "TEXTURE", "Radiomics"]

_VERSION = 1

#: Statistics of the grey values of an image, in the order of the features.
FIRST_ORDER = (
    "mean",
    "standard deviation",
    "skewness",
    "kurtosis",
    "minimum",
    "10th percentile",
    "25th percentile",
    "median",
    "75th percentile",
    "90th percentile",
    "maximum",
    "mean absolute deviation",
    "root mean square",
    "entropy",
    "uniformity",
)

#: scikit-image's names of what is taken from each co-occurrence matrix, at each distance: its
#: mean over the four angles, then its range.
TEXTURE = ("contrast", "dissimilarity", "homogeneity", "ASM", "correlation", "entropy")

_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_PERCENTILES = (0, 10, 25, 50, 75, 90, 100)

#: Below this standard deviation over the training images a feature is constant but for rounding.
_CONSTANT = 1e-6


class Radiomics(FeatureExtractor):
    """Fifteen statistics of grey values and six of pairs of pixels, standardised.

    First order (`FIRST_ORDER`): of values in [-1, 1]; entropy (bits) and uniformity are of their
    histogram over `levels` equal bins, and skewness and kurtosis (excess) are 0 for a constant
    image. Texture (`TEXTURE`): of symmetric grey-level co-occurrence matrices (Haralick et al.
    1973) at `levels` grey levels of [-1, 1], at each of `distances` pixels and at 0, 45, 90 and
    135 degrees, by scikit-image; their mean over angles says how rough an image is, whichever
    way it was turned, and their range whether texture has a direction. Levels are fixed rather
    than fitted to each image, so that brightness and contrast count.

    Features are standardised by mean and standard deviation over training images; one that is
    the same for all of them keeps its unit. Takes 1 or 3 channels (as ITU-R BT.601 luma) of more
    pixels a side than the largest distance; raises ShapeError for other images and NotFittedError
    before `prepare`.
    """

    channels = 1

    def __init__(self, config: RadiomicsConfig, spec: ImageSpec) -> None:
        self._smallest = max(config.distances) + 1
        check_spec("radiomics", spec, smallest=self._smallest)
        self._config = config
        self._channels = spec.channels
        self.dimension = len(FIRST_ORDER) + 2 * len(TEXTURE) * len(config.distances)
        self._state: dict[str, Tensor] = {}

    def prepare(self, images: LabelledImages) -> None:
        """Take the mean and standard deviation of each feature over training images."""
        rows = torch.cat([self._measure(part) for part in signed_batches(images)]).double()
        scale = rows.std(dim=0, correction=0)
        scale[scale < _CONSTANT] = 1.0
        self._state = {"mean": rows.mean(dim=0).float(), "scale": scale.float()}

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""
        state = self._prepared()
        mean, scale = state["mean"], state["scale"]
        return ((self._measure(images) - mean) / scale).to(images.device)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over the settings, the standardisation and the version of this code."""
        facts = {"extractor": "radiomics", "version": _VERSION, **self._config.to_fields()}
        return digest(facts, self._prepared())

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return ``mean`` and ``scale``, float32 (dimension,) each; empty before `prepare`."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned. Raises DataError for anything else."""
        shape = (self.dimension,)
        self._state = take_state("radiomics", state, {"mean": shape, "scale": shape})

    def _measure(self, images: Tensor) -> Tensor:
        check_images("radiomics", images, channels=self._channels, smallest=self._smallest)

        def measure(part: Tensor) -> Tensor:
            values = grey(part).cpu().double().numpy()
            levels = self._config.levels
            binned = ((values + 1) * (levels / 2)).clip(0, levels - 1).astype(np.uint8)
            columns = [_first_order(values, binned, levels), self._texture(binned)]
            return torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float32))

        return batched(measure, images.cpu(), self.dimension)

    def _texture(self, binned: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return (N, 2 * properties * distances)."""
        from skimage.feature import graycomatrix, graycoprops

        distances, levels = self._config.distances, self._config.levels
        # graycoprops takes the matrices of many distances, and all images' can stand there at once.
        matrices = np.concatenate(
            [graycomatrix(image, distances, _ANGLES, levels, symmetric=True) for image in binned],
            axis=2,
        )
        columns = []
        for name in TEXTURE:
            by_angle = graycoprops(matrices, name).reshape(len(binned), len(distances), 4)
            columns += [by_angle.mean(axis=2), np.ptp(by_angle, axis=2)]
        return np.concatenate(columns, axis=1)

    def _prepared(self) -> dict[str, Tensor]:
        if not self._state:
            raise NotFittedError(
                "The extractor radiomics does not know the training images yet; call "
                "prepare(training_images) first."
            )
        return self._state


def _first_order(
    values: NDArray[np.float64], binned: NDArray[np.uint8], levels: int
) -> NDArray[np.float64]:
    """Return (N, 15) for grey values (N, H, W) and their bins."""
    flat = values.reshape(len(values), -1)
    mean = flat.mean(axis=1)
    spread = flat.std(axis=1)
    flat_bins = binned.reshape(len(binned), -1)
    counts = np.stack([np.bincount(row, minlength=levels) for row in flat_bins])
    shares = counts / flat.shape[1]
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=1)
    centred = flat - mean[:, None]
    safe = np.where(spread > _CONSTANT, spread, 1)
    columns = [
        mean,
        spread,
        np.where(spread > _CONSTANT, (centred**3).mean(axis=1) / safe**3, 0),
        np.where(spread > _CONSTANT, (centred**4).mean(axis=1) / safe**4 - 3, 0),
        *np.percentile(flat, _PERCENTILES, axis=1),
        np.abs(centred).mean(axis=1),
        np.sqrt((flat**2).mean(axis=1)),
        entropy,
        (shares**2).sum(axis=1),
    ]
    return np.stack(columns, axis=1)
