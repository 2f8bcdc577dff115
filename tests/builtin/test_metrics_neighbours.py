from __future__ import annotations

import numpy as np
import pytest
import torch

from ganaug import FeatureExtractor, Registry
from ganaug.builtin.metrics import neighbours
from ganaug.builtin.metrics.neighbours import distance_blocks, nearest
from ganaug.errors import DataError, TooFewImagesError


class Flat(FeatureExtractor):
    """Takes the pixels for features."""

    fingerprint = "flat"

    def extract(self, images):
        return images.flatten(1)


@pytest.fixture(scope="module")
def evaluators():
    return Registry(["ganaug.builtin.metrics.plugin"]).evaluators


@pytest.fixture
def score(evaluators):
    """Score features (N, D) by role with a metric, in batches."""

    def score(name, *, batch=10_000, fields=None, **roles):
        plugin = evaluators[name]
        metric = plugin.build(plugin.config.from_fields(fields or {}), Flat())
        for role, features in roles.items():
            for part in features.float()[:, :, None, None].split(batch):
                metric.update(part, role=role)
        return metric.compute()

    return score


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def law(n, rng, dimension=8):
    return torch.randn(n, dimension, generator=rng)


def expected_coverage(n, m, k=5):
    return 1 - np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])


# Distances


def test_distances_in_blocks_are_the_distances(rng, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", 50)
    queries, references = law(7, rng), law(20, rng)
    blocks = list(distance_blocks(queries, references))
    assert len(blocks) > 1
    wanted = torch.cdist(queries.double(), references.double())
    torch.testing.assert_close(torch.cat(blocks), wanted)


def test_equal_vectors_are_at_distance_0_far_from_the_origin(rng):
    features = 1e4 + law(300, rng, 64)
    copies, rows = nearest(distance_blocks(features, features))
    assert (copies == 0).all()
    assert (rows == torch.arange(300)).all()


# Density and coverage


def test_the_formula_of_coverage_is_that_of_the_paper_at_500():
    assert expected_coverage(500, 500) == pytest.approx(0.9692, abs=5e-5)


@pytest.mark.parametrize(("n", "m", "k"), [(500, 500, 5), (300, 100, 3)])
def test_one_law_has_density_1_and_the_coverage_that_is_known(score, rng, n, m, k):
    draws = [
        score("density-coverage", holdout=law(n, rng), synthetic=law(m, rng), fields={"k": k})
        for _ in range(20)
    ]
    density, coverage = (np.array([d[name] for d in draws]) for name in ("density", "coverage"))
    assert density.mean() == pytest.approx(1, abs=4 * density.std() / 20**0.5)
    wanted = expected_coverage(n, m, k)
    assert coverage.mean() == pytest.approx(wanted, abs=4 * coverage.std() / 20**0.5)


def test_density_and_coverage_are_the_papers_where_no_distances_are_equal(score, rng):
    real, synthetic = law(60, rng), 0.5 + law(40, rng)
    radius = torch.cdist(real, real).sort(1).values[:, 5]  # the nearest is the image itself
    inside = torch.cdist(real, synthetic) < radius[:, None]
    found = score("density-coverage", holdout=real, synthetic=synthetic)
    assert found["density"] == pytest.approx(inside.sum().item() / (5 * 40))
    assert found["coverage"] == pytest.approx(inside.any(1).float().mean().item())


def test_synthetic_images_elsewhere_have_density_and_coverage_0(score, rng):
    found = score("density-coverage", holdout=law(50, rng), synthetic=100 + law(50, rng))
    assert found == {"density": 0, "coverage": 0}


def test_collapse_to_the_mean_is_dense_and_covers_little(score, rng):
    found = score("density-coverage", holdout=law(300, rng), synthetic=0.1 * law(300, rng))
    assert found["density"] > 1.5
    assert found["coverage"] < 0.7


@pytest.mark.parametrize(("n", "m"), [(30, 30), (20, 50)])
def test_one_image_over_and_over_on_both_sides_is_one_law(score, n, m):
    found = score("density-coverage", holdout=torch.ones(n, 3), synthetic=torch.ones(m, 3))
    assert found["density"] == pytest.approx(1)
    assert found["coverage"] == pytest.approx(expected_coverage(n, m))


def test_a_law_of_few_images_is_one_law_too(score, rng):
    draws = [
        score(
            "density-coverage",
            holdout=torch.randint(8, (100, 1), generator=rng),
            synthetic=torch.randint(8, (100, 1), generator=rng),
        )
        for _ in range(20)
    ]
    assert np.mean([d["density"] for d in draws]) == pytest.approx(1, abs=0.02)
    assert np.mean([d["coverage"] for d in draws]) == pytest.approx(
        expected_coverage(100, 100), abs=0.02
    )


def test_a_constant_image_that_is_another_covers_nothing(score):
    found = score("density-coverage", holdout=torch.ones(30, 3), synthetic=torch.zeros(30, 3))
    assert found == {"density": 0, "coverage": 0}


def test_density_needs_more_real_images_than_k(score, rng):
    with pytest.raises(TooFewImagesError, match="k=7 need at least 8 holdout images; got 7"):
        score("density-coverage", holdout=law(7, rng), synthetic=law(9, rng), fields={"k": 7})


# Authenticity


def test_new_draws_of_the_law_have_a_c_t_of_standard_normal(score, rng):
    z = [
        score("authenticity", **{role: law(n, rng, 4) for role, n in sizes.items()})["c_t"]
        for sizes in [{"train": 200, "holdout": 100, "synthetic": 100}] * 60
    ]
    assert abs(np.mean(z)) < 4 / 60**0.5
    assert 0.7 < np.std(z) < 1.3


@pytest.fixture
def interval_of_c_t(evaluators):
    """Estimate c_t and its interval of features (N, D) by role, in groups."""

    def interval_of_c_t(groups=None, **roles):
        plugin = evaluators["authenticity"]
        metric = plugin.build(plugin.config(), Flat())
        for role, features in roles.items():
            metric.update(features[:, :, None, None], role=role)
        for role, names in (groups or {}).items():
            metric.add_groups(names, role=role)
        low, high = metric.intervals()["c_t"]
        assert (low + high) / 2 == pytest.approx(metric.compute()["c_t"])
        return low, high

    return interval_of_c_t


def test_the_interval_of_c_t_holds_the_0_of_new_draws_in_19_of_20_cases(interval_of_c_t, rng):
    sizes = {"train": 200, "holdout": 60, "synthetic": 60}
    found = [
        interval_of_c_t(**{role: law(n, rng, 4) for role, n in sizes.items()}) for _ in range(200)
    ]
    widths = [(high - low) / 2 for low, high in found]
    assert 0.91 <= np.mean([low < 0 < high for low, high in found]) <= 0.99
    assert min(widths) >= 1.959
    assert np.mean(widths) < 2.1


def test_the_interval_of_c_t_counts_patients_rather_than_their_images(interval_of_c_t, rng):
    held = []
    for _ in range(100):
        holdout = law(15, rng, 4).repeat_interleave(8, 0) + 0.1 * law(120, rng, 4)
        groups = {"holdout": [f"patient {row // 8}" for row in range(120)]}
        low, high = interval_of_c_t(
            groups, train=law(200, rng, 4), holdout=holdout, synthetic=law(120, rng, 4)
        )
        held.append(low < 0 < high)
    assert np.mean(held) >= 0.87  # without groups, about 3 of 4


@pytest.mark.parametrize("train", [50, 200, 2000])
def test_new_draws_have_a_neighbour_ratio_of_1_whatever_the_size_of_the_training_set(
    score, rng, train
):
    sizes = {"train": train, "holdout": 200, "synthetic": 400}
    ratios = [
        score("authenticity", **{role: law(n, rng) for role, n in sizes.items()})["neighbour_ratio"]
        for _ in range(5)
    ]
    assert np.mean(ratios) == pytest.approx(1, abs=0.04)


def test_new_draws_are_as_authentic_as_training_images_are_far_from_each_other(score, rng):
    # By hand: the farther of two distances, to the nearest of those that are left.
    train, synthetic = law(50, rng), law(30, rng)
    between, within = torch.cdist(synthetic, train), torch.cdist(train, train)
    within.fill_diagonal_(torch.inf)
    distance, row = between.min(1)
    wanted = (within[row].amin(1) < distance).float().mean().item()
    found = score("authenticity", train=train, holdout=law(20, rng), synthetic=synthetic)
    assert 0 < wanted < 1
    assert found["authenticity"] == pytest.approx(wanted)


@pytest.mark.parametrize("n", [100, 400])
def test_copies_of_training_images_show_in_all_three(score, rng, n):
    train = law(n, rng)
    found = score("authenticity", train=train, holdout=law(100, rng), synthetic=train[:100])
    assert found["authenticity"] == 0
    assert found["c_t"] < -10
    assert found["neighbour_ratio"] == 0


def test_images_far_from_the_law_are_authentic_and_have_a_high_c_t(score, rng):
    found = score(
        "authenticity", train=law(100, rng), holdout=law(100, rng), synthetic=20 + law(100, rng)
    )
    assert found["authenticity"] == 1
    assert found["c_t"] > 10


def test_one_image_over_and_over_is_a_copy_with_a_plain_c_t(score):
    found = score(
        "authenticity",
        train=torch.ones(20, 3),
        holdout=torch.ones(10, 3),
        synthetic=torch.ones(10, 3),
    )
    assert found == {"authenticity": 0, "c_t": 0, "neighbour_ratio": 1}


def test_copies_of_the_holdout_are_refused_in_words(score, rng):
    holdout = law(30, rng)
    with pytest.raises(DataError, match="the holdout was held out"):
        score("authenticity", train=law(90, rng), holdout=holdout, synthetic=holdout)


def test_a_holdout_of_training_images_is_refused_in_words(score, rng):
    train = law(90, rng)
    with pytest.raises(DataError, match="the holdout was held out"):
        score("authenticity", train=train, holdout=train[:30], synthetic=law(30, rng))


# Both


ROLES = ("train", "holdout", "synthetic")


@pytest.mark.parametrize("name", ["density-coverage", "authenticity"])
def test_batches_do_not_matter(score, rng, name):
    roles = {role: law(n, rng) for role, n in zip(ROLES, (40, 30, 20), strict=True)}
    assert score(name, batch=7, **roles) == score(name, **roles)


@pytest.mark.parametrize("name", ["density-coverage", "authenticity"])
def test_blocks_do_not_matter(score, rng, monkeypatch, name):
    roles = {role: law(n, rng) for role, n in zip(ROLES, (40, 30, 20), strict=True)}
    whole = score(name, **roles)
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", 120)
    assert score(name, **roles) == pytest.approx(whole)


@pytest.mark.parametrize("name", ["density-coverage", "authenticity"])
@pytest.mark.parametrize("alone", ["holdout", "synthetic"])
def test_one_image_is_too_few(score, rng, name, alone):
    roles = {role: law(1 if role == alone else 20, rng) for role in ROLES}
    with pytest.raises(TooFewImagesError, match=f"2 {alone} images; got 1"):
        score(name, **roles)


@pytest.mark.parametrize("name", ["density-coverage", "authenticity"])
def test_a_feature_that_never_varies_changes_nothing(score, rng, name):
    roles = {role: law(n, rng) for role, n in zip(ROLES, (40, 30, 20), strict=True)}
    wider = {
        role: torch.cat([each, torch.full((len(each), 1), 3.0)], 1) for role, each in roles.items()
    }
    assert score(name, **wider) == pytest.approx(score(name, **roles))


@pytest.mark.parametrize("name", ["density-coverage", "authenticity"])
def test_features_that_are_not_numbers_are_refused(score, rng, name):
    roles = {role: law(20, rng) for role in ROLES}
    roles["synthetic"][3, 2] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        score(name, **roles)


@pytest.mark.parametrize("name", ["density-coverage", "authenticity", "prc", "kid"])
def test_subsets_score_as_their_images_alone_do(evaluators, rng, name):
    plugin = evaluators[name]
    metric, half = (plugin.build(plugin.config(), Flat()) for _ in range(2))
    rows = dict(zip(ROLES, (range(20), range(5, 30), range(10, 40)), strict=True))
    for role in ROLES:
        images = law(40, rng)[:, :, None, None]
        metric.update(images, role=role)
        half.update(images[list(rows[role])], role=role)
    wanted = half.compute()
    every = dict.fromkeys(ROLES, range(40))
    _, drawn = list(metric.subsets([every, rows]))
    assert metric.subset(rows).compute() == wanted
    assert drawn.compute() == pytest.approx(wanted)
