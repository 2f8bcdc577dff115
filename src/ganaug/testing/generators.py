"""What every generator promises."""

from __future__ import annotations

import copy
import pickle
import random
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ganaug.errors import ShapeError
from ganaug.spec import ImageSpec
from ganaug.testing import generator_training
from ganaug.testing.checks import CheckFailedError, check_table, config_round_trip, expect
from ganaug.testing.extractors import as_batch
from ganaug.testing.generator_subject import REFUSALS, GeneratorSubject, draw, spec_of

__all__ = ["CHECKS", "GeneratorSubject"]

_CLASSES = 3

#: How far an image or a score may be from itself in another batch, in units of pixels or logits.
_ROUNDING = 1e-3

CHECKS, _check = check_table()
_check(config_round_trip)


@_check
def refuses_what_it_cannot_do(subject: GeneratorSubject) -> None:
    """A spec that it cannot do is refused with ShapeError, when it is built."""
    for channels, height, width in ((3, 17, 17), (3, 32, 24), (5, 32, 32), (1, 1, 1)):
        spec = ImageSpec(channels=channels, height=height, width=width, class_names=("a",))
        try:
            generator = subject.build(spec)
        except ShapeError:
            continue
        except CheckFailedError:
            raise
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
            subject.build(spec_of(channels, subject.spec().height, 1))
        except REFUSALS:
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
    subject.spec()  # one class it must do
    try:
        spec = subject.spec(classes=_CLASSES)
    except CheckFailedError:
        return  # it does one class at a time, and says so
    generator = subject.trained(spec)
    by_class = [draw(generator, [label] * 4, seed=1) for label in range(_CLASSES)]
    for one, other in combinations(range(_CLASSES), 2):
        expect(
            not torch.equal(by_class[one], by_class[other]),
            f"labels {one} and {other} give the same images from the same numbers; condition on "
            "labels, or refuse more than one class with ConfigError",
        )
    labels = [row % _CLASSES for row in range(2 * _CLASSES)]
    before = draw(generator, labels, seed=1)
    for row, label in enumerate(labels):
        other = (label + 1) % _CLASSES
        after = draw(generator, [*labels[:row], other, *labels[row + 1 :]], seed=1)
        _expect_only_this_changed(before, after, row)


def _expect_only_this_changed(before: Tensor, after: Tensor, row: int) -> None:
    expect(
        not torch.equal(before[row], after[row]),
        f"in a batch of several classes, image {row} is the same whatever its label",
    )
    others = torch.arange(len(before)) != row
    error = float((before - after)[others].abs().max())
    expect(
        error <= _ROUNDING,
        f"in a batch of several classes, the label of image {row} changes other images, by up to "
        f"{error:.2g}",
    )


@_check
def scores_each_image_by_itself(subject: GeneratorSubject) -> None:
    """Where it scores images, these are finite numbers (N,), each of its image and label alone."""
    try:
        spec = subject.spec(classes=_CLASSES)
    except Exception:  # whether it may is what labels-as-asked says
        spec = subject.spec()
    training = subject.training(spec)
    for _ in training:
        pass
    generator = training.generator.eval()
    examples = subject.images(spec).subset(range(2 * _CLASSES))
    images, labels = as_batch(examples), torch.from_numpy(examples.labels)
    with torch.no_grad():
        scores = generator.score(images, labels)
        if scores is None:
            return
        alone = [
            generator.score(images[row : row + 1], labels[row : row + 1])
            for row in range(len(labels))
        ]
    shape = tuple(scores.shape)
    expect(
        shape == (len(images),), f"for {len(images)} images score returned {shape}; expected (N,)"
    )
    expect(bool(torch.isfinite(scores).all()), "some scores are not finite")
    _expect_same_scores(scores, alone)


def _expect_same_scores(scores: Tensor, alone: list[Tensor | None]) -> None:
    for row, single in enumerate(alone):
        expect(single is not None, "it scores several images, and not a single one")
        assert single is not None
        error = abs(float(scores[row] - single.squeeze()))
        expect(
            error <= _ROUNDING * max(1.0, float(scores.abs().max())),
            f"image {row} scores {float(single.squeeze()):.4g} alone and {float(scores[row]):.4g} "
            "among others",
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
    """Sampling draws from `rng` only, not from numbers of torch, NumPy or Python for all to use."""
    generator = subject.trained(subject.spec())
    before, numpy_before = torch.get_rng_state(), _numpy_state()
    python_before = random.getstate()
    draw(generator, [0, 0])
    expect(torch.equal(before, torch.get_rng_state()), "sampling drew from torch's global numbers")
    expect(numpy_before == _numpy_state(), "sampling drew from NumPy's global numbers")
    expect(python_before == random.getstate(), "sampling drew from Python's global numbers")


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


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.get_state())  # noqa: NPY002  # what others may still draw from


CHECKS.update(generator_training.CHECKS)
