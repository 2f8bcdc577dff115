"""Which ratio is chosen, by which validation images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ganaug.benchmark.choosing import choose_ratio
from ganaug.benchmark.outcomes import Cell, Outcome, Predictions

N = 120
NAMES = ("nv", "mel", "bcc")


def predictions(right, seed=0, groups=1):
    """Certain answers to N images, right where `right` says so, bool (N,)."""
    labels = np.random.default_rng(seed).integers(0, 3, len(right))
    called = np.where(right, labels, (labels + 1) % 3)
    rows = range(len(right))
    return Predictions(
        ids=tuple(map(str, rows)),
        groups=tuple(f"patient {row // groups}" for row in rows),
        labels=labels.astype(np.int64),
        probabilities=np.eye(3)[called],
    )


def outcome_of(right, **options):
    nothing = predictions(np.zeros(9, dtype=bool))
    unknown = replace(nothing, probabilities=np.full((9, 3), np.nan))
    return Outcome(
        cell=Cell(arm="synthetic", fraction=1.0, repeat=0, fold=0),
        class_names=NAMES,
        train=unknown,
        validation=predictions(right, **options),
        test=unknown,
    )


def first(count):
    return np.arange(N) < count


def choose(rights, measure="accuracy", seed=0, **options):
    outcomes = {ratio: outcome_of(right, **options) for ratio, right in rights.items()}
    return choose_ratio(outcomes, measure, specificity=0.9, seed=seed)


def test_the_error_is_the_standard_error_of_the_paired_difference():
    rng = np.random.default_rng(0)
    one, other = rng.random(N) < 0.6, rng.random(N) < 0.7
    differences = other.astype(float) - one
    found = choose({0.0: one, 0.5: other, 1.0: one})
    assert found.errors[0.5] == pytest.approx(differences.std() / N**0.5, rel=0.12)
    assert found.errors[1.0] == 0
    assert found.scores == {0.0: one.mean(), 0.5: other.mean(), 1.0: one.mean()}


def test_groups_are_drawn_whole():
    rng = np.random.default_rng(0)
    one = np.zeros(N, dtype=bool)
    other = np.repeat(rng.random(N // 6) < 0.5, 6)
    alone, together = (choose({0.0: one, 1.0: other}, groups=n).errors[1.0] for n in (1, 6))
    assert together == pytest.approx(alone * 6**0.5, rel=0.15)


@pytest.mark.parametrize(("gained", "lost", "ratio"), [(9, 8, 0.0), (12, 7, 1.0), (0, 9, 0.0)])
def test_another_ratio_is_chosen_only_above_one_standard_error(gained, lost, ratio):
    # The error of the number of images is about the root of those that differ: 4.1, 4.4, 3.
    other = first(60)
    other[:lost] = False
    other[60 : 60 + gained] = True
    assert choose({0.0: first(60), 1.0: other}).ratio == ratio


def test_of_those_that_are_better_the_best_is_chosen_and_of_equals_the_first():
    found = choose({0.0: first(40), 0.25: first(60), 0.5: first(90), 1.0: first(90)})
    assert found.ratio == 0.5


def test_a_better_but_noisier_ratio_is_passed_over_for_one_that_is_surely_better():
    noisy = ~first(60)
    noisy[:5] = True  # 65 right, all but 5 of them others: an error of 10
    found = choose({0.0: first(60), 0.5: first(63), 1.0: noisy})
    assert found.scores[1.0] > found.scores[0.5]
    assert found.ratio == 0.5


def test_lower_is_better_where_the_measure_says_so():
    assert choose({0.0: first(40), 1.0: first(90)}, "brier").ratio == 1.0
    assert choose({0.0: first(90), 1.0: first(40)}, "brier").ratio == 0.0


@pytest.mark.parametrize(
    "measure", ["train_accuracy", "validation_accuracy", "balanced_accuracy", "auroc:mel"]
)
def test_validation_images_alone_are_looked_at_whatever_is_measured(measure):
    found = choose({0.0: first(40), 1.0: first(90)}, measure)
    assert found.ratio == 1.0  # predictions of other images are NaN, which would be an error


def test_what_cannot_be_told_changes_nothing():
    one_group = choose({0.0: first(40), 1.0: first(90)}, groups=N)
    assert np.isnan(one_group.errors[1.0])
    assert one_group.ratio == 0.0
    outcomes = {ratio: outcome_of(first(count)) for ratio, count in ((0.0, 40), (1.0, 90))}
    few = {
        ratio: replace(each, validation=replace(each.validation, labels=np.zeros(N, np.int64)))
        for ratio, each in outcomes.items()
    }
    found = choose_ratio(few, "auroc:mel", specificity=0.9, seed=0)
    assert np.isnan(found.scores[1.0])
    assert found.ratio == 0.0


def test_one_candidate_is_no_choice():
    found = choose({None: first(40)})
    assert (found.ratio, found.errors) == (None, {})


def test_the_same_seed_gives_the_same_choice():
    rights = {0.0: first(60), 1.0: ~first(40)}
    one, same, other = (choose(rights, seed=seed).errors[1.0] for seed in (0, 0, 1))
    assert one == same != other


def test_where_all_are_worth_the_same_most_choices_are_to_add_nothing():
    rng = np.random.default_rng(0)
    chosen, highest = [], []
    for _ in range(60):
        rights = {ratio: rng.random(N) < 0.6 for ratio in (0.0, 0.25, 0.5, 1.0, 1.5)}
        found = choose(rights)
        chosen.append(found.ratio)
        highest.append(max(found.scores, key=found.scores.get))
    assert np.mean(np.array(highest) == 0) < 0.35
    assert np.mean(np.array(chosen) == 0) > 0.5
