from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_images
from scipy.stats import t

from ganaug import FeatureEvaluator, LabelledImages
from ganaug.errors import TooFewImagesError
from ganaug.resampling import (
    _QUANTILE_95,
    HALVES,
    beside,
    draw_by_class,
    half_of,
    half_sample_intervals,
)


class Mean(FeatureEvaluator):
    """The mean of a value an image, the first pixel."""

    higher_is_better = None
    roles = ("synthetic",)

    def describe(self, images):
        return images.flatten(1)[:, :1].double()

    def compute(self):
        return {"mean": float(self.features("synthetic").mean())}


def interval_of_mean(values, rng, groups=None):
    images = LabelledImages(
        pixels=np.zeros((len(values), 1, 2, 2), dtype=np.uint8),
        labels=np.zeros(len(values), dtype=np.int64),
        class_names=("a",),
        value_range=(0.0, 255.0),
        groups=groups,
    )
    metric = Mean(None)
    metric.update(torch.tensor(values)[:, None, None, None].expand(-1, 1, 2, 2), role="synthetic")
    found, _ = half_sample_intervals(metric, metric.compute(), {"synthetic": images}, rng)
    return found["mean"]


def test_the_quantile_is_students_for_so_many_halves():
    assert pytest.approx(t.ppf(0.975, HALVES - 1), abs=1e-3) == _QUANTILE_95


def test_an_interval_is_as_wide_as_the_standard_error_of_a_mean_says():
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(150):
        values = rng.normal(size=60)
        low, high = interval_of_mean(values, rng)
        widths.append((high - low) / 2 / (values.std(ddof=1) / np.sqrt(60)))
    # A deviation of 20 is 1.3 % too small on average; 150 of them are known to 1.3 %.
    assert np.mean(widths) == pytest.approx(2.093 * 0.987, rel=0.04)


def test_nineteen_of_twenty_intervals_hold_the_true_mean():
    rng = np.random.default_rng(1)
    held = [
        low < 0 < high
        for low, high in (interval_of_mean(rng.normal(size=60), rng) for _ in range(200))
    ]
    assert 0.92 <= np.mean(held) <= 0.98


def test_images_of_a_group_are_no_evidence_of_their_own():
    rng = np.random.default_rng(2)
    groups = tuple(f"patient {row // 10}" for row in range(200))
    held = []
    for _ in range(100):
        values = np.repeat(rng.normal(size=20), 10)
        low, high = interval_of_mean(values, rng, groups)
        held.append(low < 0 < high)
    assert 0.88 <= np.mean(held) <= 0.99  # one image at a time, 45 %


def test_half_of_each_class_is_drawn_and_never_a_row_twice():
    images = make_images(61, classes=3)
    half = half_of(images, np.random.default_rng(0))
    assert len(set(half.tolist())) == len(half)
    assert len(half) in (30, 31)
    assert all(9 <= count <= 11 for count in images.subset(half).counts.values())


def test_rows_without_a_group_are_drawn_alone():
    images = replace(make_images(30), groups=("",) * 28 + ("a", "a"))
    assert len(half_of(images, np.random.default_rng(0))) in (14, 15, 16)


@pytest.mark.parametrize("groups", [None, tuple(f"lesion {row // 4}" for row in range(60))])
def test_so_many_of_each_class_are_drawn_once(groups):
    images = replace(make_images(60, classes=3), groups=groups)
    rows = draw_by_class(images, {"a": 7, "b": 0, "c": 11}, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 18
    assert images.subset(rows).counts == {"a": 7, "b": 0, "c": 11}


def test_rows_are_drawn_in_whole_groups_but_the_last():
    images = replace(make_images(60), groups=tuple(f"{row // 6}" for row in range(60)))
    for seed in range(5):
        rows = draw_by_class(images, {"a": 20}, np.random.default_rng(seed))
        sizes = sorted(np.unique(rows // 6, return_counts=True)[1].tolist())
        assert sizes == [2, 6, 6, 6]


def test_every_row_is_drawn_as_often_as_any_other():
    images, rng = make_images(10), np.random.default_rng(0)
    drawn = np.concatenate([draw_by_class(images, {"a": 5}, rng) for _ in range(400)])
    assert np.bincount(drawn).min() > 150


def test_a_class_with_fewer_images_is_named():
    with pytest.raises(TooFewImagesError, match="class 'b' has 5 training images.* of 6 synthetic"):
        draw_by_class(make_images(10, classes=2), {"a": 1, "b": 6}, np.random.default_rng(0))


def test_beside_rows_are_those_that_share_no_group_with_them():
    images = replace(make_images(6), groups=("x", "x", "y", "", "", "y"))
    assert beside(images, np.array([0, 3])).tolist() == [2, 4, 5]
    assert beside(replace(images, groups=None), np.array([0, 3])).tolist() == [1, 2, 4, 5]
