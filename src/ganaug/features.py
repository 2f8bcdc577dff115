"""Feature extractors by name, and features that are computed once an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.config import split_choice
from ganaug.errors import PluginError, RunError
from ganaug.evaluator import FeatureExtractor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.registry import Registry
    from ganaug.spec import ImageSpec, LabelledImages

__all__ = ["CachedExtractor", "build_extractor"]

_KEY_BYTES = 16
_HASHING_THREADS = 2
_SHOWN = 16  # characters of a fingerprint in the name of a file


def build_extractor(text: str, spec: ImageSpec, registry: Registry) -> FeatureExtractor:
    """Build an extractor from ``NAME`` or ``NAME:FIELD=VALUE,...``, for images of a spec.

    Raises UnknownPluginError, ConfigError, or ShapeError for a spec that
    it cannot do.
    """
    name, assignments = split_choice(text)
    extractors = registry.feature_extractors
    config = extractors[name].config.from_strings(assignments)
    extractor = extractors.make(name, lambda it: it.build(config, spec), FeatureExtractor)
    extractor.name = name
    return extractor


class CachedExtractor(FeatureExtractor):
    """An extractor that looks at each image once, whoever asks, in whatever batch.

    Images are told apart by content: a 128-bit BLAKE2b of shape and pixels. What the extractor
    said of them is kept in memory and, with a folder, in a safetensors file there, which is read
    when features are first asked for and written by `save`. An extractor that `keeps_pixels` has
    no file.

    extractor: the one that computes; it must treat every image of a batch by itself.
    used: whether features or logits were asked for since this was last set to False.
    computed: how many images the extractor has looked at, for features or for logits.
    """

    def __init__(self, extractor: FeatureExtractor, folder: Path | None = None) -> None:
        self.used = False
        self.computed = 0
        self._extractor = extractor
        self._folder = folder
        self._last: tuple[Tensor, int, list[bytes]] | None = None
        self._forget()

    def prepare(self, images: LabelledImages) -> None:
        """Let the extractor learn; what was kept is forgotten, being another extractor's."""
        self._extractor.prepare(images)
        self._forget()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Let the extractor take over what it learned before; what was kept is forgotten."""
        self._extractor.load_state_dict(state)
        self._forget()

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return what the extractor learned."""
        return self._extractor.state_dict()

    @property
    def fingerprint(self) -> str:
        """The extractor's own."""
        return self._extractor.fingerprint

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""
        return self._look_up("features", images, self._extractor.extract)

    def logits(self, images: Tensor) -> Tensor:
        """Return float32 (N, classes), as the extractor does; raises as it does."""
        return self._look_up("logits", images, self._extractor.logits)

    @property
    def path(self) -> Path | None:
        """The file on disk; None without a folder, and where features could give images back."""
        if self._folder is None or self.keeps_pixels:
            return None
        return self._folder / f"{self.name}-{self.fingerprint[:_SHOWN]}.safetensors"

    @property
    def unsaved(self) -> bool:
        """Whether there is something that `save` would write."""
        return self._folder is not None and not self.keeps_pixels and self._new > 0

    def save(self) -> None:
        """Write what is kept, whole or not at all; nothing without a `path`, or news.

        Files of extractors of the same name that learned otherwise are removed. Raises RunError
        when the file cannot be written.
        """
        path = self.path
        if path is None or not self.unsaved:
            return
        tensors = {}
        for kind, kept in self._kept.items():
            if kept:
                keys = torch.frombuffer(bytearray(b"".join(kept)), dtype=torch.uint8)
                tensors[f"{kind}.keys"] = keys.view(-1, _KEY_BYTES)
                tensors[kind] = torch.stack(list(kept.values()))
        write_tensors(path, tensors, {"extractor": self.name, "fingerprint": self.fingerprint})
        self._new = 0
        for other in path.parent.glob("*.safetensors"):
            if other != path and other.stem[: -_SHOWN - 1] == self.name:
                with suppress(OSError):  # it is of no use, and does no harm
                    other.unlink()

    def _forget(self) -> None:
        extractor = self._extractor
        self.name, self.channels, self.size = extractor.name, extractor.channels, extractor.size
        self.dtype, self.resize = extractor.dtype, extractor.resize
        self.keeps_pixels = extractor.keeps_pixels
        if hasattr(extractor, "dimension"):  # some know it when they have learned
            self.dimension = extractor.dimension
        self._kept: dict[str, dict[bytes, Tensor]] = {"features": {}, "logits": {}}
        self._new = 0
        self._was_read = False

    def _look_up(self, kind: str, images: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        self.used = True
        if not len(images):
            return compute(images)
        if not self._was_read:
            self._read()
        kept, keys = self._kept[kind], self._keys(images)
        missing = {key: row for row, key in enumerate(keys) if key not in kept}
        if missing:
            rows = list(missing.values())
            found = compute(images[rows]).detach().cpu().float()
            if found.ndim != 2 or len(found) != len(rows):
                raise PluginError(
                    f"Extractor {self.name!r} must return {kind} of shape ({len(rows)}, D) for "
                    f"{len(rows)} images; got {tuple(found.shape)}."
                )
            kept.update(zip(missing, found, strict=True))
            self.computed += len(rows)
            self._new += len(rows)
        return torch.stack([kept[key] for key in keys])

    def _keys(self, images: Tensor) -> list[bytes]:
        """Return a key an image; of the last batch, the same ones again.

        Evaluators are shown one batch after the other, each batch to all of them. A tensor that
        was written to since (its version counts that) is hashed anew.
        """
        version = -1 if images.is_inference() else images._version
        if self._last is not None and version >= 0:
            last, last_version, keys = self._last
            if last is images and last_version == version:
                return keys
        keys = _hash_rows(images)
        self._last = (images, version, keys)
        return keys

    def _read(self) -> None:
        """Take what an earlier process kept.

        A file that is damaged, or another extractor's, is passed over and written anew: it holds
        nothing that cannot be computed again, so it is no reason to refuse a score.
        """
        self._was_read = True
        path = self.path
        if path is None or not path.exists():
            return
        try:
            tensors, header = read_tensors(path)
        except RunError:
            return
        if header.get("fingerprint") != self.fingerprint:
            return
        for kind in self._kept:
            keys, values = tensors.get(f"{kind}.keys"), tensors.get(kind)
            if keys is not None and values is not None and self._fits(kind, keys, values):
                packed = keys.numpy().tobytes()
                starts = range(0, len(packed), _KEY_BYTES)
                found = (packed[start : start + _KEY_BYTES] for start in starts)
                self._kept[kind] = dict(zip(found, values, strict=True))

    def _fits(self, kind: str, keys: Tensor, values: Tensor) -> bool:
        """Say whether a file's arrays are what `save` writes."""
        width = getattr(self, "dimension", None) if kind == "features" else None
        return (
            keys.dtype == torch.uint8
            and values.dtype == torch.float32
            and values.ndim == 2
            and keys.shape == (len(values), _KEY_BYTES)
            and width in (None, values.shape[1])
        )


def _hash_rows(images: Tensor) -> list[bytes]:
    pixels = images.detach().cpu().float().contiguous().numpy()
    shape = str(pixels.shape[1:]).encode()

    def hash_images(some: NDArray[np.float32]) -> list[bytes]:
        hashes = [sha256(shape) for _ in some]  # processors have instructions for it
        for hash_, image in zip(hashes, some, strict=True):
            hash_.update(image.data)
        return [hash_.digest()[:_KEY_BYTES] for hash_ in hashes]

    with ThreadPoolExecutor(_HASHING_THREADS) as threads:  # hashing lets other threads run
        parts = threads.map(hash_images, np.array_split(pixels, _HASHING_THREADS))
        return [key for part in parts for key in part]
