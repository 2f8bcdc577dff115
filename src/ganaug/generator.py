"""What a generator plugin implements: a `Generator` that says, as phases, what is optimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ganaug.spec import Batch, ImageSpec, LabelledImages

__all__ = ["Generator", "Loss", "Phase"]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a phase's loss returns.

    terms: named scalar tensors; their sum is differentiated and stepped.
    logs: named scalars that are recorded and not optimised, such as ``d_accuracy``; a generator
        that has stages says where it is by ``growing``, ``resolution`` and ``alpha``, see
        `Progress`.
    """

    terms: Mapping[str, Tensor]
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """One optimisation within a training step.

    The loop draws a fresh batch for each of `repeats`, calls ``loss(batch, rng)``, and steps
    `optimizer` on the sum of the terms. While it does, parameters outside `optimizer` have no
    gradient. `module` is the module that the optimizer's parameters belong to.
    """

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Batch, torch.Generator], Loss]
    repeats: int = 1


class Generator(nn.Module, ABC):
    """Makes images of the classes of `spec`, and says how it is trained.

    The training loop owns order, precision, memory format, averaging, randomness and
    checkpoints; a generator owns its networks and losses. Whatever changes during training must
    be a parameter or a buffer, or follow from ``images_seen`` in `advance`.

    Where a schedule is belongs into buffers of the generator itself, what was learned into its
    modules: a fine-tuning takes over the modules, and learns from `advance` where it is.

    spec: the images to make.
    network: latents (and labels) to images. The loop keeps an exponential moving average of it,
        and samples are drawn from that.
    """

    spec: ImageSpec
    network: nn.Module

    @abstractmethod
    def phases(self) -> Iterable[Phase]:
        """Return what one training step optimises, in order, with new optimizers.

        Called once the modules are on their device, and again after `advance` returned True.
        Empty when there is nothing to train: then `advance` sees the images once, and that is all.
        """

    def batch_size(self, images_seen: int) -> int | None:
        """Return the batch size from here on, or None for the one `train` was given."""
        return None

    def advance(self, images_seen: int, images: LabelledImages) -> bool:
        """Move on to the next stage if it is time; called before every step.

        Return True when phases or network changed: the loop then reads `phases` anew and
        restarts the moving average. Schedules must not depend on the length of the training.
        """
        return False

    @property
    def has_stages(self) -> bool:
        """Whether `advance` may ever return True: then two trainings need not be at one stage.

        Unless told, so is every generator that has an `advance` of its own. Where it has none,
        rare classes can go on from a training on all, which is what is done unless told.
        """
        return type(self).advance is not Generator.advance

    def last_stage_at(self, num_images: int) -> int:
        """Return how many images `advance` lets pass until the last stage is wholly there.

        num_images: that are trained on, repeats not counted. 0 where there is one stage.
        """
        return 0

    @abstractmethod
    def sample(self, labels: Tensor, *, rng: torch.Generator) -> Tensor:
        """Draw an image a label.

        labels: int64 (N,) on the generator's device, N may be 0. rng: on the CPU; equal states
        give equal images, and torch's global generator is not touched. Called in eval mode
        without gradients. Returns float32 (N, C, H, W) in [-1, 1].
        """

    def score(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """Say how much images look like training images of their classes, to what trained it.

        images: float32 (N, C, H, W) in [-1, 1]; labels: int64 (N,), both on the generator's
        device. Called in eval mode without gradients. Returns (N,), the higher the more like
        training images; each follows from its image and label alone. None, the default, where
        there is nothing to score by.
        """
        return None
