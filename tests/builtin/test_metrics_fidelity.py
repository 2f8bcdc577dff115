"""kid, fid, is and prc against torch-fidelity's own numbers on the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
from torch_fidelity.metric_kid import (
    KEY_METRIC_KID_MEAN,
    KEY_METRIC_KID_STD,
    kid_features_to_metric,
)
from torch_fidelity.metric_prc import prc_features_to_metric

from builtin.feature_metrics import Pixels, samples, score
from ganaug.builtin.metrics import prc
from ganaug.errors import DataError, TooFewImagesError


@pytest.mark.parametrize(
    ("sizes", "fields", "subset_size"),
    [
        ((60, 81), {}, 30),
        ((1_300, 1_100), {}, 550),
        ((2_600, 2_050), {"subsets": 20}, 1_000),
        ((2_600, 2_050), {"subsets": 2}, 1_000),
        ((60, 81), {"subset_size": 60, "subsets": 1}, 60),
    ],
    ids=["fitted-30", "fitted-550", "fitted-1000", "few-subsets", "one-whole-subset"],
)
def test_kid_equals_torch_fidelity_at_the_fitted_subset_size(sizes, fields, subset_size):
    synthetic, real = samples(*sizes, 16)
    expected = kid_features_to_metric(
        synthetic,
        real,
        kid_subsets=fields.get("subsets", 100),
        kid_subset_size=subset_size,
        verbose=False,
    )
    scores = score("kid", synthetic, real, **fields)
    assert scores["kid"] == pytest.approx(expected[KEY_METRIC_KID_MEAN], rel=1e-4)
    assert scores["kid_subset_std"] == pytest.approx(
        expected[KEY_METRIC_KID_STD], rel=1e-4, abs=1e-9
    )


@pytest.mark.parametrize("subsets", [1, 100], ids=["by-subset", "by-matrix"])
def test_kid_takes_the_kernel_from_its_config(subsets):
    synthetic, real = samples(50, 50, 8)
    expected = kid_features_to_metric(
        synthetic,
        real,
        kid_subsets=subsets,
        kid_subset_size=20,
        kid_kernel_poly_degree=2,
        kid_kernel_poly_gamma=0.5,
        kid_kernel_poly_coef0=0.25,
        verbose=False,
    )
    kernel = {"degree": 2, "gamma": 0.5, "coef0": 0.25}
    scores = score("kid", synthetic, real, subsets=subsets, subset_size=20, **kernel)
    assert scores["kid"] == pytest.approx(expected[KEY_METRIC_KID_MEAN], rel=1e-4)


def test_kid_of_two_samples_of_one_law_is_zero_on_average():
    kids = []
    for seed in range(30):
        rng = torch.Generator().manual_seed(seed)
        synthetic, real = torch.randn(2, 20, 4, generator=rng)
        kids.append(score("kid", synthetic, real)["kid"])
    assert min(kids) < 0 < max(kids)
    assert abs(np.mean(kids)) < 2 * np.std(kids) / np.sqrt(30)


def test_kid_refuses_a_subset_larger_than_a_role():
    with pytest.raises(TooFewImagesError, match="at least 50 images of each role; got 40"):
        score("kid", *samples(40, 60, 4), subset_size=50)


@pytest.mark.parametrize("subsets", [1, 100], ids=["by-subset", "by-matrix"])
def test_kid_of_features_too_large_for_its_kernel_is_an_error(subsets):
    large = torch.full((8, 4), 3e38)
    with pytest.raises(DataError, match="too large for a number.*Standardise"):
        score("kid", large, large, degree=9, subsets=subsets)


@pytest.mark.parametrize(
    ("sizes", "dimension"),
    [((300, 250), 16), ((1_200, 1_500), 64), ((40, 30), 100), ((60, 200), 100), ((300, 50), 100)],
)
def test_fid_equals_torch_fidelity_with_more_and_fewer_images_than_dimensions(sizes, dimension):
    synthetic, real = samples(*sizes, dimension)
    statistics = [fid_features_to_statistics(features) for features in (synthetic, real)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert score("fid", synthetic, real)["fd:pixels"] == pytest.approx(expected, rel=1e-4)


def test_fid_has_its_name_with_inception_only():
    features = samples(20, 20, 4)
    extractor = Pixels()
    assert set(score("fid", *features, extractor=extractor)) == {"fd:pixels"}
    extractor.name = "inception"
    assert set(score("fid", *features, extractor=extractor)) == {"fid"}
    extractor.name = ""
    assert set(score("fid", *features, extractor=extractor)) == {"fd:Pixels"}


@pytest.mark.parametrize("n", [5, 500])
def test_fid_of_identical_sets_is_zero_and_never_below(n):
    for seed in range(10):
        features, _ = samples(n, n, 64, seed=seed)
        assert 0 <= score("fid", features, features.flip(0))["fd:pixels"] < 1e-10


@pytest.mark.parametrize(("n", "bias"), [(100, 658), (250, 455), (1_000, 133)])
def test_fid_is_biased_at_small_n_as_documented(n, bias):
    rng = torch.Generator().manual_seed(n)
    synthetic, real = torch.randn(2, n, 512, generator=rng)
    assert score("fid", synthetic, real)["fd:pixels"] == pytest.approx(bias, rel=0.02)


@pytest.mark.parametrize(
    ("n", "fields", "splits"),
    [(300, {}, 1), (1_100, {}, 2), (2_400, {}, 4), (6_000, {}, 10), (300, {"splits": 7}, 7)],
)
def test_is_equals_torch_fidelity_at_the_fitted_number_of_splits(n, fields, splits):
    logits = 3 * samples(n, 1, 12)[0]
    expected = isc_features_to_metric(logits, splits)[KEY_METRIC_ISC_MEAN]
    assert score("is", logits, logits[:1], **fields)["is"] == pytest.approx(expected, rel=1e-4)


def test_is_goes_from_one_to_the_number_of_classes():
    sure = 2_000 * torch.eye(6).repeat(20, 1)
    assert score("is", sure, sure)["is"] == pytest.approx(6)
    assert score("is", sure[:1].repeat(20, 1), sure)["is"] == pytest.approx(1)


def test_is_needs_as_many_images_as_classes_and_two_a_split():
    logits = torch.zeros(9, 12)
    with pytest.raises(TooFewImagesError, match="12 classes .* at least 12 .* got 9"):
        score("is", logits, logits)
    with pytest.raises(TooFewImagesError, match="in 5 splits needs at least 10 .* got 9"):
        score("is", logits[:, :3], logits, splits=5)


@pytest.mark.parametrize(("sizes", "dimension"), [((90, 120), 8), ((1_400, 1_100), 16)])
@pytest.mark.parametrize("neighbourhood", [3, 5])
def test_prc_equals_torch_fidelity(sizes, dimension, neighbourhood):
    synthetic, real = samples(*sizes, dimension)
    expected = prc_features_to_metric(
        synthetic, real, prc_neighborhood=neighbourhood, verbose=False
    )
    scores = score("prc", synthetic, real, neighbourhood=neighbourhood)
    assert scores == pytest.approx(expected, rel=1e-4)


def test_prc_is_the_same_when_distances_are_held_in_blocks(monkeypatch):
    features = samples(90, 120, 8)
    whole = score("prc", *features)
    monkeypatch.setattr(prc, "_BLOCK_VALUES", 3_000)
    assert score("prc", *features) == pytest.approx(whole)


def test_prc_of_half_the_real_distribution_has_precision_but_no_recall():
    rng = torch.Generator().manual_seed(0)
    clusters = torch.randn(200, 4, generator=rng)
    clusters[100:] += 50
    half = torch.randn(200, 4, generator=rng)
    scores = score("prc", half, clusters)
    assert scores["precision"] > 0.8
    assert scores["recall"] < 0.5


def test_prc_needs_more_images_than_neighbours():
    with pytest.raises(TooFewImagesError, match="neighbour 5 needs at least 6 .* got 5"):
        score("prc", *samples(5, 30, 4), neighbourhood=5)
