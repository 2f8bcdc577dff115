"""Scores during training: when, of what, on what, and that they disturb nothing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import TinyGAN, make_images

from ganaug import (
    Config,
    EvaluatorPlugin,
    FeatureEvaluator,
    FeatureExtractor,
    History,
    Loss,
    Registry,
    hookimpl,
    train,
)
from ganaug.errors import ConfigError, DataError, TooFewImagesError
from ganaug.fitting import fit_part
from ganaug.shared_features import SharedExtractor
from ganaug.validation import Plan, Validation, sample_batches

BATCH = 8


class MeanConfig(Config):
    """refuse: raise DataError from this computation on."""

    refuse: int | None = None


class Mean(FeatureEvaluator):
    """The mean synthetic feature; higher is better. Remembers what it was shown."""

    higher_is_better = True
    minimum_images = 3
    roles = ("train", "holdout", "synthetic")
    shown: tuple = ()
    computed = 0

    def __init__(self, config, extractor):
        super().__init__(extractor)
        self.config = config

    def compute(self):
        type(self).computed += 1
        if self.config.refuse and self.computed >= self.config.refuse:
            raise DataError("All images are the same.")
        type(self).shown = {
            role: (len(self.features(role)), self.labels(role).tolist()) for role in self.roles
        }
        return {"mean": float(self.features("synthetic").mean()), "odd": float("nan")}


class Neither(Mean):
    higher_is_better = None


class _Metrics:
    @hookimpl
    def ganaug_evaluators(self):
        for name, build in (("mean", Mean), ("neither", Neither)):
            yield EvaluatorPlugin(name=name, summary="", config=MeanConfig, build=build)


class Pixels(FeatureExtractor):
    """The pixels themselves. Counts what it looked at."""

    dimension = 64
    name = "pixels"

    def __init__(self):
        self.looked_at = 0

    def extract(self, images):
        self.looked_at += len(images)
        return images.flatten(1)

    @property
    def fingerprint(self):
        return "pixels"


@pytest.fixture(autouse=True)
def fresh_counts():
    Mean.computed, Mean.shown = 0, ()


def plan(metrics=("mean",), **changed):
    told = []
    fields = {
        "metrics": metrics,
        "extractor": SharedExtractor(Pixels()),
        "registry": Registry([_Metrics()]),
        "every": 20,
        "keep_best": False,
        "tell": told.append,
    }
    return Plan(**{**fields, **changed}), told


def validation_of(images, rows=6, **changed):
    made, _ = plan(**changed)
    held, trained = images.subset(range(rows)), images.subset(range(rows, len(images)))
    return Validation(held, trained, made, name="all classes", seed=5), trained


def start(images, total=64, seed=0, gan=TinyGAN, **kwargs):
    torch.manual_seed(0)
    return train(
        gan(images.spec, **kwargs), images, total_images=total, batch_size=BATCH, random_state=seed
    )


def test_scores_are_in_the_first_record_at_or_past_each_multiple(blobs):
    validation, trained = validation_of(blobs)
    history = History()
    fit_part(start(trained), [], history=history, validation=validation)
    assert [r.images_seen for r in history if r.metrics] == [24, 40, 64]
    assert len(history) == 8
    assert validation.evaluations == 3


def test_what_is_recorded_reaches_policies_and_progress(blobs):
    validation, trained = validation_of(blobs)
    seen = []
    reason = fit_part(
        start(trained),
        [SimpleNamespace(reason_to_stop=lambda history: history[-1].metrics and "scored")],
        validation=validation,
        on_step=seen.append,
    )
    assert reason == "scored"
    assert [bool(record.metrics) for record in seen] == [False, False, True]


def test_the_averaged_weights_are_scored_on_as_many_images_as_there_are_rows():
    images = make_images(40, classes=2)
    rows = images.subset([0, 1, 2, 4, 6])
    made, _ = plan()
    validation = Validation(rows, images.subset(range(10, 40)), made, name="all", seed=5)
    training, history = start(images, total=24), History()
    fit_part(training, [], history=history, validation=validation)
    drawn = sample_batches(training.ema, rows.labels, seed=5)
    levels = ((torch.cat(drawn).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    assert history[-1].metrics["mean"] == pytest.approx(float(levels.mean()), abs=1e-6)
    assert Mean.shown["holdout"] == Mean.shown["synthetic"] == (5, [0, 1, 0, 0, 0])
    assert Mean.shown["train"][0] == 5


def test_a_large_validation_set_is_capped():
    images = make_images(700)
    validation, trained = validation_of(images, rows=300)
    fit_part(start(trained, total=24), [], validation=validation)
    assert {n for n, _ in Mean.shown.values()} == {256}


def test_scores_that_are_no_numbers_are_left_out(blobs):
    validation, trained = validation_of(blobs)
    history = History()
    fit_part(start(trained, total=24), [], history=history, validation=validation)
    assert set(history[-1].metrics) == {"mean"}
    assert validation.names == ("mean", "odd")


def test_evaluation_leaves_training_and_the_callers_numbers_alone(blobs):
    validation, trained = validation_of(blobs)
    alone, scored = start(trained), start(trained)
    fit_part(alone, [])
    torch.manual_seed(1)
    expected = torch.random.get_rng_state()
    fit_part(scored, [], validation=validation)
    assert torch.equal(torch.random.get_rng_state(), expected)
    for first, second in zip(
        alone.ema.network.parameters(), scored.ema.network.parameters(), strict=True
    ):
        assert torch.equal(first, second)


def test_a_training_that_is_resumed_has_the_same_scores_and_the_same_best(blobs):
    def fit(training, validation, history):
        fit_part(training, [], history=history, validation=validation)
        return [r.metrics for r in history], validation.best.state_dict()

    metrics = ("kid", "mean")
    registry = Registry([_Metrics(), "ganaug.builtin.metrics.plugin"])
    made = [
        validation_of(blobs, metrics=metrics, registry=registry, keep_best=True) for _ in range(3)
    ]
    trained = made[0][1]
    straight, best = fit(start(trained), made[0][0], History())
    half, first, history = start(trained, total=32), made[1][0], History()
    fit(half, first, history)
    again, second = start(trained, seed=9), made[2][0]
    again.load_state_dict(half.state_dict())
    second.load_state_dict(first.state_dict())
    resumed, best_resumed = fit(again, second, history)
    assert resumed == straight
    assert sum(map(bool, straight)) == 3
    for one, other in zip(best["candidates"], best_resumed["candidates"], strict=True):
        assert one["score"] == other["score"]
        assert all(torch.equal(one["weights"][k], other["weights"][k]) for k in one["weights"])


class Poisoned(TinyGAN):
    """Its eighth discriminator loss is not a number."""

    calls = 0

    def discriminator_loss(self, batch, rng):
        self.calls += 1
        loss = super().discriminator_loss(batch, rng)
        return Loss(
            {"adversarial": loss.terms["adversarial"] * float("nan")}
            if self.calls == 8
            else loss.terms
        )


def test_scores_of_steps_that_a_rollback_made_void_vanish_with_them(blobs):
    validation, trained = validation_of(blobs, keep_best=True)
    kept_at = []

    def note(progress):
        kept_at.append((progress.images_seen, validation.best.images_seen))

    history = History()
    training = start(trained, gan=Poisoned)
    fit_part(training, [], history=history, validation=validation, on_step=note)
    assert training.rollbacks == 1
    after = kept_at[7:]
    assert [seen for seen, _ in kept_at[:8]] == [8, 16, 24, 32, 40, 48, 56, 8]
    assert kept_at[6][1] is not None
    assert after[0] == (8, None)
    assert [r.images_seen for r in history if r.metrics] == [24, 40, 64]


def test_real_features_are_computed_once_and_synthetic_ones_once_for_all_metrics(blobs):
    pixels = Pixels()
    made, _ = plan(metrics=("mean", "mean:refuse=99"), extractor=SharedExtractor(pixels))
    with pytest.raises(ConfigError, match="2 of the metrics .* are called 'mean'"):
        Validation(blobs.subset(range(6)), blobs, made, name="all", seed=5)
    registry = Registry([_Metrics(), "ganaug.builtin.metrics.plugin"])
    pixels = Pixels()
    shared = SharedExtractor(pixels)
    validation, trained = validation_of(
        blobs, metrics=("mean", "kid"), extractor=shared, registry=registry
    )
    before = pixels.looked_at
    fit_part(start(trained), [], validation=validation)
    assert pixels.looked_at - before == 3 * 6


def test_too_few_rows_are_refused_before_training(blobs):
    with pytest.raises(TooFewImagesError, match="'mean' needs at least 3 validation images.* 2 of"):
        validation_of(blobs, rows=2)


def test_a_metric_that_cannot_be_computed_is_refused_before_training(blobs):
    with pytest.raises(DataError, match="All images are the same"):
        validation_of(blobs, metrics=("mean:refuse=1",))
    registry = Registry(["ganaug.builtin.metrics.plugin"])
    with pytest.raises(TooFewImagesError, match="6 validation images of all classes.*at least 9"):
        validation_of(blobs, metrics=("kid:subset_size=9",), registry=registry)


def test_a_metric_that_fails_during_training_is_left_out_and_told_once(blobs):
    made, told = plan(metrics=("mean:refuse=3",))
    validation = Validation(blobs.subset(range(6)), blobs, made, name="class 'a'", seed=5)
    history = History()
    fit_part(start(blobs), [], history=history, validation=validation)
    assert [bool(r.metrics) for r in history if r.images_seen in (24, 40, 64)] == [
        True,
        False,
        False,
    ]
    failures = [text for text in told if "no score" in text]
    assert failures == [
        "class 'a': mean:refuse=3 has no score at some evaluations: All images are the same."
    ]


def test_images_that_are_not_finite_have_no_scores(blobs):
    made, told = plan()
    validation = Validation(blobs.subset(range(6)), blobs, made, name="all classes", seed=5)
    training, history = start(blobs), History()
    for progress in training:
        training.ema.network[1].weight.data.fill_(float("nan"))
        history.record(progress)
        validation.update(training, history)
    assert not any(record.metrics for record in history)
    assert any("not finite" in text for text in told)


def test_best_needs_a_metric_of_which_one_end_is_better(blobs):
    with pytest.raises(ConfigError, match="neither is of 'neither'"):
        validation_of(blobs, metrics=("neither",), keep_best=True)


@pytest.mark.parametrize(("seconds", "said"), [(0.5, ["--eval-every 130"]), (0.01, [])])
def test_evaluations_that_take_more_than_a_tenth_of_the_time_are_told(
    blobs, monkeypatch, seconds, said
):
    clock = iter(seconds * n for n in range(100))
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("ganaug.validation.time", fake)
    made, told = plan()
    validation = Validation(blobs.subset(range(6)), blobs, made, name="all classes", seed=5)
    training, history = start(blobs), History()
    for progress in training:
        history.record(replace(progress, seconds=progress.images_seen * 0.04))
        validation.update(training, history)
    assert len(told) == len(said)
    assert all(text in told[0] for text in said)
    assert validation.seconds == pytest.approx(3 * seconds)
