"""What sizes and intensities predict of the class."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug.probes import probe_shortcuts


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def probed(labels, *, widths=None, heights=None, means=None, units=None, names="abcdef"):
    n = len(labels)
    labels = np.asarray(labels)
    return probe_shortcuts(
        widths=np.full(n, 30) if widths is None else widths,
        heights=np.full(n, 20) if heights is None else heights,
        means=np.full(n, 0.5) if means is None else means,
        labels=labels,
        class_names=tuple(names[: labels.max() + 1]),
        units=np.arange(n) if units is None else units,
    )


def test_a_width_that_goes_with_the_class_is_found(rng):
    labels = np.arange(80) % 2
    found = probed(labels, widths=30 + 6 * labels + rng.integers(0, 8, 80))
    assert found.auc("width") > 0.8
    assert found.auc("size") > 0.8
    assert found.auc("all") > 0.8
    assert found.auc("all") == found.auc("size")
    assert found.auc("height") is None
    assert found.auc("mean intensity") is None
    assert (found.images, found.units, found.folds, found.reason) == (80, 80, 5, None)


def test_a_class_of_middle_sizes_is_found_as_well():
    labels = np.arange(90) % 3 // 2  # every third image
    widths = np.where(labels, 50, np.where(np.arange(90) % 2, 20, 80))
    assert probed(labels, widths=widths).auc("width") == 1


def test_only_the_aspect_may_give_the_class_away(rng):
    labels = np.arange(200) % 2
    widths = rng.integers(100, 1000, 200)
    heights = np.where(labels, 0.95, 1.05) * widths
    found = probed(labels, widths=widths, heights=heights)
    assert found.auc("width / height") == 1
    assert found.auc("width") < 0.65


def test_noise_stays_below_what_chance_reaches(rng):
    labels = np.arange(300) % 3
    found = probed(labels, means=rng.random(300))
    assert found.auc("mean intensity") < found.chance
    assert 0.55 < found.chance < 0.65


def test_several_classes_are_averaged_each_against_the_rest():
    labels = np.arange(120) % 4
    found = probed(labels, means=(labels == 0).astype(float))
    assert found.auc("mean intensity") == pytest.approx((1 + 3 * 2 / 3) / 4, abs=0.1)


def test_rows_of_one_unit_are_never_on_both_sides(rng):
    units = np.repeat(np.arange(20), 10)
    labels = units % 2
    means = rng.random(20)[units]  # a unit's mean says which unit it is, not which class
    apart = probed(labels, means=means)
    whole = probed(labels, means=means, units=units)
    assert apart.auc("mean intensity") > 0.95
    assert whole.auc("mean intensity") < 0.8
    assert whole.units == 20
    assert whole.chance > apart.chance


def test_classes_with_too_few_images_or_units_are_left_out_by_name():
    labels = np.repeat([0, 1, 2, 3], [20, 20, 9, 12])
    units = np.where(labels == 3, 1000 + np.arange(61) % 4, np.arange(61))
    found = probed(labels, units=units)
    assert found.left_out == ("c", "d")
    assert found.images == 40


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([0] * 30, "there is one class only"), ([0] * 30 + [1] * 5, "fewer than two classes")],
)
def test_why_there_is_nothing_to_probe_is_said(labels, reason):
    found = probed(labels)
    assert reason in found.reason
    assert (found.probes, found.chance) == ((), None)


def test_images_without_a_mean_are_no_obstacle():
    labels = np.arange(60) % 2
    means = np.where(np.arange(60) < 4, np.nan, labels)
    assert probed(labels, means=means).auc("mean intensity") > 0.9
