"""What every generator promises."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from ganaug.config import Config
from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.generator import Generator, Loss, Phase
from ganaug.plugins import GeneratorPlugin
from ganaug.randomness import seeded
from ganaug.spec import Batch, ImageSpec, LabelledImages
from ganaug.testing.checks import CheckFailedError, check_table, expect
from ganaug.testing.images import example_images
from ganaug.training import Training, train

__all__ = ["CHECKS", "GeneratorSubject"]

_SIZES = (16, 32, 28, 64, 8, 128)
_BATCH = 8
_STEPS = 2
_CLASSES = 3
_REFUSALS = (ShapeError, ConfigError, DataError)

CHECKS, _check = check_table()


@dataclass
class GeneratorSubject:
    """A generator plugin under test. settings: fields of its config, such as small widths."""

    record: GeneratorPlugin
    settings: dict[str, Any]

    @cached_property
    def config(self) -> Config:
        """The config that it is built with."""
        return self.record.config.from_fields(self.settings)

    def build(self, spec: ImageSpec, seed: int = 0) -> Generator:
        """Build for a spec, seeded."""
        with seeded(seed):
            generator = self.record.build(self.config, spec)
        expect(
            isinstance(generator, Generator),
            f"build returned {generator!r}; expected a ganaug.Generator",
        )
        return generator

    def spec(self, channels: int | None = None, classes: int = 1) -> ImageSpec:
        """Return the smallest spec that it can do. Raises CheckFailedError when there is none."""
        refused = ""
        for size in _SIZES:
            for number in (channels,) if channels else (3, 1):
                found = _spec(number, size, classes)
                try:
                    self.build(found)
                except _REFUSALS as error:
                    refused = str(error)
                else:
                    return found
        what = f"{channels} channels" if channels else "1 or 3 channels"
        expect(False, f"it builds for no size of {_SIZES} with {what}; it says: {refused}")
        raise AssertionError

    def images(self, spec: ImageSpec) -> LabelledImages:
        """Return images of a spec to train on."""
        return example_images(spec, n=4 * _BATCH)

    def training(self, spec: ImageSpec, *, steps: int = _STEPS, seed: int = 0) -> Training:
        """Return a training of a new generator, on this machine's processor."""
        generator = self.build(spec)
        return train(
            generator,
            self.images(spec),
            total_images=steps * (generator.batch_size(0) or _BATCH),
            batch_size=_BATCH,
            device="cpu",
            precision="32-true",
            random_state=seed,
        )

    def trained(self, spec: ImageSpec) -> Generator:
        """Return the averaged generator after a few steps."""
        training = self.training(spec)
        for _ in training:
            pass
        return training.ema


def draw(generator: Generator, labels: list[int], seed: int = 0) -> Tensor:
    """Sample as ganaug does: in eval mode, without gradients, from a generator of its own."""
    was = generator.training
    generator.eval()
    with torch.no_grad():
        images = generator.sample(
            torch.tensor(labels, dtype=torch.int64), rng=torch.Generator().manual_seed(seed)
        )
    generator.train(was)
    return images


@_check
def config_round_trip(subject: GeneratorSubject) -> None:
    """Its config survives being written to TOML and read again."""
    config = subject.config
    again = type(config).from_fields(config.to_fields())
    expect(again == config, f"{config!r} was read back as {again!r}")


@_check
def refuses_what_it_cannot_do(subject: GeneratorSubject) -> None:
    """A spec that it cannot do is refused with ShapeError, when it is built."""
    for channels, height, width in ((3, 17, 17), (3, 32, 24), (5, 32, 32), (1, 1, 1)):
        spec = ImageSpec(channels=channels, height=height, width=width, class_names=("a",))
        try:
            generator = subject.build(spec)
        except ShapeError:
            continue
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            expect(False, f"for images of {spec.shape} it raised {text}; expected ShapeError")
        found = tuple(draw(generator, [0]).shape[1:])
        expect(
            found == spec.shape,
            f"it built for images of {spec.shape} and makes {found}; raise ShapeError instead",
        )


@_check
def builds_on_the_cpu(subject: GeneratorSubject) -> None:
    """Its modules are built on the CPU, in float32; the loop moves them."""
    generator = subject.build(subject.spec())
    for name, tensor in generator.state_dict().items():
        expect(
            tensor.device.type == "cpu",
            f"{name} was built on {tensor.device}; leave devices to the training loop",
        )
    dtypes = {p.dtype for p in generator.parameters()} - {torch.float32}
    expect(not dtypes, f"it has parameters of {', '.join(map(str, dtypes))}; expected float32")


@_check
def shape_dtype_and_range(subject: GeneratorSubject) -> None:
    """It samples float32 (N, C, H, W), finite, in [-1, 1], in grey, in colour or in both."""
    done = []
    for channels in (1, 3):
        try:
            subject.build(_spec(channels, subject.spec().height, 1))
        except _REFUSALS:
            continue
        done.append(channels)
        spec = subject.spec(channels)
        generator = subject.trained(spec)
        images = draw(generator, [0, 0, 0])
        shape = tuple(images.shape)
        expect(shape == (3, *spec.shape), f"sampled {shape}; expected {(3, *spec.shape)}")
        expect(images.dtype == torch.float32, f"sampled {images.dtype}; expected float32")
        expect(bool(torch.isfinite(images).all()), "some pixels are not finite")
        _expect_in_range(images)
        # A few steps leave most networks timid: what limits their range must be in `sample`.
        with torch.no_grad():
            for parameter in generator.network.parameters():
                parameter.mul_(4)
        _expect_in_range(draw(generator, [0, 0, 0]))
    expect(bool(done), "it does neither 1 nor 3 channels")


@_check
def any_number_of_samples(subject: GeneratorSubject) -> None:
    """None, one and many samples can be drawn; each is an image of its own."""
    spec = subject.spec()
    generator = subject.build(spec)
    for n in (0, 1, 33):
        found = tuple(draw(generator, [0] * n).shape)
        expect(found == (n, *spec.shape), f"for {n} labels it sampled {found}")
    images = draw(generator, [0] * 33)
    repeated = len(torch.unique(images.flatten(1), dim=0)) < len(images)
    expect(not repeated, "33 samples of one class are not all different images")


@_check
def labels_as_asked(subject: GeneratorSubject) -> None:
    """Several classes: every label gives an image of its class, or the spec is refused."""
    try:
        spec = subject.spec(classes=_CLASSES)
    except CheckFailedError:
        return  # it does one class at a time, and says so
    generator = subject.trained(spec)
    by_class = [draw(generator, [label] * 4, seed=1) for label in range(_CLASSES)]
    for label in range(1, _CLASSES):
        expect(
            not torch.equal(by_class[0], by_class[label]),
            f"labels 0 and {label} give the same images from the same numbers; condition on "
            "labels, or refuse more than one class with ConfigError",
        )


@_check
def same_numbers_same_images(subject: GeneratorSubject) -> None:
    """Equal random states give equal images, others give others."""
    generator = subject.trained(subject.spec())
    first, again, other = (draw(generator, [0, 0], seed=seed) for seed in (1, 1, 2))
    expect(torch.equal(first, again), "equal random states gave different images")
    expect(not torch.equal(first, other), "different random states gave the same images")


@_check
def leaves_the_global_rng_alone(subject: GeneratorSubject) -> None:
    """Sampling draws from `rng` only, not from the numbers of torch or NumPy that others use."""
    generator = subject.trained(subject.spec())
    before, numpy_before = torch.get_rng_state(), _numpy_state()
    draw(generator, [0, 0])
    expect(torch.equal(before, torch.get_rng_state()), "sampling drew from torch's global numbers")
    expect(numpy_before == _numpy_state(), "sampling drew from NumPy's global numbers")


@_check
def phases_own_their_parameters(subject: GeneratorSubject) -> None:
    """Each phase steps some parameters of its own module, and no others change."""
    spec = subject.spec()
    generator = subject.build(spec).train()
    images = subject.images(spec)
    generator.advance(0, images)
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
        _step_alone(generator, phase, _batch(images))


@_check
def finite_losses(subject: GeneratorSubject) -> None:
    """Its losses are named scalars, and finite over the first steps."""
    training = subject.training(subject.spec())
    for progress in training:
        for name, value in {**progress.losses, **progress.logs}.items():
            expect(bool(np.isfinite(value)), f"{name} is {value} at step {progress.step}")
        expect(bool(progress.losses), "no phase returned a term of a loss")
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
def resumes_bit_for_bit(subject: GeneratorSubject) -> None:
    """Training, stopping and training on gives the weights of training through."""
    spec = subject.spec()
    through = subject.training(spec, steps=2 * _STEPS)
    for _ in through:
        pass
    first = subject.training(spec, steps=2 * _STEPS)
    for _ in range(_STEPS):
        next(first)
    second = subject.training(spec, steps=2 * _STEPS, seed=9)
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


@_check
def travels_to_workers(subject: GeneratorSubject) -> None:
    """It can be pickled and deep-copied, as data loaders and snapshots do."""
    generator = subject.trained(subject.spec())
    wanted = draw(generator, [0, 0])
    for how, other in (
        ("pickling", pickle.loads(pickle.dumps(generator))),
        ("copy.deepcopy", copy.deepcopy(generator)),
    ):
        expect(torch.equal(wanted, draw(other, [0, 0])), f"{how} it changes what it samples")


def _expect_in_range(images: Tensor) -> None:
    low, high = float(images.min()), float(images.max())
    expect(-1 <= low <= high <= 1, f"pixels are in [{low:g}, {high:g}]; expected [-1, 1]")


def _spec(channels: int, size: int, classes: int) -> ImageSpec:
    return ImageSpec(
        channels=channels, height=size, width=size, class_names=tuple("abcdefgh"[:classes])
    )


def _batch(images: LabelledImages) -> Batch:
    pixels = torch.from_numpy(np.asarray(images.pixels)[:_BATCH]).float() / 127.5 - 1
    return Batch(pixels, torch.from_numpy(images.labels[:_BATCH]))


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


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.get_state())  # noqa: NPY002  # what others may still draw from
