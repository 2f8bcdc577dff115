"""The filter `discriminator`: drops what the trained discriminator scores lowest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganaug.copies import Rate
from ganaug.errors import ConfigError, PluginError
from ganaug.filters.chunks import signed_chunks
from ganaug.generator import Generator
from ganaug.randomness import class_seed, seeded
from ganaug.spec import ImageSpec, LabelledImages

if TYPE_CHECKING:
    from ganaug.model import ImageModel, Source
    from ganaug.registry import Registry

__all__ = ["DiscriminatorFilter"]

#: The part of a class's draws that the discriminator drops, and how many draws say where that is.
_LOWEST = 0.25
_DRAWS = 512

#: Of the draws: any number, and another one than whoever draws images is likely to give.
_SEED = 0x6469736372


class DiscriminatorFilter:
    """Drops the quarter of each class's draws that the trained discriminator scores lowest.

    The score is `Generator.score`: of a discriminator, the logit, which at the optimum of the
    non-saturating loss orders images by how much more likely the data make them than the generator
    does. Azadi et al. (2019, section 2) accept each with a probability that follows from it; a
    fixed share, as here, needs no calibration, and trades variety for likeness. The threshold of a
    class is a quantile of the scores of its own draws. Quantiles of training images
    would not do: a discriminator has seen those, and scores them higher than any other real image,
    the more so the longer it was trained.

    generators: with all that `score` needs, one for all classes or one a class. thresholds: by
    class. source: how the generators are built, so that they can be pickled as weights; None
    pickles them as they are. checked: how many training images it would drop.
    """

    name = "discriminator"
    reason = "images that the discriminator scores low"

    def __init__(
        self,
        generators: Sequence[Generator],
        thresholds: Sequence[float],
        source: Source | None,
        checked: Rate,
    ) -> None:
        self.generators = tuple(generators)
        self.thresholds = tuple(thresholds)
        self.source = source
        self.checked = checked

    @staticmethod
    def check(generator: Generator) -> None:
        """Raise ConfigError for a generator, as it will be trained, that scores no images.

        PluginError for one that does not give a score an image.
        """
        if not _can_score(generator):
            raise ConfigError(
                f"The filter 'discriminator' needs a generator that scores images, and "
                f"{type(generator).__name__} as it is set up here has no score to give. Leave that "
                "filter out, or use another generator, such as dcgan."
            )

    @classmethod
    def fit(cls, model: ImageModel, training: Sequence[LabelledImages]) -> Self:
        """Set thresholds on 512 raw draws a class of a model, at the generator's size.

        training: training images of each class, loaded at that size.
        """
        found = cls(model.generators, (), model.source, Rate())
        value_range = model.output.value_range
        thresholds = []
        for class_ in range(len(model.class_names)):
            drawn = model.draw_raw(class_, _DRAWS, seed=class_seed(_SEED, class_))
            scores = found.scores(drawn, class_, value_range)
            thresholds.append(float(np.quantile(scores, _LOWEST)))
        found.thresholds = tuple(thresholds)
        for class_, images in enumerate(training):
            kept = found.keep(np.asarray(images.pixels), class_, images.value_range)
            found.checked += Rate(flagged=int(np.count_nonzero(~kept)), images=len(kept))
        return found

    def keep(
        self, pixels: NDArray[Any], class_: int, value_range: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Say which images of one class, (N, C, H, W) within `value_range`, may pass; bool (N,)."""
        return self.scores(pixels, class_, value_range) >= self.thresholds[class_]

    @torch.no_grad()
    def scores(
        self, pixels: NDArray[Any], class_: int, value_range: tuple[float, float]
    ) -> NDArray[np.float32]:
        """Return the discriminator's scores of images of one class, float32 (N,)."""
        generator = self.generators[class_ if len(self.generators) > 1 else 0]
        label = class_ if generator.spec.num_classes > 1 else 0
        device = next((p.device for p in generator.parameters()), torch.device("cpu"))
        found = [np.empty(0, dtype=np.float32)]
        for chunk in signed_chunks(pixels, value_range):
            scores = generator.score(
                chunk.to(device), torch.full((len(chunk),), label, device=device)
            )
            found.append(_checked(scores, generator, len(chunk)).float().cpu().numpy())
        return np.concatenate(found)

    @property
    def summary(self) -> str:
        """What it drops, and how many training images."""
        return (
            f"Drops images that the discriminator scores below the {_LOWEST:.0%} of draws of their "
            "class that it scored lowest when the run was fitted. Of the training images, which it "
            f"has learned from, it would drop {self.checked}."
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what a run keeps: the generators with their discriminators, and thresholds."""
        tensors = {
            f"{number}.{name}": tensor
            for number, generator in enumerate(self.generators)
            for name, tensor in generator.state_dict().items()
            if not name.startswith("network.")  # the run has it already
        }
        return tensors, {"thresholds": self.thresholds, "checked": self.checked.to_fields()}

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        header: Mapping[str, Any],
        model: ImageModel,
        registry: Registry,
    ) -> Self:
        """Take over what `to_tensors` returned; the model's generators get their discriminators."""
        for number, generator in enumerate(model.generators):
            state = {f"network.{k}": v for k, v in generator.network.state_dict().items()}
            mark = f"{number}."
            state |= {k.removeprefix(mark): v for k, v in tensors.items() if k.startswith(mark)}
            generator.load_state_dict(state)
        thresholds = tuple(float(each) for each in header["thresholds"])
        if len(thresholds) != len(model.class_names):
            raise ValueError(f"{len(thresholds)} thresholds for {len(model.class_names)} classes")
        checked = Rate.from_fields(header["checked"])
        return cls(model.generators, thresholds, model.source, checked)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.source is not None:
            state["generators"] = [(g.spec, dict(g.state_dict())) for g in self.generators]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.source is not None:
            rebuilt = (_rebuild(self.source, *each) for each in state["generators"])
            self.generators = tuple(rebuilt)


@torch.no_grad()
def _can_score(generator: Generator) -> bool:
    """Say whether a generator scores two blank images; it is left as it was.

    Raises PluginError for scores of another shape.
    """
    was_training = generator.training
    device = next((p.device for p in generator.parameters()), torch.device("cpu"))
    blank = torch.zeros(2, *generator.spec.shape, device=device)
    try:
        generator.eval()
        with seeded(0, device):
            scores = generator.score(blank, torch.zeros(2, dtype=torch.int64, device=device))
    finally:
        generator.train(was_training)
    if scores is None:
        return False
    _checked(scores, generator, 2)
    return True


def _checked(scores: Tensor | None, generator: Generator, n: int) -> Tensor:
    """Return the scores of n images. Raises PluginError unless there is one an image."""
    if scores is None or scores.shape != (n,):
        shape = None if scores is None else tuple(scores.shape)
        raise PluginError(
            f"{type(generator).__name__}.score must return a score an image, of shape ({n},); got "
            f"{shape}."
        )
    return scores


def _rebuild(source: Source, spec: ImageSpec, state: Mapping[str, Tensor]) -> Generator:
    """Build a generator around all of its weights."""
    network = {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}
    generator = source.build(spec, network)
    generator.load_state_dict(dict(state))
    return generator
