"""A fitted model: generators, and how their images are handed out."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

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
    from ganaug.selection import Choice

__all__ = ["ImageModel", "Output", "SampleFilter", "Source", "Tally"]

_logger = logging.getLogger(__name__)

_BATCH = 256
_MOST = 1.001  # of a pixel in [-1, 1], as reduced precision rounds
# A class of which more than three draws in four are copies is handed out short, and so is one of
# which filters, all together, let pass fewer than one draw in twenty.
_COPIES_AN_IMAGE = 4
_DRAWS_AN_IMAGE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What images look like on the way out: size in pixels, NumPy dtype name, value range."""

    height: int
    width: int
    dtype: str
    value_range: tuple[float, float]


class SampleFilter(Protocol):
    """Says which synthetic images may be handed out; `CopyGate` is one, others are in `filters`.

    name: as users choose it. reason: what the images are that it drops, in the plural. summary:
    in a sentence, what it is and what it was seen to do; for the card and the log.
    """

    name: str
    reason: str

    @property
    def summary(self) -> str:
        """Return the sentence."""

    def keep(
        self, pixels: NDArray[Any], class_: int, value_range: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Say which images of one class, (N, C, H, W) within `value_range`, may pass; bool (N,).

        class_: its index among the model's classes. An image's verdict depends on no other.
        """


@dataclass(slots=True)
class Tally:
    """What became of the images of a class.

    drawn: by the generator. dropped: by the name of the filter; an image that several would drop
    counts for the first of them.
    """

    drawn: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """How many were handed out."""
        return self.drawn - self.dropped.total()

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.drawn + other.drawn, self.dropped + other.dropped)


@dataclass(frozen=True, slots=True)
class Source:
    """A generator plugin by name, and the fields of its config."""

    name: str
    settings: Mapping[str, Any]

    @property
    def described(self) -> str:
        """The plugin and who provides it, for messages."""
        return f"The generator {self.name!r} of {Registry.load().provider('generators', self.name)}"

    def build(
        self, spec: ImageSpec, weights: Mapping[str, torch.Tensor], registry: Registry | None = None
    ) -> Generator:
        """Build the generator around a network's weights, in eval mode.

        Raises RuntimeError when the weights are another network's.
        """
        generators = (registry or Registry.load()).generators
        config = generators[self.name].config.from_fields(self.settings)
        with seeded(0):  # building draws weights, which are thrown away
            generator = generators.make(self.name, lambda it: it.build(config, spec), Generator)
        generator.network.load_state_dict(weights)
        return generator.eval().requires_grad_(False)


class ImageModel:
    """Draws images of its classes at their original size and bit depth, past its filters.

    generators: one for all classes (conditional, or one class), or one a class.
    class_names: the classes it can draw. copies: the copy gate; None refuses no copies. filters:
    what else images must pass, in this order, after the gate.
    source: how the generators are built; with it, only averaged networks are pickled.
    tallies: how many images were drawn so far, and dropped by which filter, a class.
    memorisation: what the audit found; None without one. choices: which weights the generators
    have; empty in a model that was read from a run, which has ``selection.json``.
    """

    def __init__(
        self,
        generators: Sequence[Generator],
        class_names: Sequence[str],
        output: Output,
        copies: CopyGate | None,
        source: Source | None = None,
        filters: Sequence[SampleFilter] = (),
    ) -> None:
        self.generators = tuple(generators)
        self.source = source
        self.class_names = tuple(class_names)
        self.output = output
        self.copies = copies
        self.filters: tuple[SampleFilter, ...] = ()
        self.add_filters([*([] if copies is None else [copies]), *filters])
        self.tallies = {name: Tally() for name in self.class_names}
        self.memorisation: Memorisation | None = None
        self.choices: tuple[Choice, ...] = ()

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

    def add_filters(self, filters: Sequence[SampleFilter]) -> None:
        """Let images pass these too, after those that there are."""
        self.filters = (*self.filters, *filters)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images handed out."""
        return self.generators[0].spec.channels, self.output.height, self.output.width

    @property
    def dropped(self) -> dict[str, int]:
        """How many draws were refused so far, by whatever filter, a class."""
        return {name: tally.dropped.total() for name, tally in self.tallies.items()}

    def at_trained_size(self) -> ImageModel:
        """Hand out images at the size that the generator makes them, from now on; return itself."""
        spec = self.generators[0].spec
        self.output = replace(self.output, height=spec.height, width=spec.width)
        return self

    def draw(self, class_: int, n: int, *, seed: int) -> NDArray[Any]:
        """Draw n images of a class: (n, C, H, W), the same for the same seed.

        Warns and returns fewer when more than three draws in four are copies, or when fewer than
        one in twenty pass all filters.
        """
        batches = list(self.draw_batches(class_, n, seed=seed))
        return np.concatenate([np.empty((0, *self.shape), dtype=self.output.dtype), *batches])

    def draw_batches(self, class_: int, n: int, *, seed: int) -> Iterator[NDArray[Any]]:
        """Draw as `draw` does, a batch at a time."""
        name, tally = self.class_names[class_], Tally()
        rng = torch.Generator().manual_seed(seed)
        while wanted := min(_BATCH, n - tally.kept, _draws_left(tally, n)):
            pixels = self._sample(class_, wanted, rng)
            kept = self._sift(pixels, class_, tally)
            if len(kept):
                yield resize(kept, self.output.height, self.output.width)
        self.tallies[name] += tally
        if tally.dropped:
            _logger.info("class %s, dropped: %s", name, self.explain_drops(tally))
        if tally.kept < n:
            warnings.warn(self._shortfall(name, n, tally), stacklevel=2)

    def draw_raw(self, class_: int, n: int, *, seed: int) -> NDArray[Any]:
        """Draw n images of a class at the generator's size, copies of training images included.

        Such images are for measurement, and not to be handed out.
        """
        rng = torch.Generator().manual_seed(seed)
        sizes = [min(_BATCH, n - start) for start in range(0, n, _BATCH)]
        return np.concatenate([self._sample(class_, size, rng) for size in sizes])

    def _sift(self, pixels: NDArray[Any], class_: int, tally: Tally) -> NDArray[Any]:
        """Return the images that pass every filter; count them all."""
        tally.drawn += len(pixels)
        for each in self.filters:
            kept = each.keep(pixels, class_, self.output.value_range)
            if not kept.all():
                tally.dropped[each.name] += int(np.count_nonzero(~kept))
                pixels = pixels[kept]
        return pixels

    def explain_drops(self, tally: Tally | None = None) -> str:
        """Return what was dropped, and how many of each, as a list in words; of all classes."""
        if tally is None:
            tally = sum(self.tallies.values(), Tally())
        found = ((each.reason, tally.dropped[each.name]) for each in self.filters)
        return ", ".join(f"{reason} ({n:,})" for reason, n in found if n)

    def _shortfall(self, name: str, n: int, tally: Tally) -> str:
        """Say that a class is handed out short, why, and what to do."""
        what = (
            "The generator has not learned this class well enough: train it for longer, on more "
            "images, or with fewer filters."
        )
        if tally.dropped["copies"] > tally.drawn // 2:
            what = (
                "The generator has memorised this class: train it on more images, or for less long."
            )
        return (
            f"Class {name!r}: {tally.kept} of {n} images; of {tally.drawn} drawn, dropped: "
            f"{self.explain_drops(tally)}. {what}"
        )

    @torch.no_grad()
    def _sample(self, class_: int, n: int, rng: torch.Generator) -> NDArray[Any]:
        generator = self.generators[class_ if len(self.generators) > 1 else 0]
        label = class_ if generator.spec.num_classes > 1 else 0
        device = next((p.device for p in generator.network.parameters()), torch.device("cpu"))
        with seeded(0, device):
            images = generator.sample(torch.full((n,), label, device=device), rng=rng)
        shape = (n, *generator.spec.shape)
        if images.shape != shape or not bool((images.abs() <= _MOST).all()):  # nor is NaN
            name = type(generator).__name__ if self.source is None else self.source.described
            found = f"shape {tuple(images.shape)}"
            if images.numel():
                found += f", values from {float(images.min()):.3g} to {float(images.max()):.3g}"
            raise PluginError(
                f"{name}: sample must return images of shape {shape}, finite and within [-1, 1]; "
                f"got {found}. That fails the check 'shape-dtype-and-range'. Look at it with: "
                f"ganaug plugins check {self.source.name if self.source else 'NAME'}"
            )
        return from_signed(
            images.float().cpu(),
            dtype=np.dtype(self.output.dtype),
            value_range=self.output.value_range,
        )


def _draws_left(tally: Tally, n: int) -> int:
    """Return how many more images may be drawn before n are given up."""
    others = tally.dropped.total() - tally.dropped["copies"]
    return min(_COPIES_AN_IMAGE * n + others, _DRAWS_AN_IMAGE * n) - tally.drawn
