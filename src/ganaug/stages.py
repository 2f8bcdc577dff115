"""What a training step stands on: a generator's phases, and the average of its network."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganaug.ema import EMA
from ganaug.errors import ConfigError, RunError
from ganaug.generator import Generator, Loss, Phase
from ganaug.hardware import average, fuse
from ganaug.spec import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Snapshot", "Stage"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of the averaged network's weights, as they were after `images_seen` images."""

    images_seen: int
    weights: Mapping[str, Tensor]


class Stage:
    """A generator between two changes of its phases or network; the next stage is a new one.

    phases: as the generator gave them, their optimizers fused; none where there is nothing to
    train. ema: the average, which starts from the network as it is.

    Raises ConfigError for two phases of one name.
    """

    def __init__(self, generator: Generator, fabric: Fabric, *, ema_halflife_images: float) -> None:
        self._generator = generator.train()
        self._fabric = fabric
        self.phases = tuple(generator.phases())
        if len({phase.name for phase in self.phases}) < len(self.phases):
            raise ConfigError("A generator's phases need different names.")
        self._trainable = [p for p in generator.parameters() if p.requires_grad]
        for phase in self.phases:
            fuse(phase.optimizer)
        self.ema = EMA(generator, halflife_images=ema_halflife_images)

    def optimise(self, phase: Phase, batch: Batch, *, rng: torch.Generator) -> Loss | None:
        """Step one phase's optimizer; None, and no step, when the loss is not finite."""
        with self._only_trainable(phase):
            phase.optimizer.zero_grad(set_to_none=True)
            with self._fabric.autocast():
                loss = phase.loss(batch, rng)
            total = torch.stack([term.float() for term in loss.terms.values()]).sum()
            total.backward()
        verdict = total.detach().clone().view(1)
        average([verdict])
        if not torch.isfinite(verdict).item():
            return None
        gradients = [p.grad for p in _parameters(phase.optimizer) if p.grad is not None]
        average(gradients)
        phase.optimizer.step()
        return Loss(
            {name: term.detach() for name, term in loss.terms.items()},
            {name: torch.as_tensor(value).detach() for name, value in loss.logs.items()},
        )

    def slow_down(self, factor: float) -> None:
        """Multiply every learning rate by a factor."""
        for phase in self.phases:
            for group in phase.optimizer.param_groups:
                group["lr"] *= factor

    def snapshot(self, images_seen: int) -> Snapshot:
        """Return a copy of the averaged weights."""
        weights = self.ema.network.state_dict()
        return Snapshot(images_seen, {k: tensor.detach().clone() for k, tensor in weights.items()})

    def is_finite(self) -> bool:
        """Say whether every floating-point number of the generator is finite."""
        floats = [t for t in self._generator.state_dict().values() if t.is_floating_point()]
        return all(bool(torch.isfinite(tensor).all()) for tensor in floats)

    def state_dict(self) -> dict[str, Any]:
        """Return the tensors of generator, average and optimizers; not copies of them."""
        return {
            "generator": dict(self._generator.state_dict()),
            "ema": dict(self.ema.network.state_dict()),
            "optimizers": {p.name: p.optimizer.state_dict() for p in self.phases},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state of the same stage. Raises RunError for another generator's."""
        try:
            self._generator.load_state_dict(state["generator"])
            self.ema.network.load_state_dict(state["ema"])
            for phase in self.phases:
                _load_optimizer(phase.optimizer, state["optimizers"][phase.name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise RunError(
                f"This training state belongs to another generator: {error}. Resume with the "
                "configuration it was made with."
            ) from error

    @contextmanager
    def _only_trainable(self, phase: Phase) -> Iterator[None]:
        """Let only the phase's own parameters have gradients: D's cost G's step nothing."""
        own = {id(p) for p in _parameters(phase.optimizer)}
        for parameter in self._trainable:
            parameter.requires_grad_(id(parameter) in own)
        try:
            yield
        finally:
            for parameter in self._trainable:
                parameter.requires_grad_(True)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load, and give moments the strides of their parameters.

    The fused CPU Adam reads parameter and moments in memory order; moments that were stored
    contiguous beside channels-last parameters would be silently misread.
    """
    optimizer.load_state_dict(copy.deepcopy(state))
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
