"""Verdicts, by hand on small numbers and by simulation of grids with known truth."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from benchmark.simulated import World, simulate
from ganaug.benchmark.bootstrap import bootstrap_interval, bootstrap_measure
from ganaug.benchmark.outcomes import Cell, Outcome, Predictions
from ganaug.benchmark.significance import corrected_t, holm, smallest_detectable
from ganaug.benchmark.statistics import choose_reference, compare
from ganaug.errors import ConfigError, DataError, RunError

FOLDS, PER_FOLD = 3, 10


def predictions_of(right, first=0, per_group=1):
    """Predictions of images of class 0, of which some are right."""
    n = len(right)
    rows = range(first, first + n)
    return Predictions(
        ids=tuple(map(str, rows)),
        groups=tuple(str(row // per_group) for row in rows),
        labels=np.zeros(n, dtype=np.int64),
        probabilities=np.where(np.array(right, dtype=bool)[:, None], [0.8, 0.2], [0.3, 0.7]),
    )


def cell_of(arm, repeat, fold, right, validation=5, fraction=1.0, per_group=1):
    """A cell that has so many of its ten test images right, and of its ten validation images."""
    rows = np.arange(PER_FOLD)
    return Outcome(
        cell=Cell(arm=arm, fraction=fraction, repeat=repeat, fold=fold),
        class_names=("a", "b"),
        train=predictions_of(rows < 5),
        validation=predictions_of(rows < validation),
        test=predictions_of(rows < right, fold * PER_FOLD, per_group),
    )


def grid_of(rights, validations=None, **options):
    """A grid of three folds: by arm, how many of ten test images are right in each cell."""
    return [
        cell_of(arm, at // FOLDS, at % FOLDS, right, (validations or {}).get(arm, 5), **options)
        for arm, of_arm in rights.items()
        for at, right in enumerate(of_arm)
    ]


def only(outcomes, reference="untreated", measure="accuracy", **options):
    options = {"bootstraps": 0, **options}
    (difference,) = compare(outcomes, measure, reference=reference, **options)
    return difference


def test_the_corrected_t_is_that_of_nadeau_and_bengio():
    grid = grid_of({"untreated": [5, 5, 5, 5, 5, 5], "synthetic": [7, 8, 6, 7, 9, 8]})
    found = only(grid)
    differences = np.array([0.2, 0.3, 0.1, 0.2, 0.4, 0.3])
    # three folds: a test part is half of what is left for training
    error = differences.std(ddof=1) * math.sqrt(1 / 6 + 1 / 2)
    assert found.mean == pytest.approx(0.25)
    assert (found.value, found.reference_value) == pytest.approx((0.75, 0.5))
    assert found.p == pytest.approx(2 * stats.t.sf(0.25 / error, 5))
    half = stats.t.ppf(0.975, 5) * error
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half))
    assert (found.n, found.arm, found.reference) == (6, "synthetic", "untreated")


def test_an_interval_of_few_cells_ends_where_differences_do():
    found = only(grid_of({"untreated": [0, 5, 5], "synthetic": [10, 5, 6]}))
    assert (found.low, found.high) == (-1.0, 1.0)
    assert found.p > 0.3


def test_a_level_of_its_own_widens_the_interval():
    grid = grid_of({"untreated": [5, 5, 5, 5, 5, 5], "synthetic": [7, 8, 6, 7, 9, 8]})
    strict = only(grid, level=0.01)
    assert strict.low < only(grid).low
    assert strict.verdict == "no benefit shown"
    assert only(grid).verdict == "helps"


def test_cells_are_paired_whatever_order_they_come_in():
    grid = grid_of({"untreated": [5, 6, 4, 5, 7, 5], "synthetic": [7, 8, 6, 7, 9, 8]})
    assert only(grid[::-1]) == only(grid)


def test_the_ratio_of_test_to_training_images_does_not_depend_on_the_fraction():
    rights = {"untreated": [5, 5, 5, 5, 5, 5], "synthetic": [7, 8, 6, 7, 9, 8]}
    assert only(grid_of(rights, fraction=0.1)).p == only(grid_of(rights)).p


def test_one_test_part_for_all_cells_is_compared_with_what_was_trained_on():
    grid = [
        cell_of(arm, repeat, 0, right)
        for arm, rights in {"untreated": [5, 5, 5], "synthetic": [6, 8, 7]}.items()
        for repeat, right in enumerate(rights)
    ]
    error = 0.1 * math.sqrt(1 / 3 + 10 / 20)
    assert only(grid).p == pytest.approx(2 * stats.t.sf(0.2 / error, 2))


def test_holm_adjusts_for_the_number_of_comparisons_that_are_left():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02, None]) == [0.04, None]
    assert holm([]) == []


def test_the_verdict_is_that_of_the_adjusted_p():
    good = {"untreated": [5, 5, 5, 5, 5, 5], "synthetic": [7, 8, 6, 7, 9, 8]}
    others = {f"arm{number}": [5, 6, 4, 5, 6, 5] for number in range(3)}
    alone, *rows = compare(grid_of(good | others), "accuracy", reference="untreated", bootstraps=0)
    assert alone.p == only(grid_of(good)).p < 0.05
    assert alone.p_holm == pytest.approx(4 * alone.p)
    assert alone.verdict == "no benefit shown"
    assert alone.detectable > only(grid_of(good)).detectable
    assert [row.arm for row in rows] == ["arm0", "arm1", "arm2"]


def test_fractions_are_compared_on_their_own_and_adjusted_together():
    rights = {"untreated": [5, 5, 5, 5, 5, 5], "synthetic": [7, 8, 6, 7, 9, 8]}
    worse = {"untreated": [7, 8, 6, 7, 9, 8], "synthetic": [5, 5, 5, 5, 5, 5]}
    grid = grid_of(rights) + grid_of(worse, fraction=0.25)
    full, quarter = compare(grid, "accuracy", reference="untreated", bootstraps=0)
    assert (full.fraction, quarter.fraction) == (1.0, 0.25)
    assert full.mean == pytest.approx(-quarter.mean)
    assert full.p_holm == pytest.approx(2 * full.p)


def test_less_of_a_measure_that_is_better_low_helps():
    grid = grid_of({"untreated": [5, 5, 5, 5, 5, 5], "synthetic": [7, 8, 6, 7, 9, 8]})
    found = only(grid, measure="brier")
    assert (found.mean < 0, found.verdict) == (True, "helps")
    turned = only(grid, measure="brier", reference="synthetic")
    assert (turned.mean > 0, turned.verdict) == (True, "harms")


def test_verdicts_in_words_say_what_could_be_detected():
    base = [5, 5, 5, 5, 5, 5]
    up = only(grid_of({"untreated": base, "synthetic": [7, 8, 6, 7, 9, 8]}))
    assert up.words() == "helps (+25.0 points)"
    down = only(grid_of({"untreated": [7, 8, 6, 7, 9, 8], "synthetic": base}))
    assert down.words() == "harms (-25.0 points)"
    no = only(grid_of({"untreated": base, "synthetic": [5, 6, 4, 6, 4, 5]}))
    assert no.words() == f"no benefit shown (could detect {100 * no.detectable:.1f} points)"
    assert no.to_fields()["words"] == no.words()


def test_the_smallest_detectable_effect_is_found_in_four_cases_of_five():
    """On differences of which the correction of the variance is exactly right."""
    rng, n, ratio, level, comparisons = np.random.default_rng(0), 6, 0.5, 0.05, 4
    correlation = ratio / (1 + ratio)
    shared = math.sqrt(correlation) * rng.normal(size=(2000, 1))
    drawn = shared + math.sqrt(1 - correlation) * rng.normal(size=(2000, n))
    effect = np.mean(
        [smallest_detectable(row, ratio, level=level, comparisons=comparisons) for row in drawn]
    )
    tests = [corrected_t(effect + row, ratio) for row in drawn]
    found = sum(test.p < level / comparisons and test.mean > 0 for test in tests)
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


def test_the_reference_is_the_best_candidate_on_validation_images():
    grid = grid_of(
        {"untreated": [9] * 3, "oversample": [1, 2, 3], "mixup": [5] * 3, "synthetic": [6] * 3},
        validations={"untreated": 4, "oversample": 7, "mixup": 6, "synthetic": 9},
    )
    candidates = ["untreated", "oversample", "mixup"]
    assert choose_reference(grid, "accuracy", candidates) == "oversample"
    assert choose_reference(grid, "brier", candidates) == "oversample"
    rows = compare(grid, "accuracy", candidates=candidates, bootstraps=0)
    assert {row.reference for row in rows} == {"oversample"}
    assert [row.arm for row in rows] == ["untreated", "mixup", "synthetic"]
    named = compare(grid, "accuracy", reference="mixup", candidates=candidates, bootstraps=0)
    assert {row.reference for row in named} == {"mixup"}


def test_the_reference_does_not_depend_on_test_images():
    rng = np.random.default_rng(1)
    grid = simulate(World(), rng)
    names = World().names
    shuffled = [
        dataclasses.replace(
            outcome,
            test=dataclasses.replace(
                outcome.test, probabilities=rng.permutation(outcome.test.probabilities)
            ),
        )
        for outcome in grid
    ]
    for measure in ("auroc", "sensitivity_at_specificity", "f1:c"):
        assert choose_reference(grid, measure, names) == choose_reference(shuffled, measure, names)


def test_each_fraction_has_its_own_reference():
    rights = {"untreated": [5, 5, 5], "oversample": [5, 6, 5], "synthetic": [6, 6, 7]}
    grid = grid_of(rights, {"untreated": 6}) + grid_of(rights, {"oversample": 6}, fraction=0.5)
    rows = compare(grid, "accuracy", candidates=["untreated", "oversample"], bootstraps=0)
    chosen = {(row.fraction, row.reference) for row in rows}
    assert chosen == {(1.0, "untreated"), (0.5, "oversample")}


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    rights = np.random.default_rng(2).integers(0, 10, size=30)
    grid = [cell_of("untreated", 0, fold, right) for fold, right in enumerate(rights)]
    drawn = bootstrap_measure(grid, "accuracy", specificity=0.9, draws=2000, seed=0)
    share = rights.mean() / 10
    # images of a cell are drawn with it: cells are strata but for how many are drawn of each
    within = np.mean(rights / 10 * (1 - rights / 10)) / 300
    assert drawn.mean() == pytest.approx(share, abs=0.005)
    assert drawn.std() == pytest.approx(math.sqrt(within), rel=0.1)


def test_images_of_a_group_are_drawn_together():
    alone = [cell_of("untreated", 0, fold, 5) for fold in range(30)]
    together = [cell_of("untreated", 0, fold, 5, per_group=5) for fold in range(30)]
    spread, wider = (
        bootstrap_measure(grid, "accuracy", specificity=0.9, draws=1000, seed=0).std()
        for grid in (alone, together)
    )
    assert wider > 1.7 * spread  # the root of five, less what a fold of two groups can lose


def test_a_group_is_drawn_as_often_in_every_repeat():
    once = grid_of({"untreated": [5, 6, 7]})
    repeated = grid_of({"untreated": [5, 6, 7] * 4})
    spread, same = (
        bootstrap_measure(grid, "accuracy", specificity=0.9, draws=300, seed=0)
        for grid in (once, repeated)
    )
    assert same == pytest.approx(spread)


def test_the_bootstrap_is_of_paired_differences():
    rights = {"untreated": [5, 6, 4], "twin": [5, 6, 4], "synthetic": [7, 7, 8]}
    twin, synthetic = compare(grid_of(rights), "accuracy", reference="untreated", bootstraps=200)
    assert (twin.bootstrap_low, twin.bootstrap_high) == (0.0, 0.0)
    assert 0.0 < synthetic.bootstrap_low < synthetic.mean < synthetic.bootstrap_high
    again = compare(grid_of(rights), "accuracy", reference="untreated", bootstraps=200)[1]
    other = compare(grid_of(rights), "accuracy", reference="untreated", bootstraps=200, seed=1)[1]
    assert again == synthetic
    assert other.bootstrap_low != synthetic.bootstrap_low or other.high == synthetic.high


def test_without_draws_there_is_no_bootstrap_interval():
    found = only(grid_of({"untreated": [5, 6, 4], "synthetic": [7, 7, 8]}), bootstraps=0)
    assert (found.bootstrap_low, found.bootstrap_high) == (None, None)
    assert bootstrap_interval(np.array([np.nan])) is None


def test_one_cell_has_no_interval_and_says_so():
    found = only([cell_of("untreated", 0, 0, 5), cell_of("synthetic", 0, 0, 9)], bootstraps=50)
    assert (found.low, found.high, found.p, found.p_holm, found.detectable) == (None,) * 5
    assert found.mean == pytest.approx(0.4)
    assert found.words() == "no benefit shown (one cell, so that chance is unknown)"
    assert found.bootstrap_low < found.mean < found.bootstrap_high


@pytest.mark.parametrize(
    ("right", "words"),
    [(5, "the same in every cell"), (7, "+20.0 points in every cell, so no test")],
)
def test_the_same_difference_in_every_cell_is_no_test_and_says_so(right, words):
    found = only(grid_of({"untreated": [5, 5, 5], "synthetic": [right] * 3}))
    assert (found.low, found.p, found.detectable) == (None,) * 3
    assert found.words() == f"no benefit shown ({words})"


def test_cells_that_chose_nothing_do_not_make_a_benchmark_look_sharper():
    """Half of the cells chose no images: what they could detect is that of the others."""
    all_differ, half_differ = np.array([0.1, -0.1, 0.1, -0.1] * 2), np.array([0.1, -0.1, 0, 0] * 2)
    asked = {"level": 0.05, "comparisons": 1}
    every, half = (smallest_detectable(row, 0.5, **asked) for row in (all_differ, half_differ))
    assert corrected_t(half_differ, 0.5).error < 0.75 * corrected_t(all_differ, 0.5).error
    assert half == pytest.approx(every, rel=0.2)
    assert smallest_detectable(np.array([0.1, 0.0, 0.0]), 0.5, **asked) is None


def test_one_cell_that_differs_says_nothing_of_what_could_be_detected():
    found = only(grid_of({"untreated": [5, 5, 5], "synthetic": [5, 5, 7]}))
    assert found.p is not None
    assert (found.equal, found.detectable) == (2, None)
    assert found.words() == "no benefit shown (the same in 2 of 3 cells)"


def test_cells_without_the_class_are_left_out():
    grid = grid_of({"untreated": [5, 6, 4], "synthetic": [7, 7, 8]})
    found = only(grid, measure="auroc:b", bootstraps=20)
    assert found.n == 0
    assert math.isnan(found.mean)
    assert found.bootstrap_low is None
    assert found.words() == "no benefit shown (auroc:b could not be computed in any cell)"
    some = simulate(World(patients=20, prevalences=(0.6, 0.3, 0.1)), np.random.default_rng(1))
    rows = compare(some, "auroc:c", reference="arm0", bootstraps=20)
    assert {row.n for row in rows} == {4}


def test_only_the_reference_leaves_nothing_to_compare():
    assert compare(grid_of({"untreated": [5, 6, 4]}), "accuracy", reference="untreated") == []


def test_missing_cells_are_named():
    grid = grid_of({"untreated": [5, 6, 4], "synthetic": [7, 7, 8]})
    with pytest.raises(RunError, match=r"1 of 6 are missing .*: synthetic/1/0/2\. Resume"):
        only(grid[:-1])
    many = [*grid[:1], *grid_of({"synthetic": [7] * 9})]
    with pytest.raises(RunError, match=r"8 of 18 are missing .*untreated/1/1/2 and 3 more\."):
        only(many)


def test_a_cell_that_is_there_twice_is_an_error():
    grid = grid_of({"untreated": [5, 6, 4], "synthetic": [7, 7, 8]})
    with pytest.raises(RunError, match="untreated/1/0/0 is there twice"):
        only([*grid, grid[0]])


def test_cells_of_different_test_images_are_not_compared():
    grid = [cell_of("untreated", 0, 0, 5), cell_of("synthetic", 0, 0, 5)]
    moved = dataclasses.replace(grid[1], test=predictions_of([True] * PER_FOLD, 1))
    with pytest.raises(RunError, match=r"untreated/1/0/0 and synthetic/1/0/0 .*different images"):
        only([grid[0], moved])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "untreatd"}, "no results of the arm 'untreatd'.*Did you mean 'untreated'?"),
        ({"reference": None, "candidates": ["mixup"]}, "no results of the arm 'mixup'"),
        ({"reference": None}, "A reference is needed.*none given.*Name an arm as reference"),
        ({"measure": "train_accuracy"}, "'train_accuracy' is not of test images"),
        ({"measure": "auc"}, "no measure 'auc'"),
        ({"level": 5}, "level is between 0 and 1; got 5"),
        ({"specificity": 1.0}, "specificity is between 0 and 1; got 1.0"),
    ],
)
def test_what_cannot_be_compared_is_an_error(options, message):
    grid = grid_of({"untreated": [5, 6, 4], "synthetic": [7, 7, 8]})
    with pytest.raises(ConfigError, match=message):
        only(grid, **options)


def test_no_results_are_an_error():
    with pytest.raises(DataError, match="no results to compare"):
        compare([], "accuracy", reference="untreated")


def false_alarms(world, grids, seed=0):
    """Count grids with any verdict but "no benefit shown", though all arms are equally good."""
    rng = np.random.default_rng(seed)
    count = 0
    for _ in range(grids):
        rows = compare(
            simulate(world, rng),
            "balanced_accuracy",
            candidates=world.names[:2],
            partners=dict(zip(world.names[2:4], world.names[:2], strict=True)),
            bootstraps=0,
        )
        count += any(row.verdict != "no benefit shown" for row in rows)
    return count


def test_at_most_64_of_1000_screenings_without_an_effect_are_false_alarms():
    assert false_alarms(World(), 1000) <= 64


def test_full_grids_without_an_effect_are_no_more_often_false_alarms():
    # at a rate of 5 %, chance leaves 19 of 250 at most, as it leaves 64 of 1,000
    assert false_alarms(World(folds=5, repeats=5), 250) <= 19


def test_the_detectable_effect_is_found_in_at_least_four_grids_of_five():
    world = World(patients=120, separation=1.0, effects=(0.0, 0.0, 0.0, 1.1))
    rng, grids = np.random.default_rng(0), 300
    rows = [
        compare(simulate(world, rng), "balanced_accuracy", reference="arm0", bootstraps=0)[-1]
        for _ in range(grids)
    ]
    effect = np.mean([row.mean for row in rows])
    stated = np.mean([row.detectable for row in rows])
    assert 0.95 * stated < effect <= stated
    found = np.mean([row.verdict == "helps" for row in rows])
    assert found >= 0.8 - 3 * math.sqrt(0.8 * 0.2 / grids)


def test_holms_level_is_what_keeps_ten_arms_from_false_alarms(monkeypatch):
    monkeypatch.setattr("ganaug.benchmark.statistics.holm", lambda ps: list(ps))
    assert false_alarms(World(arms=10, alike=0.0), 100) > 10


# --- partners -------------------------------------------------------------------------------------


def test_an_arm_with_a_partner_is_compared_with_that_and_others_are_left_out():
    rows = grid_of(
        {"untreated": (5, 5, 6), "classical": (7, 8, 7), "classical+synthetic": (8, 8, 9)}
    )
    partners = {"classical+synthetic": "classical"}
    (difference,) = compare(rows, "accuracy", partners=partners, bootstraps=0)
    assert (difference.arm, difference.reference) == ("classical+synthetic", "classical")
    assert difference.mean == pytest.approx(0.1)


def test_partners_and_a_reference_are_one_family_and_no_two_arms_are_compared_twice():
    rows = grid_of(
        {"plain": (5, 5, 6), "mixed": (6, 7, 8), "plain+s": (7, 8, 8), "mixed+s": (8, 9, 9)}
    )
    partners = {"plain+s": "plain", "mixed+s": "mixed"}
    found = compare(rows, "accuracy", reference="plain", partners=partners, bootstraps=0)
    assert sorted((each.arm, each.reference) for each in found) == [
        ("mixed", "plain"),
        ("mixed+s", "mixed"),
        ("mixed+s", "plain"),
        ("plain+s", "plain"),
    ]
    assert [each.p_holm for each in found] == holm([each.p for each in found])


def test_a_partner_without_results_is_named():
    rows = grid_of({"untreated": (5, 5, 6), "synthetic": (7, 8, 7)})
    with pytest.raises(ConfigError, match="no results of the arm 'plain'"):
        compare(rows, "accuracy", partners={"synthetic": "plain"})
