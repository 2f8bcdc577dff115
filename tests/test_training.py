from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TinyGAN, make_images

from ganaug import Loss, Registry, train
from ganaug.checkpoints import read_tree, write_tree
from ganaug.errors import ConfigError, DataError, RunError, ShapeError, TrainingFailedError


def tiny(images, seed=0, **kwargs):
    torch.manual_seed(seed)
    return TinyGAN(images.spec, **kwargs)


def run(generator, images, total, **kwargs):
    training = train(generator, images, total_images=total, batch_size=8, random_state=0, **kwargs)
    return training, list(training)


def assert_same_weights(one, two):
    for (name, a), (_, b) in zip(one.state_dict().items(), two.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def build_dcgan(images):
    plugin = Registry.load().generators["dcgan"]
    torch.manual_seed(0)
    return plugin.build(plugin.config(width=4, latent_dim=8, batch_size=8), images.spec)


def test_progress_counts_images_steps_and_epochs(blobs, tiny_gan):
    _, records = run(tiny_gan, blobs, 50)
    assert [r.images_seen for r in records] == [8, 16, 24, 32, 40, 48, 56]
    assert [r.step for r in records] == [1, 2, 3, 4, 5, 6, 7]
    assert [r.epoch for r in records] == [0, 0, 1, 1, 1, 2, 2]
    assert set(records[0].losses) == {"discriminator/adversarial", "generator/adversarial"}
    assert set(records[0].logs) == {"d_real"}
    assert records[-1].seconds >= records[0].seconds > 0


def test_same_seed_same_weights_and_another_seed_others(blobs):
    first, _ = run(tiny(blobs), blobs, 48)
    second, _ = run(tiny(blobs), blobs, 48)
    assert_same_weights(first.generator, second.generator)
    other = train(tiny(blobs), blobs, total_images=48, batch_size=8, random_state=1)
    list(other)
    assert not torch.equal(first.generator.network[1].weight, other.generator.network[1].weight)


def test_the_callers_rng_is_untouched(blobs, tiny_gan):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    run(tiny_gan, blobs, 24)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize("precision", ["32-true", "auto"])
@pytest.mark.parametrize("build", [tiny, build_dcgan])
def test_training_2n_equals_training_n_saving_and_n_more_bit_for_bit(tmp_path, build, precision):
    images = make_images(channels=1, size=8 if build is tiny else 16)
    whole, _ = run(build(images), images, 160, precision=precision, snapshot_every_images=40)
    half, _ = run(build(images), images, 80, precision=precision, snapshot_every_images=40)
    write_tree(tmp_path / "state.safetensors", half.state_dict())
    resumed = train(
        build(images),
        images,
        total_images=160,
        batch_size=8,
        random_state=99,
        precision=precision,
        snapshot_every_images=40,
    )
    resumed.load_state_dict(read_tree(tmp_path / "state.safetensors"))
    list(resumed)
    assert_same_weights(whole.generator, resumed.generator)
    assert_same_weights(whole.ema.network, resumed.ema.network)
    assert [s.images_seen for s in resumed.snapshots] == [40, 80, 120, 160]
    for kept, again in zip(whole.snapshots, resumed.snapshots, strict=True):
        assert all(torch.equal(kept.weights[k], again.weights[k]) for k in kept.weights)


def test_a_ctrl_c_during_a_step_is_raised_at_its_end_and_costs_nothing(blobs):
    whole, _ = run(tiny(blobs), blobs, 80)
    generator = tiny(blobs)
    original, calls = generator.generator_loss, []

    def interrupted_loss(batch, rng):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(batch, rng)

    generator.generator_loss = interrupted_loss
    training = train(generator, blobs, total_images=80, batch_size=8, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        list(training)
    assert training.step == 4
    state = training.state_dict()
    resumed = train(tiny(blobs), blobs, total_images=80, batch_size=8, random_state=0)
    resumed.load_state_dict(state)
    list(resumed)
    assert_same_weights(whole.generator, resumed.generator)


def test_leaving_the_loop_and_coming_back_changes_nothing(blobs):
    whole, _ = run(tiny(blobs), blobs, 80)
    parted = train(tiny(blobs), blobs, total_images=80, batch_size=8, random_state=0)
    for progress in parted:
        if progress.step == 3:
            break
    torch.randn(7)
    list(parted)
    assert_same_weights(whole.generator, parted.generator)


def test_the_average_follows_its_halflife_in_images(blobs):
    fast, _ = run(tiny(blobs), blobs, 160, ema_halflife_images=1e-3)
    assert_same_weights(fast.ema.network, fast.generator.network)
    slow, _ = run(tiny(blobs), blobs, 160, ema_halflife_images=1e9)
    assert not torch.equal(slow.ema.network[1].weight, slow.generator.network[1].weight)
    # The ramp: at 8 images the halflife is 0.4 images, so the first step all but counts alone.
    training = train(tiny(blobs), blobs, total_images=8, batch_size=8, random_state=0)
    start = training.ema.network[1].weight.clone()
    next(training)
    weight = 1 - 0.5 ** (8 / (0.05 * 8))
    expected = torch.lerp(start, training.generator.network[1].weight.detach(), weight)
    assert torch.allclose(training.ema.network[1].weight, expected)


def test_snapshots_are_copies_of_old_averages_not_views_of_the_new(blobs, tiny_gan):
    training = train(
        tiny_gan,
        blobs,
        total_images=64,
        batch_size=8,
        random_state=0,
        snapshot_every_images=16,
        keep_snapshots=2,
    )
    seen = {}
    for progress in training:
        seen[progress.images_seen] = training.ema.network[1].weight.clone()
    assert [s.images_seen for s in training.snapshots] == [48, 64]
    assert torch.equal(training.snapshots[0].weights["1.weight"], seen[48])
    assert not torch.equal(seen[48], seen[64])


def test_a_state_dict_is_a_copy(blobs, tiny_gan):
    training = train(tiny_gan, blobs, total_images=80, batch_size=8, random_state=0)
    next(training)
    state = training.state_dict()
    kept = state["generator"]["network.1.weight"].clone()
    next(training)
    assert torch.equal(state["generator"]["network.1.weight"], kept)


def test_each_phase_has_gradients_for_its_own_parameters_only(blobs):
    generator = tiny(blobs)
    original, seen = generator.generator_loss, []

    def loss(batch, rng):
        seen.append([p.requires_grad for p in generator.discriminator.parameters()])
        seen.append([p.requires_grad for p in generator.network.parameters()])
        return original(batch, rng)

    generator.generator_loss = loss
    run(generator, blobs, 8)
    assert not any(seen[0])
    assert all(seen[1])
    assert all(p.requires_grad for p in generator.parameters())


def test_what_a_generator_froze_stays_frozen(blobs):
    generator = tiny(blobs)
    generator.network[1].requires_grad_(False)
    before = generator.network[1].weight.clone()
    run(generator, blobs, 24)
    assert torch.equal(generator.network[1].weight, before)
    assert not generator.network[1].weight.requires_grad
    assert generator.network[4].weight.requires_grad


def test_repeats_draw_a_fresh_batch_each(blobs):
    class Critic(TinyGAN):
        batches: list[torch.Tensor]

        def phases(self):
            first, second = super().phases()
            self.batches = []
            yield replace(first, repeats=3, loss=self.recorded)
            yield second

        def recorded(self, batch, rng):
            self.batches.append(batch.images)
            return self.discriminator_loss(batch, rng)

    torch.manual_seed(0)
    generator = Critic(blobs.spec)
    training = train(generator, blobs, total_images=8, batch_size=8, random_state=0)
    progress = next(training)
    assert progress.images_seen == 8
    assert len(generator.batches) == 3
    assert not torch.equal(generator.batches[0], generator.batches[1])


def test_a_generators_own_batch_size_wins(blobs):
    class OwnBatch(TinyGAN):
        def batch_size(self, images_seen):
            return 4 if images_seen < 8 else 12

    torch.manual_seed(0)
    _, records = run(OwnBatch(blobs.spec), blobs, 30)
    assert [r.images_seen for r in records] == [4, 8, 20, 32]


class Growing(TinyGAN):
    """Moves on to a second stage, with a lower learning rate, after 40 images."""

    stage = 0

    def advance(self, images_seen, images):
        changed = self.stage == 0 and images_seen >= 40
        if changed:
            self.stage, self.learning_rate = 1, 1e-4
        return changed


@pytest.mark.parametrize("cut", [32, 40, 48])
def test_resuming_before_at_and_after_a_change_of_stage_is_exact(blobs, cut):
    def build():
        torch.manual_seed(0)
        return Growing(blobs.spec)

    whole, _ = run(build(), blobs, 80)
    half, _ = run(build(), blobs, cut)
    resumed = train(build(), blobs, total_images=80, batch_size=8, random_state=5)
    resumed.load_state_dict(half.state_dict())
    list(resumed)
    assert resumed.generator.stage == 1
    assert_same_weights(whole.generator, resumed.generator)
    assert_same_weights(whole.ema.network, resumed.ema.network)


class Watchful(TinyGAN):
    """Wants to see the images before it learns, and takes none that are dark."""

    met = 0

    def advance(self, images_seen, images):
        if np.asarray(images.pixels).mean() < 1:
            raise DataError("too dark")
        met, self.met = self.met, 1
        return met == 0


def test_a_training_can_show_its_images_before_the_first_step_and_is_the_same(blobs):
    def build(**kwargs):
        torch.manual_seed(0)
        generator = Watchful(blobs.spec)
        return train(generator, blobs, total_images=40, batch_size=8, random_state=0, **kwargs)

    shown, other = build(), build()
    shown.begin()
    assert (shown.generator.met, shown.step) == (1, 0)
    ema = shown.ema
    assert list(shown) != []
    assert shown.ema is ema  # the stage began then, and not again
    list(other)
    assert_same_weights(shown.generator, other.generator)
    assert_same_weights(shown.ema.network, other.ema.network)
    dark = replace(blobs, pixels=np.zeros_like(blobs.pixels))
    with pytest.raises(DataError, match="too dark"):
        train(Watchful(blobs.spec), dark, total_images=40).begin()


class Drawing(TinyGAN):
    """Draws from torch's own numbers when it first sees the images."""

    drawn = None

    def advance(self, images_seen, images):
        self.drawn = torch.rand(3) if self.drawn is None else self.drawn
        return False


def test_what_is_drawn_at_the_beginning_follows_from_the_seed(blobs):
    def drawn(seed, *, begin):
        training = train(
            Drawing(blobs.spec), blobs, total_images=8, batch_size=8, random_state=seed
        )
        if begin:
            training.begin()
        else:
            next(training)
        return training.generator.drawn

    assert torch.equal(drawn(0, begin=True), drawn(0, begin=False))
    assert not torch.equal(drawn(0, begin=True), drawn(1, begin=True))


def test_records_say_how_many_images_a_pass_has(blobs):
    training = train(TinyGAN(blobs.spec), blobs, total_images=8, batch_size=8, random_state=0)
    assert next(training).images_in_epoch == len(blobs)


def test_a_training_that_has_begun_stays_as_it_is(blobs):
    training, _ = run(Watchful(blobs.spec), blobs, 16)
    training.generator.met = 0
    training.begin()
    assert training.generator.met == 0


class Poisoned(TinyGAN):
    """Its loss is not a number from a given call until the learning rate is low enough."""

    def __init__(self, spec, *, healthy_rate):
        super().__init__(spec)
        self.healthy_rate = healthy_rate
        self.calls = 0

    def phases(self):
        first, second = super().phases()
        self.adam = first.optimizer
        yield first
        yield second

    def discriminator_loss(self, batch, rng):
        self.calls += 1
        loss = super().discriminator_loss(batch, rng)
        if self.calls > 5 and self.adam.param_groups[0]["lr"] > self.healthy_rate:
            return Loss({"adversarial": loss.terms["adversarial"] * float("nan")})
        return loss


def test_a_nan_rolls_back_halves_the_learning_rate_and_goes_on(blobs):
    torch.manual_seed(0)
    generator = Poisoned(blobs.spec, healthy_rate=3e-4)
    training, records = run(generator, blobs, 80)
    assert records[-1].images_seen == 80
    assert records[-1].logs["rollbacks"] == 2
    assert [r.images_seen for r in records[4:7]] == [40, 8, 16]
    assert generator.adam.param_groups[0]["lr"] == pytest.approx(1e-3 / 4)
    kept = training.state_dict()
    assert kept["rollbacks"] == 2
    assert kept["optimizers"]["discriminator"]["param_groups"][0]["lr"] == pytest.approx(1e-3 / 4)
    assert all(torch.isfinite(p).all() for p in training.generator.parameters())


def test_it_gives_up_after_five_tries_with_the_last_good_state(blobs):
    torch.manual_seed(0)
    generator = Poisoned(blobs.spec, healthy_rate=0.0)
    training = train(generator, blobs, total_images=80, batch_size=8, random_state=0)
    with pytest.raises(TrainingFailedError, match="after 5 retries at half the learning rate"):
        list(training)
    assert training.images_seen == 0
    assert all(torch.isfinite(p).all() for p in training.generator.parameters())


def test_a_state_of_another_generator_is_refused(blobs):
    training, _ = run(tiny(blobs), blobs, 8)
    state = training.state_dict()
    images = make_images(channels=3)
    other = train(tiny(images), images, total_images=8, batch_size=8, random_state=0)
    with pytest.raises(RunError, match="belongs to another generator"):
        other.load_state_dict(state)
    with pytest.raises(RunError, match="version 99"):
        training.load_state_dict({**state, "version": 99})


def test_images_that_do_not_fit_the_generator_are_refused(blobs, tiny_gan):
    with pytest.raises(ShapeError, match=r"\(1, 8, 8\).*\(1, 16, 16\)"):
        train(tiny_gan, make_images(size=16), total_images=8)
    with pytest.raises(DataError, match=r"1 class.*2"):
        train(tiny_gan, make_images(classes=2), total_images=8)
    with pytest.raises(ConfigError, match="train takes a built Generator; got 'dcgan'"):
        train("dcgan", blobs, total_images=8)
    with pytest.raises(ConfigError, match="total_images must be at least 1; got 0"):
        train(tiny_gan, blobs, total_images=0)
    with pytest.raises(ConfigError, match="No device is called 'warp'"):
        train(tiny_gan, blobs, total_images=8, device="warp")
    with pytest.raises(ConfigError, match="precision must be one of"):
        train(tiny_gan, blobs, total_images=8, precision="16-mixed")


class Remembering(TinyGAN):
    """Has nothing to train: it learns all that it needs when it first sees the images."""

    seen = 0

    def phases(self):
        return ()

    def advance(self, images_seen, images):
        self.seen += len(images)
        return False


def test_a_generator_without_phases_is_shown_its_images_once(blobs):
    training = train(Remembering(blobs.spec), blobs, total_images=80, batch_size=8)
    before = [p.clone() for p in training.generator.parameters()]
    assert training.ending is None
    [progress] = training
    assert (progress.images_seen, progress.losses) == (8, {})
    assert training.generator.seen == len(blobs)
    assert training.ending == "there is nothing to train"
    assert all(map(torch.equal, before, training.generator.parameters()))


def test_a_training_says_why_it_is_over(blobs, tiny_gan):
    training = train(tiny_gan, blobs, total_images=1_200, batch_size=400)
    next(training)
    assert training.ending is None
    list(training)
    assert training.ending == "1,200 images were seen"


def test_any_map_style_dataset_trains(blobs):
    pairs = [(torch.from_numpy(image), 0) for image in blobs.pixels]
    first, _ = run(tiny(blobs), blobs, 24)
    second, _ = run(tiny(blobs), pairs, 24)
    assert_same_weights(first.generator, second.generator)


def test_modules_and_moments_are_channels_last_also_after_loading(blobs):
    generator = build_dcgan(make_images(size=16, channels=3))
    images = make_images(size=16, channels=3)
    training, _ = run(generator, images, 16)
    again = train(build_dcgan(images), images, total_images=32, batch_size=8, random_state=0)
    again.load_state_dict(training.state_dict())
    next(again)
    moments = 0
    for phase in again._stage.phases:
        for parameter, state in phase.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                assert state[name].stride() == parameter.stride()
                moments += parameter.dim() == 4 and not parameter.is_contiguous()
    assert moments


_TWO_PROCESSES = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from conftest import TinyGAN, make_images
from ganaug import Registry, train
from ganaug.checkpoints import write_tensors
from pathlib import Path

images = make_images(size=16, classes=2, channels=3)
plugin = Registry.load().generators["dcgan"]
torch.manual_seed(int(__import__("os").environ.get("RANK", 0)))  # the first process's must win
config = plugin.config(width=8, latent_dim=8, batch_size=8)
training = train(
    plugin.build(config, images.spec), images, total_images=64, batch_size=8, random_state=0,
    precision="32-true",
)
for progress in training:
    # A decision that every process must reach alike, from numbers that each has its own share of.
    if progress.images_seen >= 64 or progress.seconds > 3600:
        break
    seen = (progress.losses, progress.logs, progress.seconds)
    if torch.distributed.is_initialized():
        everybody = [None, None]
        torch.distributed.all_gather_object(everybody, seen)
        assert everybody[0] == everybody[1], everybody
if training.is_first_process:
    state = {k: v for k, v in training.ema.network.state_dict().items()}
    write_tensors(Path(sys.argv[2]), state, {})
if torch.distributed.is_initialized():
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    __import__("os")._exit(0)  # gloo's threads now and then abort Python's own way out
"""


def test_two_processes_under_torchrun_train_the_same_model_as_one(tmp_path):
    from ganaug.checkpoints import read_tensors

    script = tmp_path / "both.py"
    script.write_text(_TWO_PROCESSES)
    here = str(Path(__file__).parent)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command in (
        [sys.executable, str(script), here, str(one)],
        [*torchrun, str(script), here, str(two)],
    ):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    first, second = read_tensors(one)[0], read_tensors(two)[0]
    largest = max(float((first[k].float() - second[k].float()).abs().max()) for k in first)
    assert 0 < largest < 1e-4, largest
