"""DCGAN keeps its promises: counts, shapes, errors, randomness, phases."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ganaug.builtin.dcgan.config import PRESETS, DCGANConfig
from ganaug.builtin.dcgan.network import DCGAN
from ganaug.builtin.dcgan.plugin import build, ganaug_generators
from ganaug.errors import ConfigError, ShapeError
from ganaug.generator import Loss
from ganaug.layers import Down, Up
from ganaug.spec import Batch, ImageSpec, LabelledImages


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small lose more to waiting for other threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL: dict[str, Any] = {"width": 4, "latent_dim": 8}


def spec(side: int = 16, channels: int = 3, classes: int = 1) -> ImageSpec:
    names = tuple(f"class-{index}" for index in range(classes))
    return ImageSpec(channels=channels, height=side, width=side, class_names=names)


def make(image: ImageSpec, **fields: Any) -> DCGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DCGAN(DCGANConfig(**fields), image)


def make_batch(image: ImageSpec, n: int = 4, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(n, *image.shape, generator=rng) * 2 - 1
    return Batch(images, torch.arange(n) % image.num_classes)


def labelled(image: ImageSpec, n: int) -> LabelledImages:
    return LabelledImages(
        pixels=np.zeros((n, *image.shape), dtype=np.uint8),
        labels=np.zeros(n, dtype=np.int64),
        class_names=image.class_names,
        value_range=(0.0, 255.0),
    )


def step(dcgan: DCGAN, batch: Batch, steps: int = 1) -> list[Loss]:
    """A few steps as the training loop makes them; returns each phase's last loss."""
    rng = torch.Generator().manual_seed(0)
    last: list[Loss] = []
    phases = list(dcgan.phases())
    for _ in range(steps):
        last = []
        for phase in phases:
            own = {id(p) for group in phase.optimizer.param_groups for p in group["params"]}
            for parameter in dcgan.parameters():
                parameter.requires_grad_(id(parameter) in own)
            loss = phase.loss(batch, rng)
            phase.optimizer.zero_grad()
            torch.stack(list(loss.terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            phase.optimizer.step()
            last.append(loss)
    return last


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("preset", "channels", "side", "generator", "discriminator"),
    [
        ("radford", 3, 64, 3_576_704, 2_765_568),  # the PyTorch example
        ("keras-faces", 3, 64, 3_979_651, 404_801),  # the Keras example
        ("mammo-patches", 1, 128, 5_395_770, 8_903_880),
    ],
)
def test_presets_have_the_parameters_of_their_sources(
    preset: str, channels: int, side: int, generator: int, discriminator: int
) -> None:
    dcgan = make(spec(side, channels), preset=preset)
    assert parameters(dcgan.network) == generator
    assert parameters(dcgan.discriminator) == discriminator


def test_mammo_patches_at_width_9_is_the_classifier_of_its_study() -> None:
    assert parameters(make(spec(128, 1), preset="mammo-patches", width=9).discriminator) == 357_768


def test_radford_starts_from_small_normal_weights() -> None:
    dcgan = make(spec(64), preset="radford")
    for module in dcgan.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_and_preset_makes_and_judges_images(
    preset: str, side: int, channels: int
) -> None:
    for classes in (1, 3):
        image = spec(side, channels, classes)
        dcgan = make(image, preset=preset, **SMALL).eval()
        labels = torch.tensor([0, classes - 1])
        with torch.no_grad():
            images = dcgan.sample(labels, rng=torch.Generator().manual_seed(0))
            assert images.shape == (2, channels, side, side)
            assert images.dtype == torch.float32
            assert -1 <= images.min() <= images.max() <= 1
            assert dcgan.discriminator(images, labels).shape == (2,)


@pytest.mark.parametrize(
    ("channels", "height", "width", "message"),
    [
        (3, 48, 64, r"power of two.*got 48x64.*size=64"),
        (1, 8, 8, r"at least 16.*got 8x8.*size=16"),
        (3, 48, 48, r"got 48x48.*size=64"),
        (3, 512, 512, r"at most 256.*got 512x512.*size=256"),
        (4, 32, 32, r"1 or 3 channels; got 4"),
    ],
)
def test_a_shape_it_cannot_do_is_one_clear_error(
    channels: int, height: int, width: int, message: str
) -> None:
    image = ImageSpec(channels=channels, height=height, width=width, class_names=("a",))
    with pytest.raises(ShapeError, match=message):
        build(DCGANConfig(), image)


@pytest.mark.parametrize("preset", PRESETS)
def test_samples_follow_the_rng_and_leave_the_global_one(preset: str) -> None:
    dcgan = make(spec(classes=2), preset=preset, **SMALL).eval()
    labels = torch.tensor([0, 1, 1])
    before = torch.get_rng_state()
    with torch.no_grad():
        first, again, other = (
            dcgan.sample(labels, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        none = dcgan.sample(labels[:0], rng=torch.Generator())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert none.shape == (0, 3, 16, 16)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("preset", PRESETS)
def test_classes_change_images_and_logits(preset: str) -> None:
    dcgan = make(spec(classes=2), preset=preset, **SMALL).eval()
    with torch.no_grad():
        zero, one = (
            dcgan.sample(torch.tensor([label]), rng=torch.Generator().manual_seed(0))
            for label in (0, 1)
        )
        logits = dcgan.discriminator(zero.expand(2, -1, -1, -1), torch.tensor([0, 1]))
    assert not torch.equal(zero, one)
    assert logits[0] != logits[1]


RECIPES: list[dict[str, Any]] = [
    *({"preset": preset} for preset in PRESETS),
    *({"loss": loss} for loss in ("bce", "hinge", "relativistic")),
    {"loss": "bce", "r1_gamma": 1.0, "r2_gamma": 0.0},
]


@pytest.mark.parametrize("fields", RECIPES)
@pytest.mark.parametrize("classes", [1, 3])
def test_every_recipe_trains_to_finite_losses(fields: dict[str, Any], classes: int) -> None:
    image = spec(classes=classes)
    dcgan = make(image, **fields, **SMALL)
    before = {name: tensor.clone() for name, tensor in dcgan.named_parameters()}
    torch.manual_seed(0)  # dropout
    discriminator, generator = step(dcgan, make_batch(image, 8), steps=3)
    for loss in (discriminator, generator):
        assert all(torch.isfinite(term) for term in loss.terms.values())
    assert set(discriminator.logs) == {"d_accuracy", "d_real", "d_fake"}
    after = dict(dcgan.named_parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after.values())
    # A constant shift of all logits is nothing to a difference, nor to a hinge inside its margin.
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still <= {"discriminator.head.bias"}


def test_phases_touch_only_their_own_parameters() -> None:
    image = spec(classes=2)
    dcgan = make(image, **SMALL)
    networks = {"discriminator": dcgan.discriminator, "generator": dcgan.network}
    phases = list(dcgan.phases())
    assert [phase.name for phase in phases] == list(networks)
    for phase in phases:
        own = {id(p) for group in phase.optimizer.param_groups for p in group["params"]}
        assert own == {id(p) for p in networks[phase.name].parameters()}
        assert phase.module is networks[phase.name]
        dcgan.zero_grad()
        for parameter in dcgan.parameters():
            parameter.requires_grad_(id(parameter) in own)
        loss = phase.loss(make_batch(image), torch.Generator().manual_seed(0))
        torch.stack(list(loss.terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        touched = {id(p) for p in dcgan.parameters() if p.grad is not None}
        assert touched == own


def test_losses_use_the_rng_they_are_given_and_no_other() -> None:
    image = spec(classes=2)
    dcgan = make(image, **SMALL)
    before = torch.get_rng_state()
    for phase in dcgan.phases():
        first, again, other = (
            phase.loss(make_batch(image), torch.Generator().manual_seed(seed)).terms["adversarial"]
            for seed in (0, 0, 1)
        )
        assert first == again
        assert first != other
    assert torch.equal(torch.get_rng_state(), before)


def test_the_discriminator_learns_to_tell_fakes() -> None:
    image = spec()
    dcgan = make(image, **SMALL, discriminator_learning_rate=2e-3)
    batch = Batch(torch.ones(16, *image.shape), torch.zeros(16, dtype=torch.int64))
    phase = next(iter(dcgan.phases()))
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        loss = phase.loss(batch, rng)
        phase.optimizer.zero_grad()
        torch.stack(list(loss.terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        phase.optimizer.step()
    assert loss.logs["d_accuracy"] == 1.0
    assert loss.logs["d_real"] > loss.logs["d_fake"]
    assert loss.terms["adversarial"] < 0.4


def test_penalties_on_some_steps_weigh_as_much_as_on_every_step() -> None:
    image = spec()
    batch = make_batch(image)
    weighed = {}
    for every in (1, 4):
        dcgan = make(image, **SMALL, penalty_every=every, loss="relativistic", diffaugment=())
        phase = next(iter(dcgan.phases()))
        losses = [
            phase.loss(batch, torch.Generator().manual_seed(seed)).terms for seed in range(200)
        ]
        values = torch.tensor(
            [float(terms.get("r1", torch.zeros(())).detach()) for terms in losses]
        )
        assert (values > 0).float().mean().item() == pytest.approx(1 / every, abs=0.08)
        assert all(("r1" in terms) == ("r2" in terms) for terms in losses)
        weighed[every] = values.max().item()
    assert weighed[4] == pytest.approx(4 * weighed[1])


def test_real_and_fake_images_are_augmented_apart() -> None:
    image = spec()
    dcgan = make(image, **SMALL, diffaugment=("cutout",), r1_gamma=0.0)
    seen: list[torch.Tensor] = []
    dcgan.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    next(iter(dcgan.phases())).loss(make_batch(image, 8), torch.Generator().manual_seed(0))
    holes = (torch.cat(seen) == 0).all(dim=1)
    assert holes.flatten(1).any(dim=1).all()
    assert not torch.equal(holes[:8], holes[8:])


@pytest.mark.parametrize("loss", ["bce", "hinge", "relativistic"])
def test_the_generator_learns_to_be_taken_for_real(loss: str) -> None:
    image = spec(classes=2)
    dcgan = make(image, **SMALL, loss=loss, diffaugment=(), spectral_norm=False)
    dcgan.discriminator.requires_grad_(False)
    batch = make_batch(image, 16)

    def mean_logit() -> float:
        with torch.no_grad():
            fakes = dcgan.sample(batch.labels, rng=torch.Generator().manual_seed(0))
            return dcgan.discriminator(fakes, batch.labels).mean().item()

    before = mean_logit()
    phase = list(dcgan.phases())[1]
    for _ in range(20):
        phase.optimizer.zero_grad()
        loss_ = phase.loss(batch, torch.Generator().manual_seed(0))
        loss_.terms["adversarial"].backward()  # type: ignore[no-untyped-call]
        phase.optimizer.step()
    assert mean_logit() > before + 1e-3


def test_samples_stay_within_range_whatever_the_network_says() -> None:
    dcgan = make(spec(), **SMALL).eval()
    with torch.no_grad():
        for parameter in dcgan.network.parameters():
            parameter.mul_(3)
        images = dcgan.sample(torch.zeros(8, dtype=torch.int64), rng=torch.Generator())
    assert images.min() == -1
    assert images.max() == 1


def test_up_and_down_equal_what_they_fuse() -> None:
    x = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    functional = torch.nn.functional
    up, down = Up(5, 7), Down(5, 7)
    doubled = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(
        up(x), functional.conv2d(doubled, up.weight, up.bias, padding=1), atol=1e-5, rtol=1e-5
    )
    averaged = functional.avg_pool2d(functional.conv2d(x, down.weight, down.bias, padding=1), 2)
    torch.testing.assert_close(down(x), averaged, atol=1e-5, rtol=1e-5)


def test_a_copy_is_whole_and_independent() -> None:
    image = spec(classes=2)
    dcgan = make(image, loss="hinge", **SMALL)
    step(dcgan, make_batch(image))
    twin = copy.deepcopy(dcgan)
    fresh = make(image, loss="hinge", **SMALL)
    fresh.load_state_dict(dcgan.state_dict())
    step(dcgan, make_batch(image))
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        drawn = [
            each.eval().sample(labels, rng=torch.Generator().manual_seed(0))
            for each in (twin, fresh, dcgan)
        ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_pickles_leave_the_optimizers_out() -> None:
    image = spec()
    dcgan = make(image, **SMALL)
    before = len(pickle.dumps(dcgan))
    step(dcgan, make_batch(image))
    assert len(pickle.dumps(dcgan)) < 1.1 * before


def test_mammo_patches_draws_a_label_each_epoch_and_decays_both_rates() -> None:
    image = spec()
    dcgan = make(image, preset="mammo-patches", **SMALL)
    discriminator, generator = (phase.optimizer for phase in dcgan.phases())
    images = labelled(image, 10)
    discriminator.param_groups[0]["lr"] *= 0.5  # as the loop does after a bad step
    torch.manual_seed(0)
    drawn = []
    for seen in range(0, 210, 5):
        assert dcgan.advance(seen, images) is False
        drawn.append(dcgan.real_label.item())
    assert drawn[::2] == drawn[1::2]  # within an epoch the label stays
    assert len(set(drawn)) == 21
    assert 0.7 <= min(drawn) < max(drawn) <= 1.0
    assert discriminator.param_groups[0]["lr"] == pytest.approx(1e-4 * 0.99**2)
    assert generator.param_groups[0]["lr"] == pytest.approx(2e-4 * 0.99**2)


def test_a_resumed_epoch_draws_and_decays_nothing_again() -> None:
    image = spec()
    dcgan = make(image, preset="mammo-patches", **SMALL)
    list(dcgan.phases())
    dcgan.advance(85, labelled(image, 10))
    resumed = make(image, preset="mammo-patches", **SMALL)
    optimizer = next(iter(resumed.phases())).optimizer
    resumed.load_state_dict(dcgan.state_dict())
    resumed.advance(85, labelled(image, 10))
    assert resumed.real_label == dcgan.real_label
    assert optimizer.param_groups[0]["lr"] == 2e-4


def test_a_given_field_wins_over_the_preset() -> None:
    config = DCGANConfig(preset="radford", width=8, betas=(0.1, 0.9))
    assert (config.width, config.betas, config.latent_dim, config.loss) == (
        8,
        (0.1, 0.9),
        100,
        "bce",
    )
    assert DCGANConfig.from_fields(config.to_fields()) == config
    assert DCGANConfig.from_strings({"preset": "radford", "diffaugment": "flip,vflip"}) == (
        DCGANConfig(preset="radford", diffaugment=("flip", "vflip"))
    )
    assert DCGANConfig(batch_size=None).batch_size == 16
    assert make(spec(), preset="radford", **SMALL).batch_size(0) is None
    assert make(spec(), preset="radford", batch_size=8, **SMALL).batch_size(0) == 8


def test_a_loss_brings_what_keeps_it_stable_unless_told() -> None:
    def stabilisers(**fields: Any) -> tuple[bool | None, float | None, float | None]:
        config = DCGANConfig(**fields)
        return config.spectral_norm, config.r1_gamma, config.r2_gamma

    assert stabilisers(loss="bce") == (False, None, 0.0)
    assert stabilisers(loss="hinge") == (True, 0.0, 0.0)
    assert stabilisers(loss="relativistic") == (False, 0.05, 0.05)
    assert stabilisers(loss="hinge", spectral_norm=False, r1_gamma=1.0) == (False, 1.0, 0.0)
    assert stabilisers(preset="radford") == (False, 0.0, 0.0)


@pytest.mark.parametrize(("size", "gamma"), [(16, 0.25), (32, 1.0), (128, 16.0)])
def test_r1_grows_with_the_pixels_unless_given(size: int, gamma: float) -> None:
    assert make(spec(side=size), **SMALL).r1_gamma == gamma
    assert make(spec(side=size), r1_gamma=0.5, **SMALL).r1_gamma == 0.5
    assert make(spec(side=size), preset="radford", **SMALL).r1_gamma == 0.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "hinge", "real_label": [0.7, 1.0]}, "real_label smooths.*'hinge' has none"),
        (
            {"preset": "mammo-patches", "loss": "hinge"},
            "real_label smooths.*Set real_label to 1, 1",
        ),
        ({"preset": "mammo-patches", "real_label": [1.0, 0.7]}, "low to high"),
        ({"preset": "radfort"}, "preset.*'radford'.*got 'radfort'"),
        ({"with": 3}, "Did you mean 'width'"),
        ({"diffaugment": ["colour"]}, "'color'"),
    ],
)
def test_fields_that_cannot_be_honoured_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DCGANConfig.from_fields(fields)
    with pytest.raises(ValidationError):
        DCGANConfig(**fields)


def test_the_hook_yields_dcgan() -> None:
    (plugin,) = ganaug_generators()
    assert (plugin.name, plugin.config) == ("dcgan", DCGANConfig)
    assert plugin.build(DCGANConfig(**SMALL), spec()).spec == spec()
