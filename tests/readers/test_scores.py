"""Scores of readers, against references and by simulation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu, norm
from sklearn.metrics import roc_auc_score

from ganaug.readers.answers import Answers, Key
from ganaug.readers.scores import score_answers, smallest_detectable_auc


def key_of(n_real, n_synthetic, class_names=None):
    n = n_real + n_synthetic
    return Key(
        study="abc",
        numbers=tuple(str(number) for number in range(n)),
        is_synthetic=np.arange(n) >= n_real,
        class_names=class_names or ("a",) * n,
    )


def answers_of(*ratings):
    table = np.array(ratings, dtype=float)
    return Answers(
        readers=tuple("ABCDEFGH"[: len(table)]),
        ratings=table,
        milliseconds=np.full(table.shape, 1000.0),
    )


def drawn_ratings(rng, key, separation, readers=1, shared=0.0):
    """Ratings 1 to 6 of a latent impression; readers share part of it."""
    n = len(key.numbers)
    common, own = rng.normal(size=n), rng.normal(size=(readers, n))
    latent = separation * key.is_synthetic + shared**0.5 * common + (1 - shared) ** 0.5 * own
    return 1.0 + np.searchsorted([-1.0, -0.2, 0.5, 1.2, 2.0], latent)


def score_of(key, answers, reader="A", class_name=None):
    return next(
        score
        for score in score_answers(key, answers)
        if (score.reader, score.class_name) == (reader, class_name)
    )


def test_the_auc_is_that_of_scikit_learn():
    key = key_of(20, 30)
    ratings = drawn_ratings(np.random.default_rng(0), key, 0.8)
    expected = roc_auc_score(key.is_synthetic, ratings[0])
    assert score_of(key, answers_of(*ratings)).auc.value == pytest.approx(expected, abs=1e-12)


def test_proportions_of_a_reader_have_wilsons_interval():
    key = key_of(10, 12)
    ratings = [1] * 7 + [5] * 3 + [4] * 9 + [3] * 3
    score = score_of(key, answers_of(ratings))
    for estimate, right, n in (
        (score.accuracy, 16, 22),
        (score.sensitivity, 9, 12),
        (score.specificity, 7, 10),
    ):
        expected = binomtest(right, n).proportion_ci(method="wilson")
        assert estimate.value == right / n
        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("readers", "shared"), [(1, 0.0), (3, 0.6)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(readers, shared):
    rng, key = np.random.default_rng(1), key_of(30, 30)
    large = key_of(20_000, 20_000)
    everything = drawn_ratings(np.random.default_rng(2), large, 0.7)[0]
    auc = roc_auc_score(large.is_synthetic, everything)
    accuracy = float(((everything >= 4) == large.is_synthetic).mean())
    held = {"auc": 0, "accuracy": 0}
    for _ in range(400):
        answers = answers_of(*drawn_ratings(rng, key, 0.7, readers, shared))
        pooled = score_of(key, answers, reader=None)
        held["auc"] += pooled.auc.low <= auc <= pooled.auc.high
        held["accuracy"] += pooled.accuracy.low <= accuracy <= pooled.accuracy.high
    assert all(0.92 <= count / 400 <= 0.985 for count in held.values()), held


def test_a_reader_who_repeats_another_adds_no_certainty():
    key = key_of(25, 25)
    ratings = drawn_ratings(np.random.default_rng(0), key, 0.8)[0]
    one = score_of(key, answers_of(ratings))
    pooled = score_of(key, answers_of(ratings, ratings), reader=None)
    assert dataclasses.astuple(pooled.auc) == pytest.approx(dataclasses.astuple(one.auc))
    assert pooled.accuracy.value == one.accuracy.value
    assert pooled.accuracy.low == pytest.approx(one.accuracy.low, abs=0.005)


def test_readers_who_see_different_things_add_certainty():
    key = key_of(25, 25)
    ratings = drawn_ratings(np.random.default_rng(0), key, 0.8, readers=4)
    pooled = score_of(key, answers_of(*ratings), reader=None)
    singles = [score_of(key, answers_of(*ratings), reader=name).auc for name in "ABCD"]
    assert pooled.auc.value == pytest.approx(np.mean([auc.value for auc in singles]))
    assert pooled.auc.high - pooled.auc.low < min(auc.high - auc.low for auc in singles)


@pytest.mark.parametrize(
    ("ratings", "value"),
    [([1] * 10 + [6] * 10, 1.0), ([6] * 10 + [1] * 10, 0.0), ([3] * 20, 0.5)],
)
def test_an_auc_without_variance_is_not_certain(ratings, value):
    auc = score_of(key_of(10, 10), answers_of(ratings)).auc
    expected = binomtest(round(10 * value), 10).proportion_ci(method="wilson")
    assert auc.value == value
    assert (auc.low, auc.high) == pytest.approx((expected.low, expected.high))


def test_each_reader_and_class_is_scored_and_all_together():
    key = key_of(4, 4, class_names=("a", "b") * 4)
    scores = score_answers(key, answers_of([1, 6, 1, 6, 6, 6, 6, 6], [1] * 8))
    assert [(score.reader, score.class_name) for score in scores] == [
        (reader, class_name) for reader in ("A", "B", None) for class_name in (None, "a", "b")
    ]
    by_key = {(score.reader, score.class_name): score for score in scores}
    assert by_key["A", "a"].specificity.value == 1.0
    assert by_key["A", "b"].specificity.value == 0.0
    assert by_key["B", "a"].sensitivity.value == 0.0
    assert (by_key[None, "a"].n_real, by_key[None, "a"].n_synthetic) == (4, 4)


def test_answers_are_scored_as_far_as_they_go():
    key = key_of(3, 3)
    ratings = [1, np.nan, 4, 6, np.nan, np.nan]
    answers = answers_of(ratings, [np.nan] * 5 + [6])
    first, second = score_of(key, answers), score_of(key, answers, reader="B")
    assert (first.n_real, first.n_synthetic) == (2, 1)
    assert first.accuracy.value == pytest.approx(2 / 3)
    assert first.auc.value == 1.0
    assert second.specificity is None
    assert second.auc is None
    pooled = score_of(key, answers, reader=None)
    assert pooled.auc.value == 1.0
    assert (pooled.n_real, pooled.n_synthetic) == (2, 2)


@pytest.mark.parametrize("answered", [5, 20])
def test_a_reader_who_answered_little_leaves_the_pooled_interval_true(answered):
    rng, key, held = np.random.default_rng(3), key_of(30, 30), 0
    for _ in range(400):
        ratings = drawn_ratings(rng, key, 0.0, readers=3, shared=0.3)
        ratings[2, rng.permutation(60)[answered:]] = np.nan
        auc = score_of(key, answers_of(*ratings), reader=None).auc
        held += auc.low <= 0.5 <= auc.high
    assert 0.92 <= held / 400 <= 0.985


def test_a_reader_counts_by_the_answers_given():
    key = key_of(30, 30)
    full = [1] * 30 + [6] * 30
    wrong = np.full(60, np.nan)
    wrong[[0, 1, 2, 30, 31]] = [6, 6, 6, 1, 1]
    auc = score_of(key, answers_of(full, wrong), reader=None).auc
    thin, whole = 3 * 2 / 6, 30 * 30 / 61
    assert auc.value == pytest.approx(whole / (whole + thin))


def test_the_smallest_detectable_auc_is_detected_in_four_studies_of_five():
    rng, n = np.random.default_rng(0), 40
    separation = 2**0.5 * norm.ppf(smallest_detectable_auc(n, n))
    found = [
        mannwhitneyu(rng.normal(size=n), rng.normal(separation, size=n)).pvalue < 0.05
        for _ in range(1000)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


def test_few_images_cannot_show_anything():
    assert smallest_detectable_auc(2, 2) is None
    assert smallest_detectable_auc(0, 60) is None
