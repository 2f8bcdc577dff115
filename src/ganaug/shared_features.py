"""Features that several metrics share, for as long as their images are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ganaug.evaluator import FeatureExtractor

__all__ = ["SharedExtractor"]


class SharedExtractor(FeatureExtractor):
    """An extractor that looks once at each batch that it was told to keep.

    Batches are told apart by identity, which costs nothing: during training the real ones are
    the same tensors at every evaluation, and the synthetic ones are shown to one metric after
    the other and then forgotten.

    extractor: the one that computes; what it learns, it has learned.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.name, self.dimension = extractor.name, extractor.dimension
        self.channels, self.size = extractor.channels, extractor.size
        self.dtype, self.resize = extractor.dtype, extractor.resize
        self._extractor = extractor
        self._kept: dict[int, tuple[Tensor, dict[str, Tensor]]] = {}

    def keep(self, batches: Sequence[Tensor]) -> None:
        """Keep features of these batches from when they are first asked for."""
        for batch in batches:  # the batch is kept too, so that its id stays its own
            self._kept[id(batch)] = batch, {}

    def forget(self, batches: Sequence[Tensor]) -> None:
        """Forget these batches, which nobody will show again."""
        for batch in batches:
            self._kept.pop(id(batch), None)

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""
        return self._look_up("features", images, self._extractor.extract)

    def logits(self, images: Tensor) -> Tensor:
        """Return float32 (N, classes), as the extractor does; raises as it does."""
        return self._look_up("logits", images, self._extractor.logits)

    @property
    def fingerprint(self) -> str:
        """The extractor's own."""
        return self._extractor.fingerprint

    def _look_up(self, kind: str, images: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        if id(images) not in self._kept:
            return compute(images)
        found = self._kept[id(images)][1]
        if kind not in found:
            found[kind] = compute(images)
        return found[kind]
