"""What kid, fid, is, prc and pairwise-is promise alike, and what they say of bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from builtin.feature_metrics import METRICS, PixelsWithoutLogits, build, samples, score
from ganaug import Registry
from ganaug.errors import ConfigError, DataError, TooFewImagesError


@pytest.mark.parametrize("name", METRICS)
def test_scores_do_not_depend_on_the_batch_size(name):
    features = samples(50, 41, 6)
    whole = score(name, *features)
    assert score(name, *features, batch=1) == pytest.approx(whole)
    assert score(name, *features, batch=7) == pytest.approx(whole)


@pytest.mark.parametrize("name", ["fid", "prc", "pairwise-is"])
def test_the_order_of_arrival_does_not_matter(name):
    synthetic, real = samples(50, 41, 6)
    rng = torch.Generator().manual_seed(1)
    shuffled = synthetic[torch.randperm(50, generator=rng)], real[torch.randperm(41, generator=rng)]
    assert score(name, *shuffled) == pytest.approx(score(name, synthetic, real))


@pytest.mark.parametrize("name", METRICS)
def test_the_callers_random_numbers_are_left_alone(name):
    features = samples(50, 41, 6)
    numpy_global = np.random.mtrand._rand
    numpy_global.seed(7)  # not where a metric that seeds it would leave it
    numpy_state, torch_state = repr(numpy_global.get_state()), torch.get_rng_state()
    score(name, *features)
    assert repr(numpy_global.get_state()) == numpy_state
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_is_printed(name, capfd):
    score(name, *samples(50, 41, 6))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", METRICS)
def test_training_images_are_passed_over(name):
    evaluator = build(name)
    evaluator.update(torch.zeros(3, 5, 1, 1), role="train")
    with pytest.raises(TooFewImagesError, match="got 0"):
        evaluator.compute()


@pytest.mark.parametrize(
    ("name", "n"), [("kid", 4), ("fid", 2), ("prc", 4), ("is", 6), ("pairwise-is", 2)]
)
def test_below_its_minimum_a_metric_says_how_many_images_it_needs(name, n):
    _, real = samples(1, 30, 6)
    with pytest.raises(TooFewImagesError, match=rf"at least \d+ .*images.*; got {n - 1}"):
        score(name, real[: n - 1], real)
    with pytest.raises(TooFewImagesError, match="at least .*; got 1"):
        score(name, real[:1], real)
    assert np.isfinite(list(score(name, real[:n], real).values())).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kid", {"kid": 0, "kid_subset_std": 0}),
        ("fid", {"fd:pixels": 0}),
        ("prc", {"precision": 1, "recall": 1, "f_score": 1}),
        ("is", {"is": 1}),
        (
            "pairwise-is",
            {"pairwise_is_synthetic": 1, "pairwise_is_cross": 1, "pairwise_is_real": 1},
        ),
    ],
)
@pytest.mark.parametrize("value", [0.0, 0.1, 987.6])
def test_images_that_are_all_identical_have_finite_scores(name, expected, value):
    constant = torch.full((31, 6), value)
    assert score(name, constant, constant[:20]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", [-500.0, 0.0, 500.0])
def test_a_constant_feature_leaves_every_score_finite(name, value):
    synthetic, real = samples(40, 30, 6)
    synthetic[:, 2] = real[:, 2] = value
    assert np.isfinite(list(score(name, synthetic, real).values())).all()


@pytest.mark.parametrize("name", METRICS)
def test_features_that_are_not_finite_are_refused(name):
    synthetic, real = samples(40, 30, 6)
    synthetic[3, 2] = float("nan")
    with pytest.raises(DataError, match="synthetic images are not finite"):
        score(name, synthetic, real)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_without_an_extractor_says_so(name):
    plugin = Registry(["ganaug.builtin.metrics.plugin"]).evaluators[name]
    evaluator = plugin.build(plugin.config(), None)
    with pytest.raises(ConfigError, match="needs a feature extractor; got none"):
        evaluator.update(torch.zeros(3, 5, 1, 1), role="synthetic")


@pytest.mark.parametrize("name", ["is", "pairwise-is"])
def test_a_metric_of_classes_refuses_an_extractor_without_them(name):
    with pytest.raises(ConfigError, match="tells no classes apart.*classifier, or inception"):
        score(name, *samples(40, 30, 6), extractor=PixelsWithoutLogits())
    with pytest.raises(ConfigError, match="at least 2 classes apart; pixels tells 1"):
        score(name, *samples(40, 30, 1))
