"""PGGAN keeps its promises: counts, sizes, errors, growth, randomness, phases, resume."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from ganaug import Training, train
from ganaug.builtin.pggan.config import PGGANConfig
from ganaug.builtin.pggan.layers import DownConv, FromLatent, UpConv, fade_reals
from ganaug.builtin.pggan.network import PGGAN, Critic, GeneratorNetwork
from ganaug.builtin.pggan.plugin import build, ganaug_generators
from ganaug.errors import ConfigError, ShapeError
from ganaug.generator import Loss, Phase
from ganaug.spec import Batch, ImageSpec, LabelledImages


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small lose more to waiting for other threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL: dict[str, Any] = {"fmap_base": 128, "fmap_max": 8}
OFFICIAL: dict[str, Any] = {"fmap_base": 8192, "fmap_max": 512, "max_batch_size": 128}


def spec(side: int = 16, channels: int = 3, classes: int = 1) -> ImageSpec:
    names = tuple(f"class-{index}" for index in range(classes))
    return ImageSpec(channels=channels, height=side, width=side, class_names=names)


def make(image: ImageSpec, level: float | None = None, **fields: Any) -> PGGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pggan = PGGAN(PGGANConfig(**{**SMALL, **fields}), image)
    if level is not None:
        pggan.network.level.fill_(level)
    return pggan


def labelled(image: ImageSpec, n: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(
        pixels=rng.integers(0, 256, (n, *image.shape), dtype=np.uint8),
        labels=np.arange(n) % image.num_classes,
        class_names=image.class_names,
        value_range=(0.0, 255.0),
    )


def make_batch(image: ImageSpec, n: int = 4) -> Batch:
    images = torch.rand(n, *image.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(images, torch.arange(n) % image.num_classes)


def draw(pggan: PGGAN, labels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    with torch.no_grad():
        return pggan.sample(labels, rng=torch.Generator().manual_seed(seed))


def total(loss: Loss) -> torch.Tensor:
    return torch.stack(list(loss.terms.values())).sum()


def own(phase: Phase) -> set[int]:
    return {id(p) for group in phase.optimizer.param_groups for p in group["params"]}


def step(pggan: PGGAN, phase: Phase, batch: Batch, seed: int = 0) -> Loss:
    """A step as the training loop makes it."""
    mine = own(phase)
    for parameter in pggan.parameters():
        parameter.requires_grad_(id(parameter) in mine)
    phase.optimizer.zero_grad()
    loss = phase.loss(batch, torch.Generator().manual_seed(seed))
    total(loss).backward()
    phase.optimizer.step()
    return loss


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("stages", "side", "generator", "critic"),
    [(7, 256, 23_044_309, 23_052_353), (9, 1024, 23_079_115, 23_087_249)],
)
def test_official_widths_have_the_parameters_of_the_official_code(
    stages: int, side: int, generator: int, critic: int
) -> None:
    widths = PGGANConfig(**OFFICIAL).widths(stages)
    with torch.device("meta"):
        network = GeneratorNetwork(widths, base=4, channels=3, latent_dim=512, num_classes=1)
        judge = Critic(widths, base=4, channels=3, num_classes=1)
    assert 4 << (stages - 1) == side
    assert parameters(network) == generator
    assert parameters(judge) == critic


def test_a_pggan_of_official_widths_has_them_too() -> None:
    with torch.device("meta"):
        pggan = PGGAN(PGGANConfig(**OFFICIAL, first_side=None), spec(256))
    assert (parameters(pggan.network), parameters(pggan.critic)) == (23_044_309, 23_052_353)


@pytest.mark.parametrize("side", [8, 14, 28, 32, 56, 64, 112, 128, 224, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_makes_and_judges_images_in_every_stage(side: int, channels: int) -> None:
    classes = 3 if channels == 1 else 1
    pggan = make(spec(side, channels, classes)).eval()
    labels = torch.tensor([0, classes - 1, 0])
    for stage, stage_side in enumerate(pggan.sides):
        for level in {max(stage - 0.5, 0.0), float(stage)}:
            pggan.network.level.fill_(level)
            images = draw(pggan, labels)
            assert images.shape == (3, channels, side, side)
            assert images.dtype == torch.float32
            assert -1 <= images.min() <= images.max() <= 1
            small = images[:, :, :: side // stage_side, :: side // stage_side]
            assert torch.equal(interpolate(small, size=side), images)  # enlarged pixels
            with torch.no_grad():
                assert pggan.critic(small, labels, level=level).shape == (3,)


@pytest.mark.parametrize(
    ("channels", "height", "width", "message"),
    [
        (3, 48, 64, r"doubled up to 256 or 224; got 48x64.*size=56 or size=112"),
        (3, 48, 48, r"got 48x48.*size=32 or size=56"),
        (1, 7, 7, r"got 7x7.*size=8\."),
        (3, 512, 512, r"got 512x512.*size=256\."),
        (4, 32, 32, r"1 or 3 channels; got 4"),
    ],
)
def test_a_shape_it_cannot_reach_is_one_clear_error(
    channels: int, height: int, width: int, message: str
) -> None:
    image = ImageSpec(channels=channels, height=height, width=width, class_names=("a",))
    with pytest.raises(ShapeError, match=message):
        build(PGGANConfig(), image)


def test_a_first_side_that_is_not_on_the_way_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="one of 7, 14, 28 for images of 28.*got 8"):
        make(spec(28), first_side=8)


def test_training_starts_at_the_first_side() -> None:
    pggan = make(spec(32), first_side=16, images_per_phase=100)
    images = labelled(spec(32), 8)
    assert [pggan.advance(seen, images) for seen in (0, 99, 150, 250)] == [
        False,
        False,
        True,
        False,
    ]
    assert pggan.network.level == 3
    finetuned = make(spec(32), first_side=32)
    finetuned.load_state_dict(pggan.state_dict())
    finetuned.advance(0, images)
    labels = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(draw(finetuned, labels), draw(pggan, labels))


def test_up_and_down_equal_what_they_fuse() -> None:
    x = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    up, down = UpConv(5, 7), DownConv(5, 7)
    gain = (2 / 45) ** 0.5
    torch.testing.assert_close(
        up(x), conv2d(interpolate(x, scale_factor=2.0), up.weight * gain, up.bias, padding=1)
    )
    torch.testing.assert_close(
        down(x), avg_pool2d(conv2d(x, down.weight * gain, down.bias, padding=1), 2)
    )


def test_weights_start_standard_normal_and_signals_keep_their_size() -> None:
    torch.manual_seed(0)
    for layer, x in (
        (UpConv(128, 64), torch.randn(8, 128, 8, 8)),
        (DownConv(64, 64), torch.randn(8, 64, 16, 16)),
    ):
        assert layer.weight.std().item() == pytest.approx(1, rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.02)
        assert 0.5 < layer(x).std().item() < 2
    first = FromLatent(128, 16, 4)
    assert first(torch.randn(64, 128)).std().item() == pytest.approx(2**0.5 / 4, rel=0.05)


def test_a_faded_generator_is_between_both_stages() -> None:
    pggan = make(spec(16)).eval()
    latents = torch.randn(2, pggan.latent_dim, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, dtype=torch.int64)

    def at(level: float) -> torch.Tensor:
        pggan.network.level.fill_(level)
        with torch.no_grad():
            images: torch.Tensor = pggan.network(latents, labels)
        return images

    coarse, mixed, fine = at(1.0), at(1.25), at(2.0)
    assert (coarse.shape[2], mixed.shape[2], fine.shape[2]) == (8, 16, 16)
    torch.testing.assert_close(mixed, torch.lerp(interpolate(coarse, scale_factor=2.0), fine, 0.25))


def test_a_critic_that_begins_to_fade_judges_as_the_stage_before() -> None:
    pggan = make(spec(16))
    images = make_batch(spec(16), 8)
    with torch.no_grad():
        before = pggan.critic(avg_pool2d(images.images, 2), images.labels, level=1.0)
        fading = pggan.critic(images.images, images.labels, level=1 + 1e-6)
        after = pggan.critic(images.images, images.labels, level=2.0)
    torch.testing.assert_close(before, fading, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, after, atol=1e-3)


def test_real_images_fade_from_the_coarser_ones() -> None:
    images = make_batch(spec(32), 2).images
    fine, coarse = avg_pool2d(images, 2), interpolate(avg_pool2d(images, 4), scale_factor=2.0)
    torch.testing.assert_close(fade_reals(images, 16, 0.25), 0.75 * coarse + 0.25 * fine)
    assert torch.equal(fade_reals(images, 32, 1.0), images)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("classes", [1, 3])
def test_phases_touch_exactly_the_parameters_they_optimise(level: float, classes: int) -> None:
    image = spec(classes=classes)
    pggan = make(image, level)
    phases = list(pggan.phases())
    assert [(phase.name, phase.module) for phase in phases] == [
        ("critic", pggan.critic),
        ("generator", pggan.network),
    ]
    for phase in phases:
        mine = own(phase)
        pggan.zero_grad()
        for parameter in pggan.parameters():
            parameter.requires_grad_(id(parameter) in mine)
        loss = phase.loss(make_batch(image), torch.Generator().manual_seed(0))
        total(loss).backward()
        touched = {id(p) for p in pggan.parameters() if p.grad is not None}
        assert touched <= mine
        stage = -(-level // 1)
        faded = (
            []
            if level != stage or stage == 0
            else [
                *pggan.network.to_pixels[int(stage) - 1].parameters(),
                *pggan.critic.from_pixels[int(stage) - 1].parameters(),
            ]
        )
        assert mine - touched <= {id(p) for p in faded}
        assert all(torch.isfinite(term) for term in loss.terms.values())


@pytest.mark.parametrize("first_side", [4, 8, 16])
def test_the_last_stage_is_wholly_there_when_it_says_so(first_side: int) -> None:
    images = labelled(spec(), 12)
    generator = make(spec(), images_per_phase=10, first_side=first_side)
    begins = generator.last_stage_at(len(images))
    assert begins == {4: 40, 8: 20, 16: 0}[first_side]
    for images_seen in (begins - 1, begins):
        if images_seen >= 0:
            generator.advance(images_seen, images)
            assert (float(generator.network.level) == 2.0) is (images_seen == begins)


def test_the_last_stage_optimises_everything_but_what_has_faded_out() -> None:
    pggan = make(spec(classes=2), 2.0)
    mine = set().union(*(own(phase) for phase in pggan.phases()))
    left = {name for name, p in pggan.named_parameters() if id(p) not in mine}
    assert left == {
        f"{layer}.0.{kind}"
        for layer in ("network.to_pixels", "critic.from_pixels")
        for kind in ("weight", "bias")
    }


def test_losses_use_the_rng_they_are_given_and_no_other() -> None:
    image = spec(classes=2)
    pggan = make(image, 1.5, diffaugment=("translation", "cutout"))
    before = torch.get_rng_state()
    for phase in pggan.phases():
        first, again, other = (
            total(phase.loss(make_batch(image), torch.Generator().manual_seed(seed)))
            for seed in (0, 0, 1)
        )
        assert first == again
        assert first != other
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_follow_the_rng_and_leave_the_global_one() -> None:
    pggan = make(spec(classes=2), 1.5).eval()
    labels = torch.tensor([0, 1, 1])
    before = torch.get_rng_state()
    first, again, other = (draw(pggan, labels, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert draw(pggan, labels[:0]).shape == (0, 3, 16, 16)
    assert torch.equal(torch.get_rng_state(), before)


def test_classes_change_images_and_scores() -> None:
    pggan = make(spec(classes=2), 2.0).eval()
    zero, one = (draw(pggan, torch.tensor([label])) for label in (0, 1))
    with torch.no_grad():
        scores = pggan.critic(zero.expand(2, -1, -1, -1), torch.tensor([0, 1]), level=2.0)
    assert not torch.equal(zero, one)
    assert scores[0] != scores[1]


def test_the_critic_learns_to_tell_fakes_and_the_generator_to_be_taken_for_real() -> None:
    image = spec(8)
    pggan = make(image, 1.0)
    batch = Batch(torch.ones(8, *image.shape), torch.zeros(8, dtype=torch.int64))
    critic, generator = pggan.phases()
    for seed in range(40):
        loss = step(pggan, critic, batch, seed)
    assert loss.logs["d_real"] > loss.logs["d_fake"] + 0.5

    def mean_score() -> float:
        with torch.no_grad():
            return float(pggan.critic(draw(pggan, batch.labels), batch.labels, level=1.0).mean())

    before = mean_score()
    for seed in range(40):
        step(pggan, generator, batch, seed)
    assert mean_score() > before + 0.1


def test_the_critic_judges_faded_reals_and_fakes_each_among_their_own() -> None:
    image = spec(16)
    batch = make_batch(image, 6)  # groups of three, where twelve would make groups of four
    seen: list[torch.Tensor] = []
    terms = {}
    for weight in (10.0, 20.0):
        pggan = make(image, 1.25, lambda_gp=weight)
        pggan.critic.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        terms[weight] = next(iter(pggan.phases())).loss(batch, torch.Generator()).terms
    reals, fakes = seen[0].chunk(2)
    coarse = interpolate(avg_pool2d(batch.images, 2), scale_factor=2.0)
    torch.testing.assert_close(reals, 0.75 * coarse + 0.25 * batch.images)
    with torch.no_grad():
        real, fake = (pggan.critic(half, batch.labels, level=1.25) for half in (reals, fakes))
    torch.testing.assert_close(terms[10.0]["wasserstein"].detach(), fake.mean() - real.mean())
    torch.testing.assert_close(terms[10.0]["drift"].detach(), 0.001 * real.square().mean())
    between = ((seen[1] - reals) / (fakes - reals)).flatten(1)
    share = between.median(dim=1).values[:, None]
    torch.testing.assert_close(between, share.expand_as(between), atol=1e-3, rtol=1e-3)
    assert terms[20.0]["gradient_penalty"] == 2 * terms[10.0]["gradient_penalty"] > 0


def test_logs_say_where_the_training_is() -> None:
    pggan = make(spec(32), 1.25)
    loss = next(iter(pggan.phases())).loss(make_batch(spec(32)), torch.Generator())
    assert set(loss.terms) == {"wasserstein", "gradient_penalty", "drift"}
    assert (loss.logs["resolution"], loss.logs["alpha"]) == (16.0, 0.25)


@pytest.mark.parametrize("num_images", [2, 3, 5, 200])
def test_few_images_make_small_batches(num_images: int) -> None:
    pggan = make(spec(8))
    images = labelled(spec(8), num_images)
    pggan.advance(0, images)
    wanted = {2: 2, 3: 3, 5: 4, 200: 16}[num_images]
    assert pggan.batch_size(0) == wanted
    training = train(pggan, images, total_images=2 * wanted, random_state=0)
    assert [progress.images_seen for progress in training] == [wanted, 2 * wanted]


def test_official_batches_shrink_as_images_grow() -> None:
    pggan = make(spec(256), max_batch_size=128)
    pggan.advance(0, labelled(spec(8), 1_000))
    sizes = {}
    for stage, side in enumerate(pggan.sides):
        pggan.network.level.fill_(stage)
        sizes[side] = pggan.batch_size(0)
    assert sizes == {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8}


GROWING: dict[str, Any] = {"images_per_phase": 40, "max_batch_size": 8}


def trained(
    images_seen: int, precision: str, state: dict[str, Any] | None = None, seed: int = 0
) -> Training:
    images = labelled(spec(16, 1, 2), 8)
    pggan = make(images.spec, **GROWING)
    training = train(
        pggan, images, total_images=images_seen, random_state=seed, precision=precision
    )
    if state is not None:
        training.load_state_dict(state)
    list(training)
    return training


@pytest.fixture(scope="module", params=["32-true", "auto"])
def whole(request: pytest.FixtureRequest) -> tuple[str, Training]:
    return request.param, trained(184, request.param)


# A phase is 40 images: 4 px to 40, 8 px fades in to 80 and stays to 120, 16 px fades in to 160.
@pytest.mark.parametrize("cut", [24, 40, 64, 128, 136, 168])
def test_resuming_before_in_and_after_a_fade_in_is_bit_exact(
    cut: int, whole: tuple[str, Training]
) -> None:
    precision, straight = whole
    half = trained(cut, precision)
    assert (float(half.ema.network.state_dict()["level"]) % 1 > 0) == (cut in (64, 136))
    resumed = trained(184, precision, half.state_dict(), seed=9)
    assert resumed.generator.network.level == 2
    for one, other in (
        (straight.generator, resumed.generator),
        (straight.ema.network, resumed.ema.network),
    ):
        weights, again = one.state_dict(), other.state_dict()
        assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_roll_back_across_a_change_of_stage_goes_back_a_stage() -> None:
    images = labelled(spec(16, 1, 2), 8)
    training = train(make(images.spec, **GROWING), images, total_images=184, random_state=0)
    early = training.state_dict()
    list(training)
    training.load_state_dict(early)
    assert training.generator.network.level == 0
    list(training)
    again = trained(184, training.precision)
    weights = training.generator.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in again.generator.state_dict().items())


def test_the_average_restarts_from_the_network_as_a_stage_begins() -> None:
    image = spec(8, 1)
    pggan = make(image, images_per_phase=32, max_batch_size=8)
    training = train(pggan, labelled(image, 8), total_images=200, random_state=0)
    before = training.ema
    while training.ema is before:
        network = copy.deepcopy(pggan.network.state_dict())
        next(training)
    assert training.images_seen == 48  # the first step whose alpha is above zero
    assert pggan.network.level == 0.25
    averaged = training.ema.network.state_dict()
    moved = 1 - 0.5 ** (8 / (0.05 * 48))  # by one step, from the network as that step found it
    for name, after in pggan.network.state_dict().items():
        wanted = after if name == "level" else torch.lerp(network[name], after, moved)
        torch.testing.assert_close(averaged[name], wanted)


def test_weights_of_any_moment_go_into_a_new_generator() -> None:
    image = spec(16, classes=2)
    pggan = make(image, 1.5)
    fresh = make(image)
    fresh.network.load_state_dict(pggan.network.state_dict())
    labels = torch.tensor([0, 1])
    assert torch.equal(draw(fresh, labels), draw(pggan, labels))
    twin = pickle.loads(pickle.dumps(pggan))
    assert torch.equal(draw(twin, labels), draw(pggan, labels))


def test_settings_stand_for_what_they_say() -> None:
    config = PGGANConfig()
    assert config.widths(7) == [128, 128, 128, 64, 32, 16, 8]
    assert PGGANConfig(**OFFICIAL).widths(9) == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert (config.latent_dim, PGGANConfig(fmap_max=64).latent_dim) == (128, 64)
    assert PGGANConfig(latent_dim=7).latent_dim == 7
    assert PGGANConfig.from_fields(config.to_fields()) == config
    with pytest.raises(ValidationError):
        PGGANConfig(n_critic=0)
    with pytest.raises(ConfigError, match="Did you mean 'fmap_base'"):
        PGGANConfig.from_fields({"fmap_bas": 128})
    assert next(iter(make(spec(8), n_critic=3).phases())).repeats == 3


def test_the_hook_yields_pggan() -> None:
    (plugin,) = ganaug_generators()
    assert (plugin.name, plugin.config) == ("pggan", PGGANConfig)
    assert plugin.build(PGGANConfig(**SMALL), spec()).spec == spec()
