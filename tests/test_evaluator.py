from __future__ import annotations

import pytest
import torch

from ganaug import FeatureEvaluator
from ganaug import evaluator as evaluator_module
from ganaug.errors import DataError, TooFewImagesError


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


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_number_that_is_none_is_enough_to_be_refused(evaluator, value):
    images = torch.zeros(3, 1, 2, 2)
    images[1, 0, 1, 0] = value
    with pytest.raises(DataError, match="holdout images are not finite"):
        evaluator.update(images, role="holdout")


def test_images_of_which_nothing_is_kept_are_finite(evaluator):
    evaluator.describe = lambda images: images.flatten(1)[:, :0].to(torch.uint8)
    evaluator.reset()
    evaluator.update(torch.zeros(2, 1, 1, 1), role="holdout")
    assert evaluator.features("holdout").shape == (2, 0)


class Differences:
    """What each number of one role is above each of another, a row at a time."""

    def __init__(self):
        self.asked = []

    def __call__(self, left, right):
        self.asked.append((len(left), len(right)))
        for row in left:
            yield row - right.T


DRAWS = (
    {"holdout": [4, 1], "synthetic": [0, 5, 2]},
    {"holdout": [3, 0, 2], "synthetic": [1, 2]},
)


def test_pairs_are_of_the_columns_that_are_asked_for(evaluator):
    every = torch.arange(6.0)
    found = torch.cat(list(evaluator.pairs(Differences(), "holdout", "synthetic")))
    assert torch.equal(found, every[:, None] - every)
    columns = torch.tensor([1, 0, 3])
    some = evaluator.pairs(Differences(), "holdout", "synthetic", columns=columns)
    assert torch.equal(torch.cat(list(some)), found[:, columns])


def test_subsets_take_their_pairs_from_what_was_found_once(evaluator, monkeypatch):
    monkeypatch.setattr(evaluator_module, "_BLOCK_VALUES", 3)
    compare, order = Differences(), torch.tensor([1, 0])
    for chosen, draw in zip(evaluator.subsets(DRAWS), DRAWS, strict=True):
        left, right = (chosen.features(role) for role in ("holdout", "synthetic"))
        assert left.flatten().tolist() == draw["holdout"]
        for _ in range(2):  # a block is the caller's to write to
            blocks = list(chosen.pairs(compare, "holdout", "synthetic"))
            assert torch.equal(torch.cat(blocks), left - right.T)
            blocks[0].fill_(-1)
        some = chosen.pairs(compare, "holdout", "synthetic", columns=order)
        assert torch.equal(torch.cat(list(some)), left - right[order].T)
    assert compare.asked == [(6, 6)]


def test_too_many_pairs_are_found_for_each_subset_anew(evaluator, monkeypatch):
    monkeypatch.setattr(evaluator_module, "_MOST_KEPT", 35)
    compare = Differences()
    for chosen in evaluator.subsets(DRAWS):
        left, right = (chosen.features(role) for role in ("holdout", "synthetic"))
        found = torch.cat(list(chosen.pairs(compare, "holdout", "synthetic")))
        assert torch.equal(found, left - right.T)
    assert compare.asked == [(2, 3), (3, 2)]


def test_a_subset_that_sees_more_images_has_pairs_of_its_own(evaluator):
    (chosen,) = evaluator.subsets(DRAWS[:1])
    chosen.update(torch.full((1, 1, 1, 1), 9.0), role="synthetic")
    found = torch.cat(list(chosen.pairs(Differences(), "holdout", "synthetic")))
    assert found.tolist() == [[4, -1, 2, -5], [1, -4, -1, -8]]


def test_pairs_need_as_many_images_as_features_do(evaluator):
    (chosen,) = evaluator.subsets([{"holdout": [1], "synthetic": [0, 1]}])
    with pytest.raises(TooFewImagesError, match="at least 2 holdout images; got 1"):
        list(chosen.pairs(Differences(), "holdout", "synthetic"))


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
