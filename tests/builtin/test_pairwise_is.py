from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

from ganaug import FeatureExtractor, Registry
from ganaug.builtin.metrics import pairwise_is as module
from ganaug.builtin.metrics.pairwise_is import pairwise_is
from ganaug.errors import ConfigError

TOP = {"nat": 2, "bit": math.e}


class Pixels(FeatureExtractor):
    name = "pixels"
    fingerprint = "pixels"

    def extract(self, images):
        raise AssertionError("features are not logits")

    def logits(self, images):
        return images.flatten(1)


def scores_of(synthetic, real, **fields):
    plugin = Registry(["ganaug.builtin.metrics.plugin"]).evaluators["pairwise-is"]
    evaluator = plugin.build(plugin.config.from_strings(fields), Pixels())
    evaluator.update(synthetic[:, :, None, None], role="synthetic")
    evaluator.update(real[:, :, None, None], role="holdout")
    return evaluator.compute()


def random_logits(n, classes=5, *, seed=0, spread=3.0):
    return spread * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("base", ["nat", "bit"])
def test_a_pair_of_identical_images_scores_one(base):
    same = random_logits(50).softmax(1)
    assert (pairwise_is(same, same, base) == 1).all()


@pytest.mark.parametrize(("base", "top"), TOP.items())
def test_a_pair_of_totally_different_images_scores_the_most(base, top):
    sure = torch.eye(4)
    assert pairwise_is(sure, sure.roll(1, 0), base).numpy() == pytest.approx(top, abs=1e-6)


@pytest.mark.parametrize(("base", "top"), TOP.items())
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0])
def test_every_pair_is_within_the_bounds_of_its_base(base, top, spread):
    left = random_logits(500, seed=1, spread=spread).softmax(1)
    right = random_logits(500, seed=2, spread=spread).softmax(1)
    scores = pairwise_is(left, right, base)
    assert scores.shape == (500,)
    assert scores.min() >= 1
    assert scores.max() <= np.float32(top)


def test_a_pair_scores_the_inception_score_of_its_two_images():
    logits = random_logits(2, 9).double()
    probabilities = logits.softmax(1)
    expected = isc_features_to_metric(logits, splits=1)[KEY_METRIC_ISC_MEAN]
    assert pairwise_is(probabilities[:1], probabilities[1:]).item() == pytest.approx(expected)


@pytest.mark.parametrize(("base", "unit"), [("nat", math.e), ("bit", 2)])
def test_a_pair_scores_the_exponential_of_the_jensen_shannon_divergence(base, unit):
    left, right = random_logits(2, 9).double().softmax(1)
    divergence = jensenshannon(left, right, base=unit) ** 2
    score = pairwise_is(left[None], right[None], base).item()
    assert score == pytest.approx(math.exp(divergence))


@pytest.mark.parametrize("sizes", [(13, 20), (20, 13), (7, 40), (16, 16)])
def test_every_pair_counts_once(sizes):
    synthetic, real = random_logits(sizes[0], seed=1), random_logits(sizes[1], seed=2)

    def mean(left, right, itself):
        pairs = [
            (i, j) for i, j in product(range(len(left)), range(len(right))) if itself or i != j
        ]
        rows, columns = map(list, zip(*pairs, strict=True))
        return pairwise_is(left.softmax(1)[rows], right.softmax(1)[columns]).mean().item()

    assert scores_of(synthetic, real) == pytest.approx(
        {
            "pairwise_is_synthetic": mean(synthetic, synthetic, itself=False),
            "pairwise_is_cross": mean(synthetic, real, itself=True),
            "pairwise_is_real": mean(real, real, itself=False),
        }
    )


def test_a_collapsed_generator_shows_no_variety():
    real = 20 * torch.eye(4).repeat(10, 1)
    scores = scores_of(real[:1].repeat(40, 1), real)
    assert scores["pairwise_is_synthetic"] == pytest.approx(1)
    assert scores["pairwise_is_cross"] == pytest.approx(0.25 * 1 + 0.75 * 2, abs=1e-5)
    assert scores["pairwise_is_real"] == pytest.approx((9 * 1 + 30 * 2) / 39, abs=1e-5)


def test_many_images_are_scored_on_evenly_drawn_pairs(monkeypatch):
    synthetic, real = random_logits(400, seed=1), random_logits(300, seed=2)
    exact = scores_of(synthetic, real)
    monkeypatch.setattr(module, "_MOST_TERMS", 400 * 5 * 20)  # 20 partners an image
    drawn = scores_of(synthetic, real)
    assert drawn != exact
    assert drawn == pytest.approx(exact, rel=0.02)
    assert scores_of(synthetic, real) == drawn


def test_the_base_is_chosen_by_text():
    synthetic, real = random_logits(20, seed=1), random_logits(20, seed=2)
    nats, bits = scores_of(synthetic, real, base="nat"), scores_of(synthetic, real, base="bit")
    assert scores_of(synthetic, real) == nats
    assert all(bits[name] > nats[name] for name in nats)
    with pytest.raises(ConfigError, match="base"):
        scores_of(synthetic, real, base="ban")
