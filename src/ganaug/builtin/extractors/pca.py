"""Principal components of the pixels of training images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganaug import FeatureExtractor, ImageSpec, LabelledImages
from ganaug.builtin.extractors.config import PCAConfig
from ganaug.builtin.extractors.inputs import (
    batched,
    check_images,
    check_spec,
    digest,
    shrink,
    signed_batches,
    take_state,
)
from ganaug.errors import DataError, NotFittedError, ShapeError

__all__ = ["PCAFeatures"]

_VERSION = 1


class PCAFeatures(FeatureExtractor):
    """Coordinates of an image along the principal components of training images.

    Components are those of scikit-learn's `PCA` on pixels in [-1, 1], as many as `config` says or
    as images and pixels allow. They are not whitened: whitening would give the last components,
    noise where images are few, as much say as the first. All coordinates are divided by one
    number, so that their mean square is 1 over the training images and distances stay
    proportional to distances between pixels.

    Takes 1 or 3 channels. Raises ShapeError for other images, or of another size than it learned
    from when smaller than `config.size`; NotFittedError before `prepare`.

    Mean and components are pixels, and coordinates give nearly all of an image back: a run keeps
    neither.
    """

    keeps_pixels = True

    def __init__(self, config: PCAConfig, spec: ImageSpec) -> None:
        check_spec("pca", spec)
        self._config = config
        self._channels = self.channels = spec.channels
        height, width = min(spec.height, config.size), min(spec.width, config.size)
        self.size = self._size = height, width
        self.resize = f"sides above {config.size} px to {config.size} px, bilinear, antialiased"
        self._pixels = spec.channels * height * width
        self._state: dict[str, Tensor] = {}

    def prepare(self, images: LabelledImages) -> None:
        """Find the components of training images.

        Raises DataError when there are fewer than two different images.
        """
        from sklearn.decomposition import PCA

        rows = torch.cat([self._flatten(part) for part in signed_batches(images)]).numpy()
        count = min(self._config.components, len(rows) - 1, self._pixels)
        if count < 1 or (rows == rows[0]).all():
            raise DataError(
                "The extractor pca needs at least two different training images; got "
                f"{len(rows)} without a difference. Choose the extractor random-conv."
            )
        fitted = PCA(count, svd_solver="auto", random_state=0).fit(rows)
        scale = float(fitted.explained_variance_.mean()) ** 0.5
        self.load_state_dict(
            {
                "mean": torch.from_numpy(fitted.mean_).float(),
                "components": torch.from_numpy(fitted.components_ / scale).float().contiguous(),
            }
        )

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""
        self._check_prepared()
        check_images("pca", images, channels=self._channels)
        mean, components = (self._state[key].to(images.device) for key in ("mean", "components"))
        return batched(
            lambda part: (self._flatten(part) - mean) @ components.T, images, self.dimension
        )

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over the components and the version of this code."""
        self._check_prepared()
        return digest({"extractor": "pca", "version": _VERSION, "size": self.size}, self._state)

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return ``mean`` (pixels,) and ``components`` (dimension, pixels)."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned. Raises DataError for anything else."""
        expected = {"mean": (self._pixels,), "components": (None, self._pixels)}
        self._state = take_state("pca", state, expected)
        self.dimension = len(self._state["components"])

    def _flatten(self, images: Tensor) -> Tensor:
        check_images("pca", images, channels=self._channels)
        shrunk = shrink(images, self._config.size)
        if tuple(shrunk.shape[2:]) != self._size:
            raise ShapeError(
                "The extractor pca compares images of one size, here "
                f"{self._size[0]}x{self._size[1]} pixels; got {images.shape[2]}x{images.shape[3]}. "
                "Resize them to the size of the training images."
            )
        return shrunk.flatten(1)

    def _check_prepared(self) -> None:
        if not self._state:
            raise NotFittedError(
                "The extractor pca has learned nothing yet; call prepare(training_images) first."
            )
