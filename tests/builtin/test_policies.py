from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ganaug import History, Progress, Registry
from ganaug.errors import ConfigError

BATCH = 100


@pytest.fixture
def policies():
    return Registry(["ganaug.builtin.policies.plugin"]).stopping_policies


@pytest.fixture
def build(policies):
    def build(name, **fields):
        return policies[name].build(policies[name].config.from_fields(fields))

    return build


def history(steps, *, losses=None, logs=None, metrics=None, seconds=1.0):
    """So many steps of BATCH images; other columns are functions of the step, or fixed."""

    def at(values, step):
        return values(step) if callable(values) else values or {}

    return History(
        Progress(
            images_seen=BATCH * step,
            step=step,
            epoch=0,
            losses=at(losses, step),
            logs=at(logs, step),
            metrics=at(metrics, step),
            seconds=seconds * step,
        )
        for step in range(1, steps + 1)
    )


HEALTHY = {"discriminator/hinge": 0.9, "generator/hinge": 0.1}


BUDGETS = {"max-images", "max-batches", "max-epochs", "max-seconds"}


def test_there_are_budgets_and_policies_that_look_at_the_training(policies):
    assert set(policies) == BUDGETS | {"divergence", "loop-breaker", "plateau"}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("max-images", {"images": 1}),
        ("max-batches", {"batches": 1}),
        ("max-epochs", {"epochs": 1}),
        ("max-seconds", {"seconds": 1}),
        ("divergence", {}),
        ("loop-breaker", {"max_epochs": 1}),
        ("plateau", {}),
    ],
)
def test_an_empty_history_is_no_reason(build, name, fields):
    assert build(name, **fields).reason_to_stop(History()) is None


def test_max_images_stops_at_so_many_images(build):
    policy = build("max-images", images=1000)
    assert policy.reason_to_stop(history(9)) is None
    assert policy.reason_to_stop(history(10)) == "1,000 images were seen, of 1,000"


def test_max_batches_stops_after_so_many_steps(build):
    policy = build("max-batches", batches=1000)
    assert policy.reason_to_stop(history(999)) is None
    assert policy.reason_to_stop(history(1000)) == "1,000 batches were seen, of 1,000"


def test_max_epochs_stops_after_so_many_passes_over_the_images(build):
    policy, records = build("max-epochs", epochs=2), history(3)
    passes = [
        replace(record, epoch=epoch) for record, epoch in zip(records, (0, 1, 2), strict=True)
    ]
    assert policy.reason_to_stop(History(passes[:2])) is None
    assert policy.reason_to_stop(History(passes)) == "2 of 2 epochs are over"


def test_max_seconds_stops_after_so_many_seconds(build):
    policy = build("max-seconds", seconds=2.5)
    assert policy.reason_to_stop(history(4, seconds=0.5)) is None
    assert policy.reason_to_stop(history(5, seconds=0.5)) == "2.5 seconds were spent, of 2.5"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("max-images", {}),
        ("max-batches", {"batches": 0}),
        ("max-epochs", {"epochs": 0.5}),
        ("max-images", {"images": 0}),
        ("max-images", {"images": 1.5}),
        ("max-seconds", {"seconds": 0}),
        ("max-seconds", {"seconds": math.inf}),
        ("divergence", {"images": 0}),
        ("divergence", {"accuracy": 1.1}),
        ("divergence", {"loss": -1}),
        ("plateau", {"patience": 0}),
        ("plateau", {"min_delta": -0.1}),
        ("plateau", {"mode": "best"}),
    ],
)
def test_a_budget_that_cannot_be_is_refused(build, name, fields):
    with pytest.raises(ConfigError):
        build(name, **fields)


def test_a_training_that_goes_well_does_not_diverge(build):
    healthy = history(50, losses=HEALTHY, logs={"d_accuracy": 0.8})
    assert build("divergence", images=1000).reason_to_stop(healthy) is None


def test_divergence_looks_at_the_mean_accuracy_of_the_last_images(build):
    policy = build("divergence", images=1000)
    won = history(10, losses=HEALTHY, logs={"d_accuracy": 0.996})
    assert policy.reason_to_stop(won) == (
        "the discriminator has won: its mean accuracy is 0.996 over the last 1,000 images"
    )
    one_lapse = history(
        10, losses=HEALTHY, logs=lambda step: {"d_accuracy": 0.9 if step == 1 else 0.999}
    )
    assert policy.reason_to_stop(one_lapse) is None
    forgotten = history(
        11, losses=HEALTHY, logs=lambda step: {"d_accuracy": 0.9 if step == 1 else 0.999}
    )
    assert policy.reason_to_stop(forgotten)


def test_divergence_is_silent_until_there_are_enough_images(build):
    won = history(9, losses={"discriminator/bce": 0.0}, logs={"d_accuracy": 1.0})
    assert build("divergence", images=1000).reason_to_stop(won) is None
    assert build("divergence", images=900).reason_to_stop(won)


def test_divergence_looks_at_the_mean_loss_of_the_discriminator(build):
    policy = build("divergence", images=1000)
    won = history(10, losses={"discriminator/bce": 4e-4, "generator/bce": 9.0})
    assert policy.reason_to_stop(won) == (
        "the discriminator has won: its mean loss is 0.0004 over the last 1,000 images"
    )
    assert policy.reason_to_stop(history(10, losses={"generator/bce": 0.0})) is None


def test_divergence_adds_up_the_terms_of_a_loss(build):
    losses = {"discriminator/bce": 8e-4, "discriminator/r1": 8e-4}
    assert build("divergence", images=1000).reason_to_stop(history(10, losses=losses)) is None


def test_divergence_leaves_critics_alone_whose_loss_is_below_zero(build):
    losses = {"discriminator/wasserstein": -5.0}
    assert build("divergence", images=1000).reason_to_stop(history(10, losses=losses)) is None
    good = {"critic/wasserstein": 0.0, "critic/drift": 0.0}  # the generator has caught up with it
    assert build("divergence", images=1000).reason_to_stop(history(10, losses=good)) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["losses", "logs"])
def test_divergence_stops_at_once_when_a_value_is_not_finite(build, value, where):
    records = history(1, **{where: {"generator/bce": value}})
    assert build("divergence").reason_to_stop(records) == f"generator/bce is {value}"


def test_the_limits_can_be_chosen(build):
    records = history(10, losses={"discriminator/bce": 0.05}, logs={"d_accuracy": 0.97})
    assert build("divergence", images=1000).reason_to_stop(records) is None
    assert "accuracy" in build("divergence", images=1000, accuracy=0.97).reason_to_stop(records)
    assert "loss" in build("divergence", images=1000, loss=0.05).reason_to_stop(records)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("max-images", {"images": 500}),
        ("max-batches", {"batches": 5}),
        ("max-seconds", {"seconds": 5}),
        ("divergence", {}),
        ("plateau", {"patience": 1000}),
    ],
)
def test_policies_are_pure(build, name, fields):
    policy = build(name, **fields)
    over, early = history(200, logs={"d_accuracy": 1.0}, metrics={"kid": 1.0}), history(2)
    before = list(over)
    assert policy.reason_to_stop(over) == policy.reason_to_stop(over) is not None
    assert policy.reason_to_stop(early) is None
    assert list(over) == before


def scored(*scores, name="kid", every=2):
    """An evaluation every so many steps; None for one that gave no such score."""

    def at(step):
        number, rest = divmod(step, every)
        score = None if rest else scores[number - 1]
        return {} if score is None else {name: score}

    return history(every * len(scores), metrics=at)


def test_plateau_stops_when_the_score_has_not_improved_for_its_patience(build):
    policy = build("plateau", patience=400)
    assert policy.reason_to_stop(scored(5.0, 3.0, 4.0)) is None
    assert policy.reason_to_stop(scored(5.0, 3.0, 4.0, 3.5)) == (
        "kid has not improved for 400 images"
    )
    assert policy.reason_to_stop(scored(5.0, 3.0, 4.0, 2.9)) is None


def test_plateau_begins_to_count_when_a_generator_is_in_its_last_stage(build):
    """The first four scores are of stages before, the best of all among them."""
    policy, scores = build("plateau", patience=400), (5.0, 1.0, 4.0, 4.0, 9.0, 9.0, 9.0)
    for known, stops in ((4, False), (5, False), (6, False), (7, True)):
        records = scored(*scores[:known])
        staged = [replace(record, logs={"growing": float(record.step <= 8)}) for record in records]
        assert bool(policy.reason_to_stop(History(staged))) is stops
        assert known < 4 or policy.reason_to_stop(records)


def test_plateau_goes_up_or_down_as_it_is_told(build):
    rising = scored(1.0, 2.0, 3.0, 4.0, name="recall")
    assert (
        build("plateau", metric="recall", mode="max", patience=200).reason_to_stop(rising) is None
    )
    assert build("plateau", metric="recall", mode="min", patience=200).reason_to_stop(rising)


def test_plateau_asks_for_an_improvement_of_min_delta_over_the_last_one(build):
    creeping = scored(5.0, 4.9, 4.8, 4.7)
    assert build("plateau", patience=600, min_delta=0.5).reason_to_stop(creeping)
    assert build("plateau", patience=600, min_delta=0.25).reason_to_stop(creeping) is None
    assert build("plateau", patience=600).reason_to_stop(scored(5.0, 5.0, 5.0, 5.0))


def test_plateau_speaks_at_evaluations_only(build):
    policy, records = build("plateau", patience=300), scored(5.0, 6.0, 6.0)
    assert policy.reason_to_stop(records[:5]) is None
    assert policy.reason_to_stop(records)


def test_plateau_is_silent_while_the_metric_is_missing(build):
    policy = build("plateau", metric="fid", patience=100)
    assert policy.reason_to_stop(scored(1.0, 1.0, 1.0)) is None
    assert policy.reason_to_stop(scored(None, None, 3.0, name="fid")) is None


def test_plateau_takes_a_score_that_is_no_number_for_no_improvement(build):
    policy = build("plateau", patience=400)
    assert policy.reason_to_stop(scored(math.nan, 3.0, 2.0)) is None
    assert policy.reason_to_stop(scored(3.0, math.nan, math.nan))


def test_plateau_says_what_it_reads_and_the_others_read_no_scores(build, policies):
    policy = build("plateau", metric="fid")
    assert policy.needs_metrics
    assert policy.metric_names == ("fid",)
    others = [build("max-images", images=1), build("divergence"), build("loop-breaker")]
    assert not any(other.needs_metrics or other.metric_names for other in others)
