"""A fitted model: generators, and how their images are handed out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganaug.copies import CopyGate
from ganaug.errors import PluginError
from ganaug.generator import Generator
from ganaug.pixels import from_signed, resize
from ganaug.randomness import seeded
from ganaug.registry import Registry
from ganaug.spec import ImageSpec

if TYPE_CHECKING:
    from ganaug.memorisation import Memorisation

__all__ = ["ImageModel", "Output", "Source"]

_logger = logging.getLogger(__name__)

_BATCH = 256
# A class of which more than three draws in four are copies is handed out short.
_DRAWS_AN_IMAGE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What images look like on the way out: size in pixels, NumPy dtype name, value range."""

    height: int
    width: int
    dtype: str
    value_range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Source:
    """A generator plugin by name, and the fields of its config."""

    name: str
    settings: Mapping[str, Any]

    def build(
        self, spec: ImageSpec, weights: Mapping[str, torch.Tensor], registry: Registry | None = None
    ) -> Generator:
        """Build the generator around a network's weights, in eval mode.

        Raises RuntimeError when the weights are another network's.
        """
        plugin = (registry or Registry.load()).generators[self.name]
        with seeded(0):  # building draws weights, which are thrown away
            generator = plugin.build(plugin.config.from_fields(self.settings), spec)
        generator.network.load_state_dict(weights)
        return generator.eval().requires_grad_(False)


class ImageModel:
    """Draws images of its classes at their original size and bit depth, copies left out.

    generators: one for all classes (conditional, or one class), or one a class.
    class_names: the classes it can draw. copies: what is refused; None refuses nothing.
    source: how the generators are built; with it, only averaged networks are pickled.
    dropped: copies refused so far, a class. memorisation: what the audit found; None without one.
    """

    def __init__(
        self,
        generators: Sequence[Generator],
        class_names: Sequence[str],
        output: Output,
        copies: CopyGate | None,
        source: Source | None = None,
    ) -> None:
        self.generators = tuple(generators)
        self.source = source
        self.class_names = tuple(class_names)
        self.output = output
        self.copies = copies
        self.dropped = dict.fromkeys(self.class_names, 0)
        self.memorisation: Memorisation | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.source is not None:
            state["generators"] = [(g.spec, dict(g.network.state_dict())) for g in self.generators]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.source is not None:
            rebuilt = (self.source.build(spec, weights) for spec, weights in state["generators"])
            self.generators = tuple(rebuilt)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images handed out."""
        return self.generators[0].spec.channels, self.output.height, self.output.width

    def at_trained_size(self) -> ImageModel:
        """Hand out images at the size that the generator makes them, from now on; return itself."""
        spec = self.generators[0].spec
        self.output = replace(self.output, height=spec.height, width=spec.width)
        return self

    def draw(self, class_: int, n: int, *, seed: int) -> NDArray[Any]:
        """Draw n images of a class: (n, C, H, W), the same for the same seed.

        Warns and returns fewer when more than three draws in four are copies.
        """
        batches = list(self.draw_batches(class_, n, seed=seed))
        return np.concatenate([np.empty((0, *self.shape), dtype=self.output.dtype), *batches])

    def draw_batches(self, class_: int, n: int, *, seed: int) -> Iterator[NDArray[Any]]:
        """Draw as `draw` does, a batch at a time."""
        name = self.class_names[class_]
        rng = torch.Generator().manual_seed(seed)
        left, draws, dropped = n, _DRAWS_AN_IMAGE * n, 0
        while left and draws:
            wanted = min(_BATCH, left, draws)
            pixels = self._sample(class_, wanted, rng)
            kept = pixels[~self._is_copy(pixels)]
            draws, left, dropped = draws - wanted, left - len(kept), dropped + wanted - len(kept)
            if len(kept):
                yield resize(kept, self.output.height, self.output.width)
        self.dropped[name] += dropped
        if dropped:
            _logger.info("class %s: %d copies of training images dropped", name, dropped)
        if left:
            warnings.warn(
                f"Class {name!r}: {n - left} of {n} images; {dropped} of {4 * n} drawn were "
                "copies of training images. The generator has memorised this class: train it on "
                "more images, or for less long.",
                stacklevel=2,
            )

    def draw_raw(self, class_: int, n: int, *, seed: int) -> NDArray[Any]:
        """Draw n images of a class at the generator's size, copies of training images included.

        Such images are for measurement, and not to be handed out.
        """
        rng = torch.Generator().manual_seed(seed)
        sizes = [min(_BATCH, n - start) for start in range(0, n, _BATCH)]
        return np.concatenate([self._sample(class_, size, rng) for size in sizes])

    def _is_copy(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        if self.copies is None:
            return np.zeros(len(pixels), dtype=bool)
        return self.copies.find(pixels, self.output.value_range)

    @torch.no_grad()
    def _sample(self, class_: int, n: int, rng: torch.Generator) -> NDArray[Any]:
        generator = self.generators[class_ if len(self.generators) > 1 else 0]
        label = class_ if generator.spec.num_classes > 1 else 0
        device = next((p.device for p in generator.network.parameters()), torch.device("cpu"))
        with seeded(0, device):
            images = generator.sample(torch.full((n,), label, device=device), rng=rng)
        if images.shape != (n, *generator.spec.shape) or not torch.isfinite(images).all():
            raise PluginError(
                f"{type(generator).__name__}.sample must return finite images of shape "
                f"{(n, *generator.spec.shape)}; got {tuple(images.shape)}."
            )
        return from_signed(
            images.float().cpu(),
            dtype=np.dtype(self.output.dtype),
            value_range=self.output.value_range,
        )
