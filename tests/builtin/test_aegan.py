"""AE+GAN keeps its promises: stages, shapes, errors, randomness, what is frozen, what resumes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_images

from ganaug import Training, train
from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.builtin.aegan.network import AEGAN
from ganaug.builtin.aegan.plugin import build, ganaug_generators
from ganaug.errors import ConfigError, ShapeError
from ganaug.spec import Batch, ImageSpec, LabelledImages

SMALL: dict[str, Any] = {"width": 4, "code_dim": 8, "hidden": 8, "autoencoder_batch_size": 4}
MODES = ("latent", "decoder_init")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small lose more to waiting for other threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def spec(side: int = 16, channels: int = 3, classes: int = 1) -> ImageSpec:
    names = tuple("abcdefghij"[:classes])
    return ImageSpec(channels=channels, height=side, width=side, class_names=names)


def make(image: ImageSpec, **fields: Any) -> AEGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AEGAN(AEGANConfig(**{**SMALL, **fields}), image)


def data(classes: int = 2, n: int = 24, side: int = 16) -> LabelledImages:
    return make_images(n, channels=3, size=side, classes=classes)


def start(images: LabelledImages, total: int = 10_000, **fields: Any) -> Training:
    """A training on one process's CPU, whose autoencoder sees 12 images unless told."""
    fields = {"autoencoder_images": 12, "batch_size": 4, **fields}
    return train(
        make(images.spec, **fields),
        images,
        total_images=total,
        random_state=0,
        device="cpu",
        precision="32-true",
        snapshot_every_images=8,
    )


def go_on(training: Training, steps: int) -> Training:
    for _ in range(steps):
        next(training)
    return training


def equal(one: Any, other: Any) -> bool:
    if torch.is_tensor(one):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_makes_and_judges_images(mode: str, side: int, channels: int) -> None:
    for classes in (1, 3):
        images = make_images(6, channels=channels, size=side, classes=classes)
        aegan = make(images.spec, mode=mode, autoencoder_images=1).eval()
        labels = torch.tensor([0, classes - 1])
        for images_seen in (0, 1):  # while the autoencoder is trained, and after
            assert aegan.advance(images_seen, images) is True
            with torch.no_grad():
                drawn = aegan.sample(labels, rng=torch.Generator().manual_seed(0))
            assert drawn.shape == (2, channels, side, side)
            assert drawn.dtype == torch.float32
            assert -1 <= drawn.min() <= drawn.max() <= 1


@pytest.mark.parametrize(
    ("channels", "height", "width", "message"),
    [
        (3, 48, 64, r"power of two.*got 48x64.*size=64"),
        (1, 8, 8, r"at least 16.*got 8x8.*size=16"),
        (3, 512, 512, r"at most 256.*got 512x512.*size=256"),
        (4, 32, 32, r"1 or 3 channels; got 4"),
    ],
)
def test_a_shape_it_cannot_do_is_one_clear_error(
    channels: int, height: int, width: int, message: str
) -> None:
    image = ImageSpec(channels=channels, height=height, width=width, class_names=("a",))
    with pytest.raises(ShapeError, match=message):
        build(AEGANConfig(), image)


@pytest.mark.parametrize("mode", MODES)
def test_the_autoencoder_comes_first_and_then_the_gan(mode: str) -> None:
    training = start(data(), mode=mode)
    names, growing = [], []
    for _ in range(5):
        progress = next(training)
        names.append({name.split("/")[0] for name in progress.losses})
        growing.append(progress.is_growing)
    assert names == [{"critic", "autoencoder"}] * 3 + [{"discriminator", "generator"}] * 2
    assert growing == [True] * 3 + [False] * 2
    assert training.generator.last_stage_at(len(data())) == 3 * 4
    assert training.images_seen == 3 * 4 + 2 * 4


def test_the_stages_follow_from_the_images_and_not_from_the_length_of_the_training() -> None:
    assert AEGANConfig().images_for_autoencoder(100) == 8_000
    assert AEGANConfig().images_for_autoencoder(1_000) == 20_000
    assert AEGANConfig().images_for_autoencoder(10_000) == 40_000
    assert AEGANConfig(autoencoder_images=7).images_for_autoencoder(10_000) == 7
    states = [go_on(start(data(), total=total), 6).state_dict() for total in (24, 10_000)]
    for state in states:
        del state["seconds"]
    assert equal(*states)


@pytest.mark.parametrize("mode", MODES)
def test_images_that_are_shown_before_the_first_step_change_nothing(mode: str) -> None:
    trainings = [start(data(), mode=mode) for _ in range(2)]
    trainings[0].begin()
    states = [go_on(training, 5).state_dict() for training in trainings]
    for state in states:
        del state["seconds"]
    assert equal(*states)


def test_each_stage_has_its_batch_size() -> None:
    images = data()
    for mode, expected in (("latent", 64), ("decoder_init", 16)):
        aegan = make(images.spec, mode=mode, autoencoder_images=10)
        aegan.advance(0, images)
        assert aegan.batch_size(0) == 4
        aegan.advance(10, images)
        assert aegan.batch_size(10) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("autoencoder", ["plain", "vae"])
@pytest.mark.parametrize("steps", [2, 3, 5])  # within the first stage, at the change, after it
def test_a_training_resumes_bit_for_bit(mode: str, autoencoder: str, steps: int) -> None:
    images = data()
    fields = {"mode": mode, "autoencoder": autoencoder}
    straight = go_on(start(images, **fields), steps)
    kept = straight.state_dict()
    resumed = start(images, **fields)
    go_on(resumed, 1)  # what it was before must not matter
    resumed.load_state_dict(kept)
    states = [go_on(training, 4).state_dict() for training in (straight, resumed)]
    for state in states:
        del state["seconds"]
    assert equal(*states)


def test_statistics_of_codes_come_from_the_state_and_not_from_other_weights() -> None:
    images = data()
    training = go_on(start(images), 5)
    fresh = start(images)
    fresh.generator.network.autoencoder.encoder.head.weight.data.normal_()
    fresh.load_state_dict(training.state_dict())
    for ours, theirs in (
        (fresh.generator.network.prior, training.generator.network.prior),
        (fresh.ema.network.prior, training.ema.network.prior),
    ):
        assert equal(ours.state_dict(), theirs.state_dict())


def test_codes_of_training_images_are_in_no_state_and_are_encoded_again() -> None:
    images = data()
    training = go_on(start(images), 5)
    codes = training.generator.bank.codes.clone()
    assert len(codes) == len(images)
    assert not [name for name in training.generator.state_dict() if name.startswith("bank")]
    fresh = go_on(start(images), 1)
    fresh.load_state_dict(training.state_dict())
    assert len(fresh.generator.bank) == 0
    assert torch.equal(go_on(fresh, 1).generator.bank.codes, codes)


@pytest.mark.parametrize("mode", MODES)
def test_a_state_of_the_autoencoder_can_follow_one_of_the_gan(mode: str) -> None:
    images = data()
    training = go_on(start(images, mode=mode), 2)
    early = training.state_dict()
    go_on(training, 3)
    late = training.state_dict()
    training.load_state_dict(early)  # as after a loss that was not finite
    again = go_on(training, 3).state_dict()
    for state in (late, again):
        del state["seconds"]
    assert equal(late, again)


def test_the_autoencoder_stays_as_it_was_while_codes_are_learned() -> None:
    training = go_on(start(data()), 4)
    before = copy.deepcopy(training.generator.network.autoencoder.state_dict())
    averaged = copy.deepcopy(training.ema.network.autoencoder.state_dict())
    mapper = copy.deepcopy(training.generator.network.mapper.state_dict())
    go_on(training, 6)
    assert equal(before, training.generator.network.autoencoder.state_dict())
    assert equal(averaged, training.ema.network.autoencoder.state_dict())
    assert equal(before, averaged)
    assert not equal(mapper, training.generator.network.mapper.state_dict())


def test_the_decoder_learns_on_where_it_is_the_generator_and_the_encoder_does_not() -> None:
    training = go_on(start(data(), mode="decoder_init"), 4)
    autoencoder = training.generator.network.autoencoder
    encoder = copy.deepcopy(autoencoder.encoder.state_dict())
    decoder = copy.deepcopy(autoencoder.decoder.state_dict())
    go_on(training, 3)
    assert equal(encoder, autoencoder.encoder.state_dict())
    assert not equal(decoder, autoencoder.decoder.state_dict())


def test_the_discriminator_of_images_starts_from_the_encoder() -> None:
    images = data()
    aegan = make(images.spec, mode="decoder_init", autoencoder_images=4)
    aegan.advance(0, images)
    aegan.advance(4, images)
    encoder = aegan.network.autoencoder.encoder.body.state_dict()
    assert equal(encoder, aegan.discriminator.encoder.body.state_dict())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("images_seen", [0, 4])
def test_phases_touch_only_their_own_parameters(mode: str, images_seen: int) -> None:
    images = data()
    aegan = make(images.spec, mode=mode, autoencoder_images=4, penalty_every=1)
    aegan.advance(images_seen, images)
    batch = Batch(torch.rand(4, 3, 16, 16) * 2 - 1, torch.tensor([0, 1, 0, 1]))
    trainable = [p for p in aegan.parameters() if p.requires_grad]
    for phase in aegan.phases():
        own = {id(p) for group in phase.optimizer.param_groups for p in group["params"]}
        assert own <= {id(p) for p in phase.module.parameters()}
        aegan.zero_grad()
        for parameter in trainable:
            parameter.requires_grad_(id(parameter) in own)
        loss = phase.loss(batch, torch.Generator().manual_seed(0))
        torch.stack(list(loss.terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        touched = {id(p) for p in aegan.parameters() if p.grad is not None}
        assert touched == own


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("images_seen", [0, 4])
def test_losses_use_the_rng_they_are_given_and_no_other(mode: str, images_seen: int) -> None:
    images = data()
    aegan = make(images.spec, mode=mode, autoencoder="vae", autoencoder_images=4)
    aegan.advance(images_seen, images)
    batch = Batch(torch.rand(4, 3, 16, 16) * 2 - 1, torch.tensor([0, 1, 0, 1]))
    before = torch.get_rng_state()
    phase = list(aegan.phases())[-1]
    name = "adversarial" if images_seen else "reconstruction"
    first, again, other = (
        phase.loss(batch, torch.Generator().manual_seed(seed)).terms[name] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("images_seen", [None, 0, 4])
def test_samples_follow_the_rng_and_leave_the_global_one(
    mode: str, images_seen: int | None
) -> None:
    images = data()
    aegan = make(images.spec, mode=mode, autoencoder_images=4).eval()
    if images_seen is not None:
        aegan.advance(images_seen, images)
    labels = torch.tensor([0, 1, 1])
    before = torch.get_rng_state()
    with torch.no_grad():
        first, again, other = (
            aegan.sample(labels, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        none = aegan.sample(labels[:0], rng=torch.Generator())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert none.shape == (0, 3, 16, 16)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", MODES)
def test_classes_change_images_and_logits(mode: str) -> None:
    images = data()
    aegan = make(images.spec, mode=mode, autoencoder_images=4).eval()
    aegan.advance(0, images)
    aegan.advance(4, images)
    with torch.no_grad():
        zero, one = (
            aegan.sample(torch.tensor([label]), rng=torch.Generator().manual_seed(0))
            for label in (0, 1)
        )
        judged = aegan.bank.codes[:1] if mode == "latent" else zero
        logits = aegan.discriminator(judged.repeat_interleave(2, dim=0), torch.tensor([0, 1]))
    assert not torch.equal(zero, one)
    assert logits[0] != logits[1]


def test_a_network_that_was_saved_draws_what_it_drew_at_either_stage() -> None:
    images = data()
    for images_seen in (0, 4):
        aegan = make(images.spec, autoencoder_images=4).eval()
        aegan.advance(0, images)
        aegan.advance(images_seen, images)
        fresh = make(images.spec, autoencoder_images=4).eval()
        fresh.network.load_state_dict(aegan.network.state_dict())
        drawn = [
            each.sample(torch.tensor([0, 1]), rng=torch.Generator().manual_seed(0))
            for each in (aegan, fresh)
        ]
        assert torch.equal(*drawn)


def test_a_reconstruction_gets_closer_to_its_image() -> None:
    images = data(n=40)
    training = start(images, autoencoder_images=10_000, autoencoder_learning_rate=3e-3)
    errors = [next(training).losses["autoencoder/reconstruction"] for _ in range(60)]
    assert np.mean(errors[-10:]) < 0.9 * np.mean(errors[:10])


def test_the_learning_rate_of_the_autoencoder_falls_and_keeps_what_the_loop_lowered() -> None:
    images = data()
    aegan = make(images.spec, autoencoder_images=100, autoencoder_learning_rate=1e-3)
    aegan.advance(0, images)
    optimizers = [phase.optimizer for phase in aegan.phases()]
    optimizers[1].param_groups[0]["lr"] *= 0.5  # as the loop does after a bad step
    for seen in range(0, 100, 4):
        aegan.advance(seen, images)
    done = 1 - 0.95 * 0.96
    assert optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3 * done)
    assert optimizers[1].param_groups[0]["lr"] == pytest.approx(0.5e-3 * done)


def test_pickles_and_copies_leave_the_optimizers_out() -> None:
    images = data()
    training = go_on(start(images), 5)
    assert copy.deepcopy(training.generator)._optimizers == []
    loaded = pickle.loads(pickle.dumps(training.generator))
    assert equal(loaded.state_dict(), training.generator.state_dict())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"autoencoder_run": "runs/a", "autoencoder_images": 5}, "Leave one of them out"),
        ({"mode": "pixel"}, "'latent'"),
        ({"autoencoder": "conv"}, "'vae'"),
        ({"codedim": 3}, "Did you mean 'code_dim'"),
    ],
)
def test_fields_that_cannot_be_honoured_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AEGANConfig.from_fields(fields)


def test_fields_survive_a_run_file() -> None:
    config = AEGANConfig.from_strings({"autoencoder_run": "runs/a", "diffaugment": "flip"})
    assert AEGANConfig.from_fields(config.to_fields()) == config


def test_the_hook_yields_aegan() -> None:
    (plugin,) = ganaug_generators()
    assert (plugin.name, plugin.config) == ("aegan", AEGANConfig)
    assert plugin.build(AEGANConfig(**SMALL), spec()).spec == spec()
