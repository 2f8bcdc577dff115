"""The facts of an image set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ganaug.errors import DataError
from ganaug.inspection import inspect_images
from ganaug.spec import LabelledImages


def images_of(pixels, labels, **columns):
    defaults = {"class_names": ("a", "b", "none"), "value_range": (0, 255)}
    return LabelledImages(pixels=pixels, labels=np.array(labels), **(defaults | columns))


@pytest.fixture
def mixed():
    pixels = [
        np.full((1, 4, 6), 10, np.uint8),
        np.full((1, 4, 6), 200, np.uint8),
        np.full((3, 8, 8), 30, np.uint8),
        np.full((1, 4, 6), 50, np.uint16),
    ]
    return images_of(
        pixels,
        [0, 0, 0, 1],
        groups=("p", "p", "", "q"),
        splits=("training", "training", "holdout", "training"),
    )


def test_the_facts_of_a_mixed_set(mixed):
    facts = inspect_images(mixed)
    assert facts.images == 4
    assert facts.counts == {"a": 3, "b": 1, "none": 0}
    assert facts.shares == {"a": 0.75, "b": 0.25, "none": 0}
    assert facts.imbalance_ratio == 3
    assert facts.sizes == ((4, 6, 3), (8, 8, 1))
    assert facts.distinct_sizes == 2
    assert facts.modes == ((1, "uint8", 2), (3, "uint8", 1), (1, "uint16", 1))
    assert facts.values_found == (10, 200)
    assert facts.value_range == (0, 255)
    assert (facts.groups, facts.images_without_group) == (2, 1)
    assert facts.splits == {"training": 3, "holdout": 1}


def test_json_holds_every_fact(mixed):
    facts = json.loads(json.dumps(inspect_images(mixed).to_json()))
    assert facts["sizes"][0] == {"height": 4, "width": 6, "images": 3}
    assert facts["modes"][2] == {"channels": 1, "dtype": "uint16", "images": 1}
    assert facts["values_found"] == [10, 200]
    assert set(facts) == set(inspect_images(mixed).__slots__)


def test_sets_without_groups_or_splits_have_none():
    facts = inspect_images(images_of(np.zeros((2, 1, 4, 4), np.uint8), [0, 1]))
    assert (facts.groups, facts.images_without_group, facts.splits) == (None, 0, None)


def test_only_a_handful_of_sizes_is_listed():
    pixels = [np.zeros((1, side, side), np.uint8) for side in range(1, 30)]
    facts = inspect_images(images_of(pixels, [0] * 29))
    assert (len(facts.sizes), facts.distinct_sizes) == (6, 29)


def test_values_that_are_not_finite_are_counted_and_left_out():
    pixels = np.zeros((3, 1, 4, 4), np.float32)
    pixels[0, 0, 0, 0], pixels[0, 0, 0, 1], pixels[1, 0, 0, 0] = np.nan, 0.5, np.inf
    facts = inspect_images(images_of(pixels, [0, 0, 1]))
    assert (facts.nonfinite_images, facts.values_found) == (2, (0, 0.5))
    nothing = inspect_images(images_of(np.full((1, 1, 2, 2), np.nan, np.float32), [0]))
    assert nothing.values_found is None
    assert json.dumps(nothing.to_json(), allow_nan=False)


def test_images_are_read_once_each(mixed):
    reads = []

    class Pixels(list):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    inspect_images(images_of(Pixels(mixed.pixels), mixed.labels))
    assert reads == [0, 1, 2, 3]


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="no images to inspect"):
        inspect_images(images_of(np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, np.int64)))
