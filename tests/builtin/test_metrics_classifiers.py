from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from ganaug import FeatureExtractor, Registry
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
def fill(evaluators):
    """Show features (N, D) by role, or pairs of features and labels, to a metric, in batches.

    groups: of some roles.
    """

    def fill(name, *, batch=10_000, fields=None, groups=None, **roles):
        plugin = evaluators[name]
        metric = plugin.build(plugin.config.from_fields(fields or {}), Flat())
        for role, given in roles.items():
            features, labels = given if isinstance(given, tuple) else (given, None)
            for start in range(0, len(features), batch):
                part = slice(start, start + batch)
                metric.update(
                    features[part, :, None, None],
                    role=role,
                    labels=None if labels is None else labels[part],
                )
        for role, names in (groups or {}).items():
            metric.add_groups(names, role=role)
        return metric

    return fill


@pytest.fixture
def score(fill):
    return lambda *args, **options: fill(*args, **options).compute()


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def law(n, rng, dimension=8):
    return torch.randn(n, dimension, generator=rng)


# C2ST


@pytest.mark.parametrize(("n", "m", "dimension"), [(60, 60, 40), (40, 120, 8)])
def test_one_law_has_the_accuracy_that_the_paper_gives(score, rng, n, m, dimension):
    draws = [
        score("c2st", holdout=law(n, rng, dimension), synthetic=law(m, rng, dimension))
        for _ in range(150)
    ]
    deviation = (1 / (n / 2) + 1 / (m / 2)) ** 0.5 / 4
    z = (np.array([d["c2st"] for d in draws]) - 0.5) / deviation
    assert abs(z.mean()) < 4 / 150**0.5
    assert 0.85 < z.std() < 1.15  # cross-validated accuracies have 1.2 to 1.3
    assert np.mean([d["c2st_p"] < 0.1 for d in draws]) < 0.2


def test_the_p_value_is_the_normal_tail_above_a_half(score, rng):
    found = score("c2st", holdout=law(100, rng), synthetic=0.3 + law(100, rng))
    wanted = norm.sf((found["c2st"] - 0.5) * (4 * 100) ** 0.5)  # 100 images are tested
    assert found["c2st_p"] == pytest.approx(wanted)


def test_a_shift_is_told(score, rng):
    found = score("c2st", holdout=law(200, rng), synthetic=1 + law(200, rng))
    assert found["c2st"] > 0.85
    assert found["c2st_p"] < 1e-6


def test_a_narrower_law_of_the_same_mean_is_told(score, rng):
    found = score("c2st", holdout=law(200, rng), synthetic=0.3 * law(200, rng))
    assert found["c2st"] > 0.85


def test_a_rare_role_counts_as_much_as_a_common_one(score, rng):
    found = score("c2st", holdout=law(400, rng), synthetic=law(20, rng))
    assert found["c2st"] < 0.8  # calling all of them real would be right of 95 %


def test_intervals_hold_the_accuracy_and_cover_a_half_at_one_law(fill, rng):
    covered = 0
    for _ in range(40):
        metric = fill("c2st", holdout=law(60, rng), synthetic=law(60, rng))
        low, high = metric.intervals()["c2st"]
        assert 0 <= low < metric.compute()["c2st"] < high <= 1
        covered += low < 0.5 < high
    assert covered >= 34  # 95 % of 40 are 38; fewer than 34 has a chance below 1 in 1,000


def patients(n, each, rng, dimension=8, spread=0.2):
    """Features of `n` patients, `each` of a patient much alike; and whose they are."""
    centres = law(n, rng, dimension).repeat_interleave(each, 0)
    names = [f"patient {row // each}" for row in range(n * each)]
    return centres + spread * law(n * each, rng, dimension), names


def test_images_of_known_patients_are_not_what_tells_real_from_synthetic(fill, rng):
    whole, torn = [], []
    for _ in range(12):
        holdout, names = patients(15, 10, rng, dimension=40)
        roles = {"holdout": holdout, "synthetic": law(150, rng, 40)}
        whole.append(fill("c2st", **roles, groups={"holdout": names}).compute()["c2st"])
        torn.append(fill("c2st", **roles).compute()["c2st"])
    assert np.mean(whole) == pytest.approx(0.5, abs=0.08)
    assert np.mean(torn) > 0.8


def test_patients_are_halved_whole_in_a_two_sample_test(fill, rng):
    holdout, names = patients(9, 7, rng)
    metric = fill("c2st", holdout=holdout, synthetic=law(40, rng), groups={"holdout": names})
    for seed in range(5):
        tested = metric._tested("holdout", np.random.default_rng(seed)).reshape(9, 7)
        assert (tested.all(1) | ~tested.any(1)).all()
        assert tested.sum() in (28, 35)
    assert metric._tested("synthetic", np.random.default_rng(0)).sum() == 20


def test_a_two_sample_test_of_groups_leaves_its_interval_to_half_samples(fill, rng):
    holdout, names = patients(9, 7, rng)
    metric = fill("c2st", holdout=holdout, synthetic=law(40, rng), groups={"holdout": names})
    assert set(metric.compute()) == {"c2st"}
    assert metric.intervals() == {}
    unnamed = fill("c2st", holdout=holdout, synthetic=law(40, rng), groups={"holdout": [""] * 63})
    assert set(unnamed.compute()) == {"c2st", "c2st_p"}


def test_a_two_sample_test_of_one_patient_is_refused(fill, rng):
    metric = fill("c2st", holdout=law(20, rng), synthetic=law(20, rng))
    metric.add_groups(["x"] * 20, role="holdout")
    with pytest.raises(TooFewImagesError, match="holdout images of at least 2; got 20 images of 1"):
        metric.compute()


def test_intervals_are_plain_numbers(fill, rng):
    metric = fill("c2st", holdout=law(20, rng), synthetic=law(20, rng))
    assert [type(bound) for bound in metric.intervals()["c2st"]] == [float, float]
    assert [type(value) for value in metric.compute().values()] == [float, float]


def test_the_interval_of_a_perfect_classifier_has_a_width(fill, rng):
    metric = fill("c2st", holdout=law(50, rng), synthetic=100 + law(50, rng))
    low, high = metric.intervals()["c2st"]
    assert metric.compute()["c2st"] == high == 1
    # 25 of 25 are right in each role, whose Wilson interval begins at 25 / (25 + 1.96**2).
    assert low == pytest.approx(1 - (1 - 25 / (25 + 1.96**2)) / 2**0.5, abs=1e-4)


def test_identical_images_are_told_by_chance(fill):
    metric = fill("c2st", holdout=torch.ones(20, 3), synthetic=torch.ones(20, 3))
    assert metric.compute() == {"c2st": 0.5, "c2st_p": 0.5}
    low, high = metric.intervals()["c2st"]
    assert low < 0.5 < high


def test_two_images_over_and_over_are_told_apart(score):
    found = score("c2st", holdout=torch.ones(20, 3), synthetic=torch.zeros(20, 3))
    assert found["c2st"] == 1


def test_a_two_sample_test_of_nine_images_is_refused(score, rng):
    with pytest.raises(TooFewImagesError, match="10 synthetic images; got 9"):
        score("c2st", holdout=law(20, rng), synthetic=law(9, rng))


# CAS


def classes(n, rng, *, apart=3.0):
    """Features of three classes, and labels; without a distance, labels say nothing."""
    labels = torch.arange(n) % 3
    centres = apart * torch.eye(3, 8)
    return law(n, rng) + centres[labels], labels


def test_images_of_the_law_teach_as_much_as_real_ones(fill, rng):
    metric = fill(
        "cas", train=classes(300, rng), holdout=classes(300, rng), synthetic=classes(300, rng)
    )
    found, intervals = metric.compute(), metric.intervals()
    assert found["cas"] > 0.9
    assert found["cas_real"] > 0.9
    assert found["cas_gap"] == pytest.approx(found["cas"] - found["cas_real"])
    low, high = intervals["cas_gap"]
    assert low <= 0 <= high
    for name, value in found.items():
        low, high = intervals[name]
        assert low <= value <= high


def test_wrong_labels_teach_nothing(score, rng):
    features, labels = classes(300, rng)
    wrong = labels[torch.randperm(300, generator=rng)]
    found = score(
        "cas", train=classes(300, rng), holdout=classes(300, rng), synthetic=(features, wrong)
    )
    assert found["cas"] < 0.6
    assert found["cas_real"] > 0.9
    assert found["cas_gap"] < -0.3


def test_a_classifier_without_a_clue_is_right_by_chance(score, rng):
    found = score(
        "cas", **{role: classes(900, rng, apart=0) for role in ("train", "holdout", "synthetic")}
    )
    assert found["cas"] == pytest.approx(1 / 3, abs=0.08)


def test_real_images_teach_in_equal_numbers(score, rng):
    # With 3 synthetic images a class, 3,000 training images must not help the real side.
    train, few = classes(3000, rng, apart=1), classes(9, rng, apart=1)
    holdout = classes(600, rng, apart=1)
    few_real = score("cas", train=train, holdout=holdout, synthetic=few)["cas_real"]
    many_real = score("cas", train=train, holdout=holdout, synthetic=train)["cas_real"]
    assert few_real < many_real - 0.05


def test_synthetic_images_beyond_the_training_set_do_not_count(score, rng):
    train, holdout = classes(9, rng, apart=1), classes(600, rng, apart=1)
    many = classes(3000, rng, apart=1)
    assert score("cas", train=train, holdout=holdout, synthetic=many)["cas_gap"] < 0.15


def test_a_rare_class_counts_as_much_as_a_common_one(score, rng):
    def images(n, m):
        labels = torch.tensor([0] * n + [1] * m)
        return law(n + m, rng) + 2.0 * labels[:, None] * torch.eye(1, 8), labels

    roles = ("train", "holdout", "synthetic")
    found = score("cas", **{role: images(400, 20) for role in roles})
    assert found["cas"] > 0.7  # calling all of them common would be 0.5


def test_the_interval_of_cas_is_as_wide_as_holdouts_vary(fill, rng):
    taught = {role: classes(60, rng, apart=1) for role in ("train", "synthetic")}
    scores, widths = [], []
    for _ in range(30):
        metric = fill("cas", **taught, holdout=classes(90, rng, apart=1))
        scores.append(metric.compute()["cas"])
        low, high = metric.intervals()["cas"]
        widths.append((high - low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(np.std(scores, ddof=1), rel=0.4)


def test_the_interval_of_cas_counts_patients_rather_than_their_images(fill, rng):
    def holdout():
        """Eight patients a class, ten images each that are told right or wrong together."""
        features, labels = classes(24, rng, apart=1)
        rows = torch.arange(24).repeat_interleave(10)
        names = [f"patient {row}" for row in rows.tolist()]
        return (features[rows] + 0.05 * law(240, rng), labels[rows]), names

    taught = {role: classes(60, rng, apart=1) for role in ("train", "synthetic")}
    scores, widths = [], []
    for _ in range(40):
        images, names = holdout()
        metric = fill("cas", **taught, holdout=images, groups={"holdout": names})
        scores.append(metric.compute()["cas"])
        low, high = metric.intervals()["cas"]
        widths.append((high - low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(np.std(scores, ddof=1), rel=0.35)


def test_patients_of_several_classes_are_drawn_with_all_their_images(fill, rng):
    taught = {role: classes(60, rng) for role in ("train", "synthetic")}
    names = [f"patient {row // 5}" for row in range(90)]  # of all three classes, each
    metric = fill("cas", **taught, holdout=classes(90, rng), groups={"holdout": names})
    for name, value in metric.compute().items():
        low, high = metric.intervals()[name]
        assert low <= value <= high


def test_identical_images_are_right_by_chance(fill):
    images = torch.ones(30, 3), torch.arange(30) % 3
    metric = fill("cas", train=images, holdout=images, synthetic=images)
    assert metric.compute() == pytest.approx({"cas": 1 / 3, "cas_real": 1 / 3, "cas_gap": 0})
    assert metric.intervals()["cas_gap"] == (0, 0)


def test_one_class_is_refused_in_words(score, rng):
    images = law(20, rng), torch.zeros(20, dtype=torch.int64)
    with pytest.raises(DataError, match="at least two classes; got one"):
        score("cas", train=images, holdout=images, synthetic=images)


def test_classes_that_a_role_lacks_are_named(score, rng):
    full, none = classes(30, rng), (law(20, rng), torch.arange(20) % 2)
    with pytest.raises(DataError, match="no synthetic images of class 2 "):
        score("cas", train=full, holdout=full, synthetic=none)


def test_images_without_labels_are_refused(score, rng):
    with pytest.raises(DataError, match="needs the labels"):
        score("cas", train=law(20, rng), holdout=law(20, rng), synthetic=law(20, rng))


# Both


@pytest.mark.parametrize("name", ["c2st", "cas"])
def test_batches_and_repeats_do_not_matter(fill, rng, name):
    roles = {role: classes(30, rng) for role in ("train", "holdout", "synthetic")}
    whole, parts = fill(name, **roles), fill(name, batch=7, **roles)
    assert whole.compute() == parts.compute() == whole.compute()
    assert whole.intervals() == parts.intervals()


@pytest.mark.parametrize("name", ["c2st", "cas"])
def test_another_seed_is_another_draw(score, rng, name):
    roles = {role: classes(60, rng, apart=0.5) for role in ("train", "holdout")}
    roles["synthetic"] = classes(48, rng, apart=1)
    scores = {tuple(score(name, **roles, fields={"random_state": n}).values()) for n in range(4)}
    assert len(scores) > 1


@pytest.mark.parametrize("name", ["c2st", "cas"])
@pytest.mark.parametrize("alone", ["holdout", "synthetic"])
def test_one_image_is_too_few(score, rng, name, alone):
    roles = {
        role: classes(1 if role == alone else 20, rng) for role in ("train", "holdout", "synthetic")
    }
    with pytest.raises(TooFewImagesError, match=f"{alone} images; got 1"):
        score(name, **roles)


@pytest.mark.parametrize("name", ["c2st", "cas"])
def test_a_feature_that_never_varies_changes_nothing(score, rng, name):
    roles = {role: classes(60, rng, apart=1) for role in ("train", "holdout", "synthetic")}
    wider = {
        role: (torch.cat([features, torch.full((len(features), 1), 3.0)], 1), labels)
        for role, (features, labels) in roles.items()
    }
    assert score(name, **wider) == pytest.approx(score(name, **roles), abs=0.02)


@pytest.mark.parametrize("name", ["c2st", "cas"])
def test_features_that_are_not_numbers_are_refused(score, rng, name):
    roles = {role: classes(30, rng) for role in ("train", "holdout", "synthetic")}
    roles["synthetic"][0][3, 2] = torch.inf
    with pytest.raises(DataError, match="not finite"):
        score(name, **roles)
