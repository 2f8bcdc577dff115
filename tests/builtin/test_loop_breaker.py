from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ganaug import History, Progress
from ganaug.builtin.policies.loop_breaker import LoopBreaker, LoopBreakerConfig
from ganaug.errors import ConfigError

BATCH = 16
HEALTHY = {"discriminator/adversarial": 1.3, "generator/adversarial": 0.95}


def breaker(**fields):
    return LoopBreaker(LoopBreakerConfig.from_fields(fields))


def run(*stages, batch=BATCH, epoch=1000):
    """A training of stages (steps, losses, logs); losses and logs are fixed, or of the step."""
    history, step = History(), 0
    for steps, losses, logs in stages:
        for own in range(1, steps + 1):
            step += 1
            history.append(
                Progress(
                    images_seen=batch * step,
                    step=step,
                    epoch=batch * step // epoch,
                    images_in_epoch=epoch,
                    losses=losses(own) if callable(losses) else losses,
                    logs=logs(own) if callable(logs) else logs,
                )
            )
    return history


def first_stop(policy, history):
    """The images seen when the policy first has a reason, and the reason; None without one."""
    so_far = History()
    for progress in history:
        so_far.append(progress)
        if reason := policy.reason_to_stop(so_far):
            return progress.images_seen, reason
    return None


def noisy(rng, *, drift=0.0, sd=0.2):
    """Losses as real GANs have them; D's mean falls by `drift` of itself in 10,000 images."""

    def losses(step):
        moved = 1.3 * (1 - drift) ** (step * BATCH / 10_000)
        return {
            "discriminator/adversarial": moved + rng.normal(0, sd),
            "generator/adversarial": 0.95 + rng.normal(0, sd),
        }

    return losses


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_gan_is_left_alone(seed):
    rng = np.random.default_rng(seed)
    history = run((4000, noisy(rng, drift=0.03), {"d_accuracy": 0.7}))
    assert history[-1].images_seen == 64_000
    assert first_stop(breaker(), history) is None


def test_losses_that_stay_where_they_are_are_a_plateau_after_three_spans():
    history = run((2500, noisy(np.random.default_rng(0), sd=0.05), {"d_accuracy": 0.7}))
    images, reason = first_stop(breaker(), history)
    assert images == 30_000
    assert reason == (
        "the mean losses are flat, the generator's at 0.95 and the discriminator's at 1.3, "
        "within 1 % over the last 30,000 images"
    )


@pytest.mark.parametrize("moving", ["generator/adversarial", "discriminator/adversarial"])
def test_one_loss_that_moves_is_no_plateau(moving):
    def losses(step):
        return {**HEALTHY, moving: 1.0 + step / 1000}

    assert first_stop(breaker(images=1000), run((500, losses, {}))) is None


def test_a_tolerance_of_nothing_looks_for_no_plateau():
    assert first_stop(breaker(images=1000, tolerance=0.0), run((500, HEALTHY, {}))) is None
    assert first_stop(breaker(images=1000), run((500, HEALTHY, {})))


def test_a_discriminator_that_is_always_right_has_won():
    history = run((700, HEALTHY, {"d_accuracy": 1.0}))
    images, reason = first_stop(breaker(), history)
    assert images == 10_000
    assert reason == (
        "the discriminator has won: its mean accuracy is 1 over the last 10,000 images"
    )
    nearly = run((700, HEALTHY, lambda step: {"d_accuracy": 0.99 if step % 4 else 1.0}))
    assert first_stop(breaker(), nearly) is None
    assert first_stop(breaker(accuracy=0.99), nearly)


def test_a_discriminator_without_loss_has_won():
    losses = {"discriminator/adversarial": 0.004, "discriminator/r1": 0.002, "generator/x": 9.0}
    images, reason = first_stop(breaker(), run((700, losses, {})))
    assert images == 10_000
    assert reason == "the discriminator has won: its mean loss is 0.006 over the last 10,000 images"
    penalised = {**losses, "discriminator/r1": 0.02}
    assert first_stop(breaker(), run((700, penalised, {}))) is None
    critic = {"discriminator/wasserstein": -5.0, "generator/wasserstein": 2.0}
    assert first_stop(breaker(), run((700, critic, {}))) is None


@pytest.mark.parametrize("where", ["losses", "logs"])
def test_a_value_that_is_not_finite_stops_at_once(where):
    records = run(
        (1, {"generator/x": math.inf}, {}) if where == "losses" else (1, {}, {"a": math.nan})
    )
    expected = "generator/x is inf" if where == "losses" else "a is nan"
    assert breaker().reason_to_stop(records) == expected


def test_a_generator_that_reports_neither_is_left_alone():
    other = {"vae/reconstruction": 0.0, "critic/wasserstein": 0.0}
    assert first_stop(breaker(images=320, max_epochs=1), run((200, other, {}))) is None
    alone = {"critic/wasserstein": -3.0, "generator/wasserstein": 0.5}
    assert first_stop(breaker(images=320), run((200, alone, {}))) is None


@pytest.mark.parametrize("wasserstein", [-5.0, -1e-4, 0.0])
def test_a_wasserstein_critic_has_not_won_whatever_its_loss_is(wasserstein):
    """Its loss estimates a distance: near zero the generator is good, and flat may be a stage."""
    losses = {
        "critic/wasserstein": wasserstein,
        "critic/gradient_penalty": 0.0,
        "critic/drift": 0.0,
        "generator/adversarial": 1.0,
    }
    assert first_stop(breaker(images=320), run((200, losses, {}))) is None
    images, reason = first_stop(breaker(max_epochs=2), run((200, losses, {})))
    assert (images, reason) == (2000, "2 of 2 epochs are over")


AUTOENCODER = {"autoencoder/reconstruction": 0.1, "critic/adversarial": 0.0}


def test_an_autoencoder_that_is_trained_before_is_neither_broken_off_nor_counted():
    won = (100, HEALTHY, {"d_accuracy": 1.0})
    before = (100, AUTOENCODER, {"d_accuracy": 1.0})
    policy = breaker(images=800)
    assert first_stop(policy, run(before)) is None
    assert first_stop(policy, run(before, won))[0] == 1600 + 800
    flat = breaker(images=320, accuracy=1.0)
    assert first_stop(flat, run(before, (100, HEALTHY, {})))[0] == 1600 + 3 * 320


def test_results_of_a_stage_that_is_over_do_not_count():
    history = run((100, HEALTHY, {"d_accuracy": 1.0}), (1, AUTOENCODER, {}))
    policy = breaker(images=160, max_epochs=1)
    assert policy.reason_to_stop(History(history[:-1]))
    assert policy.reason_to_stop(history) is None


def test_epochs_are_passes_over_the_images_since_the_first_results():
    policy = breaker(max_epochs=3)
    assert first_stop(policy, run((400, HEALTHY, {}))) == (3008, "3 of 3 epochs are over")
    late = run((125, AUTOENCODER, {}), (400, HEALTHY, {}))
    assert first_stop(policy, late) == (5008, "3 of 3 epochs are over")


def test_epochs_are_whole_ones_when_the_results_begin_in_the_middle_of_a_pass():
    late = run((186, AUTOENCODER, {}), (200, HEALTHY, {}))
    assert late[186].images_seen == 2992  # eight images more, and another pass begins
    policy = breaker(max_epochs=1)
    assert first_stop(policy, late) == (2976 + 1008, "1 of 1 epochs are over")


def test_records_that_do_not_say_how_long_a_pass_is_count_by_whole_passes():
    history = run((125, AUTOENCODER, {}), (400, HEALTHY, {}))
    silent = History(replace(progress, images_in_epoch=None) for progress in history)
    policy = breaker(max_epochs=3)
    assert first_stop(policy, silent) == (5008, "3 of 3 epochs are over")


def test_an_end_batch_ends_an_epoch_early():
    policy = breaker(max_epochs=3, end_batch=20)
    assert first_stop(policy, run((400, HEALTHY, {}))) == (
        60 * BATCH,
        "3 epochs of 20 batches are over",
    )
    late = run((125, AUTOENCODER, {}), (400, HEALTHY, {}))
    assert first_stop(policy, late)[0] == (125 + 60) * BATCH
    longer = breaker(max_epochs=3, end_batch=500)
    assert first_stop(longer, run((400, HEALTHY, {}))) == (3008, "3 of 3 epochs are over")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"end_batch": 5}, "say how many with max_epochs"),
        ({"images": 0}, "images"),
        ({"tolerance": 1.0}, "tolerance"),
        ({"accuracy": 0.5}, "accuracy"),
        ({"loss": -1.0}, "loss"),
        ({"max_epochs": 0}, "max_epochs"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        breaker(**fields)


def test_it_keeps_nothing_between_calls():
    policy = breaker(images=800)
    won, early = run((50, HEALTHY, {"d_accuracy": 1.0})), run((10, HEALTHY, {"d_accuracy": 1.0}))
    before = list(won)
    assert policy.reason_to_stop(won) == policy.reason_to_stop(won) is not None
    assert policy.reason_to_stop(early) is None
    assert policy.reason_to_stop(History()) is None
    assert list(won) == before


class Counted(dict):
    """Losses that count how often they are looked at."""

    reads = 0

    def items(self):
        Counted.reads += 1
        return super().items()

    def __iter__(self):
        Counted.reads += 1
        return super().__iter__()


def test_a_long_history_is_looked_at_for_its_last_spans_only():
    losses = Counted(HEALTHY)
    history = run((20_000, losses, {"d_accuracy": 0.7}))
    Counted.reads = 0
    assert breaker(images=1600).reason_to_stop(history)
    assert 0 < Counted.reads < 1000
