"""What every generator promises of its training, and of what is kept of it."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from ganaug.generator import Generator, Loss, Phase
from ganaug.randomness import seeded
from ganaug.spec import Batch, LabelledImages
from ganaug.testing.checks import check_table, expect
from ganaug.testing.generator_subject import BATCH, STEPS, GeneratorSubject, draw

__all__ = ["CHECKS"]

CHECKS, _check = check_table()

#: Training images after which a generator is asked whether another stage begins.
_LATER = [2**power for power in range(31)]

#: Images of the same weights may differ by the rounding of another memory layout.
_ROUNDING = 1e-5


@_check
def phases_own_their_parameters(subject: GeneratorSubject) -> None:
    """At every stage, each phase steps some parameters of its own module, and no others change."""
    spec = subject.spec()
    generator = subject.build(spec).train()
    images = subject.images(spec)
    generator.advance(0, images)
    _expect_own_parameters(generator, _batch(images))
    for images_seen in _LATER:
        if generator.advance(images_seen, images):
            _expect_own_parameters(generator, _batch(images))


def _expect_own_parameters(generator: Generator, batch: Batch) -> None:
    """Look at the phases of a generator as it is, and step each."""
    phases = list(generator.phases())
    owners: dict[int, str] = {}
    for phase in phases:
        own = {id(parameter) for parameter in phase.module.parameters()}
        stepped = {id(p) for group in phase.optimizer.param_groups for p in group["params"]}
        expect(
            stepped <= own,
            f"the optimizer of phase {phase.name!r} has parameters that are not of its module",
        )
        for parameter in stepped:
            other = owners.setdefault(parameter, phase.name)
            expect(other == phase.name, f"phases {other!r} and {phase.name!r} share parameters")
    for phase in phases:
        _step_alone(generator, phase, batch)


@_check
def finite_losses(subject: GeneratorSubject) -> None:
    """Its losses are named scalars, and finite over the first steps."""
    training = subject.training(subject.spec())
    for progress in training:
        for name, value in {**progress.losses, **progress.logs}.items():
            expect(bool(np.isfinite(value)), f"{name} is {value} at step {progress.step}")
        expect(
            bool(progress.losses) or not list(training.generator.phases()),
            "no phase returned a term of a loss",
        )
    expect(not training.rollbacks, "a loss was not finite, and the loop had to go back")


@_check
def weights_round_trip(subject: GeneratorSubject) -> None:
    """Its state_dict, through safetensors, makes another build sample the same images."""
    spec = subject.spec()
    training = subject.training(spec)
    for _ in training:
        pass
    state = {k: v.clone().contiguous() for k, v in training.generator.state_dict().items()}
    again = subject.training(spec, seed=5)
    again.load_state_dict({**training.state_dict(), "generator": load(save(state))})
    wanted, found = (draw(each.generator, [0, 0]) for each in (training, again))
    expect(torch.equal(wanted, found), "the same weights sample other images after loading")


@_check
def a_run_keeps_what_samples_need(subject: GeneratorSubject) -> None:
    """All that samples need of what was drawn or learned is in `network`, which a run keeps."""
    spec = subject.spec()
    trained = subject.trained(spec)
    again = subject.build(spec, seed=7)
    again.network.load_state_dict(trained.network.state_dict())
    same = torch.allclose(draw(trained, [0, 0]), draw(again, [0, 0]), rtol=0, atol=_ROUNDING)
    expect(
        same,
        "built anew around the weights of its network, it samples other images; whatever `sample` "
        "uses that is learned or drawn must be a parameter or a buffer of `network`",
    )


@_check
def resumes_bit_for_bit(subject: GeneratorSubject) -> None:
    """Training, stopping and training on gives the weights of training through."""
    spec = subject.spec()
    through = subject.training(spec, steps=2 * STEPS)
    for _ in through:
        pass
    first = subject.training(spec, steps=2 * STEPS)
    for _ in range(STEPS):
        next(first, None)  # a generator with nothing to train is done after one
    second = subject.training(spec, steps=2 * STEPS, seed=9)
    second.load_state_dict(first.state_dict())
    for _ in second:
        pass
    wanted, found = through.generator.state_dict(), second.generator.state_dict()
    expect(wanted.keys() == found.keys(), "it has other parameters or buffers after resuming")
    for name, tensor in wanted.items():
        expect(
            torch.equal(tensor, found[name]),
            f"{name} differs after stopping and resuming; whatever changes in training must be a "
            "parameter or a buffer, or follow from images_seen in advance()",
        )


def _batch(images: LabelledImages) -> Batch:
    pixels = torch.from_numpy(np.asarray(images.pixels)[:BATCH]).float() / 127.5 - 1
    return Batch(pixels, torch.from_numpy(images.labels[:BATCH]))


def _step_alone(generator: Generator, phase: Phase, batch: Batch) -> None:
    """Step one phase as the loop does, and see what changed."""
    own = {id(p) for group in phase.optimizer.param_groups for p in group["params"]}
    trainable = [p for p in generator.parameters() if p.requires_grad]
    before = {name: p.detach().clone() for name, p in generator.named_parameters()}
    for parameter in trainable:
        parameter.requires_grad_(id(parameter) in own)
    with seeded(1):
        loss = phase.loss(batch, torch.Generator().manual_seed(1))
        expect(
            isinstance(loss, Loss) and bool(loss.terms),
            f"the loss of phase {phase.name!r} returned {loss!r}; expected a Loss with terms",
        )
        for name, term in loss.terms.items():
            expect(
                isinstance(term, Tensor) and term.ndim == 0,
                f"term {name!r} of phase {phase.name!r} is no scalar tensor",
            )
        torch.stack([term.float() for term in loss.terms.values()]).sum().backward()
        phase.optimizer.step()
    for parameter in trainable:
        parameter.requires_grad_(True)
    changed = {name for name, p in generator.named_parameters() if not torch.equal(p, before[name])}
    names = {name for name, p in generator.named_parameters() if id(p) in own}
    expect(bool(changed & names), f"phase {phase.name!r} changed none of its parameters")
    others = ", ".join(sorted(changed - names))
    expect(not others, f"phase {phase.name!r} changed parameters that are not its own: {others}")
