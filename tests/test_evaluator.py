from __future__ import annotations

import pytest
import torch

from ganaug import FeatureEvaluator
from ganaug.errors import DataError


class Pixels(FeatureEvaluator):
    higher_is_better = None

    def describe(self, images):
        return images.flatten(1)

    def compute(self):
        return {}


@pytest.fixture
def evaluator():
    seen = Pixels(None)
    for role in ("holdout", "synthetic", "train"):
        for start in (0, 3):
            seen.update(torch.arange(start, start + 3.0)[:, None, None, None], role=role)
    return seen


def test_there_are_no_groups_until_they_are_named(evaluator):
    assert evaluator.groups("holdout") == []
    evaluator.add_groups(["x", "x", "", "y", "y", "y"], role="holdout")
    assert evaluator.groups("holdout") == ["x", "x", "", "y", "y", "y"]
    assert evaluator.groups("synthetic") == []


def test_groups_of_a_role_that_is_not_read_are_passed_over(evaluator):
    evaluator.add_groups(["x"], role="train")


def test_every_image_needs_its_group(evaluator):
    with pytest.raises(DataError, match="the group of each of 6 holdout images; got 2 groups"):
        evaluator.add_groups(["x", "y"], role="holdout")


def test_a_subset_takes_its_groups_along(evaluator):
    evaluator.add_groups(list("abcdef"), role="holdout")
    chosen = evaluator.subset({"holdout": [4, 1], "synthetic": [0, 5]})
    assert chosen.groups("holdout") == ["e", "b"]
    assert chosen.groups("synthetic") == []
    assert chosen.features("holdout").flatten().tolist() == [4, 1]
    assert evaluator.groups("holdout") == list("abcdef")


def test_reset_forgets_groups(evaluator):
    evaluator.add_groups(list("abcdef"), role="holdout")
    evaluator.reset()
    assert evaluator.groups("holdout") == []


def test_images_are_joined_once_and_more_can_come(evaluator):
    whole = evaluator.features("synthetic")
    assert evaluator.features("synthetic").data_ptr() == whole.data_ptr()
    evaluator.update(torch.full((1, 1, 1, 1), 9.0), role="synthetic")
    assert evaluator.features("synthetic").flatten().tolist() == [0, 1, 2, 3, 4, 5, 9]


def test_pixels_that_are_no_numbers_are_refused_whatever_is_kept_of_them(evaluator):
    evaluator.describe = lambda images: images.flatten(1).nan_to_num()
    with pytest.raises(DataError, match="synthetic images are not finite"):
        evaluator.update(torch.full((2, 1, 1, 1), torch.nan), role="synthetic")


def test_shared_work_is_done_once_for_the_same_images_and_anew_for_others():
    class Counts(FeatureEvaluator):
        higher_is_better = None
        minimum_images = 1
        times = 0

        def describe(self, images):
            return images.flatten(1)

        def compute(self):
            return {"n": float(self.once(self.count))}

        def count(self):
            Counts.times += 1
            return len(self.features("synthetic"))

    evaluator = Counts(None)
    evaluator.update(torch.zeros(3, 1, 2, 2), role="synthetic")
    assert [evaluator.compute()["n"] for _ in range(2)] == [3.0, 3.0]
    assert Counts.times == 1
    assert evaluator.subset({"holdout": [], "synthetic": [0]}).compute() == {"n": 1.0}
    evaluator.update(torch.zeros(1, 1, 2, 2), role="synthetic")
    assert evaluator.compute() == {"n": 4.0}
    evaluator.reset()
    evaluator.update(torch.zeros(2, 1, 2, 2), role="synthetic")
    assert evaluator.compute() == {"n": 2.0}
