"""The facts of an image set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ganaug.errors import DataError
from ganaug.inspection import inspect_images
from ganaug.measurements import measure_images
from ganaug.spec import LabelledImages


def images_of(pixels, labels, **columns):
    defaults = {"class_names": ("a", "b", "none"), "value_range": (0, 255)}
    return LabelledImages(pixels=pixels, labels=np.array(labels), **(defaults | columns))


def noise(n):
    """n different images of 32x32 pixels."""
    return list(np.random.default_rng(0).integers(0, 256, (n, 1, 32, 32), dtype=np.uint8))


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


def test_images_are_read_once_each():
    reads = []

    class Pixels(list):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    images = images_of(Pixels(noise(4)), [0, 0, 1, 1])
    measured = measure_images(images)
    assert reads == [0, 1, 2, 3]
    inspect_images(images, measured)
    assert reads == [0, 1, 2, 3]


def test_what_an_image_measures():
    image = np.zeros((3, 20, 30), np.uint8)
    image[0], image[1], image[2, :10] = 40, 90, 200
    measured = measure_images(images_of([image], [0]))
    assert (measured.heights[0], measured.widths[0], measured.channels[0]) == (20, 30, 3)
    assert measured.channel_means[0].tolist() == [40, 90, 100]
    assert measured.means[0] == pytest.approx((40 + 90 + 100) / 3)
    assert (measured.lowest[0], measured.highest[0]) == (0, 200)
    assert not measured.constant[0]
    assert not measured.hashes.blank[0]


def test_means_of_mixed_depths_are_in_the_units_of_the_set():
    deep = np.full((1, 20, 20), 65535, np.uint16)
    measured = measure_images(images_of([np.full((1, 20, 20), 51, np.uint8), deep], [0, 1]))
    assert measured.means.tolist() == [51, 255]
    assert measured.highest.tolist() == [51, 65535]
    stated = images_of([deep[..., :5]], [0], value_range=(0, 70_000))
    assert measure_images(stated).means.tolist() == [65535]


def test_colour_images_that_are_grey_are_counted():
    grey, colour = noise(2)
    facts = inspect_images(images_of([np.repeat(grey, 3, 0), np.repeat(colour, 1, 0)], [0, 1]))
    assert facts.colourless_images == 1


def test_images_of_one_value_or_almost_are_named():
    flat = np.full((1, 20, 20), 9, np.uint8)
    speck = flat.copy()
    speck[0, 3, 3] = 12
    stripes = np.zeros((3, 20, 20), np.uint8)
    stripes[1] = 200  # one colour
    ids = ("noisy", "flat", "speck", "stripes")
    facts = inspect_images(images_of([*noise(1), flat, speck, stripes], [0, 0, 1, 1], ids=ids))
    assert facts.constant == ("flat", "stripes")
    assert facts.almost_constant == ("speck",)


def test_narrow_values_in_a_wide_dtype_are_not_almost_constant():
    pixels = [(image.astype(np.uint16) * 4) for image in noise(3)]  # 10 bits of 16
    facts = inspect_images(images_of(pixels, [0, 0, 1], value_range=(0, 65535)))
    assert facts.almost_constant == ()


def test_groups_are_counted_and_their_leaks_named():
    facts = inspect_images(
        images_of(
            noise(7),
            [0, 0, 1, 0, 0, 1, 1],
            groups=("p", "p", "p", "q", "q", "", ""),
            splits=("training", "training", "training", "training", *["holdout"] * 3),
        )
    )
    assert (facts.groups, facts.images_without_group) == (2, 2)
    assert facts.images_per_group == {"smallest": 2, "median": 2.5, "largest": 3}
    assert facts.groups_of_several_labels == ("p",)
    assert facts.groups_across_splits == ("q",)


def test_duplicates_are_described_and_the_worst_come_first():
    one, two, three = noise(3)
    facts = inspect_images(
        images_of(
            [one, one, two, three, two],
            [0, 0, 0, 1, 1],
            groups=("p", "p", "q", "", "r"),
            splits=("training", "training", "training", "holdout", "holdout"),
            ids=("a", "b", "c", "d", "e"),
        )
    )
    assert [cluster.ids for cluster in facts.duplicates] == [("c", "e"), ("a", "b")]
    worst = facts.duplicates[0]
    assert worst.exact
    assert worst.classes == ("a", "b")
    assert worst.groups == ("q", "r")
    assert worst.splits == ("holdout", "training")
    assert not worst.within_group
    assert facts.duplicates[1].reach == (False, False, False)
    assert facts.duplicates[1].within_group
    assert facts.exact_duplicates == facts.duplicates


def test_near_duplicates_are_not_called_exact():
    y, x = np.mgrid[:64, :64] / 64
    image = (120 + 60 * np.sin(9 * x) * np.cos(7 * y) + 40 * x)[None].round().astype(np.uint8)
    other = noise(1)[0]
    facts = inspect_images(images_of([image, image + 5, other], [0, 0, 1]))
    assert [(cluster.rows, cluster.exact) for cluster in facts.duplicates] == [((0, 1), False)]
    assert facts.exact_duplicates == ()


def test_channel_means_are_described_by_class():
    red = np.zeros((3, 20, 20), np.uint8)
    red[0] = 200
    images = [red, red // 2, *noise(1)]
    means = inspect_images(images_of(images, [0, 0, 1])).channel_means
    assert means["a"]["red"]["mean"] == 150
    assert means["a"]["red"]["sd"] == pytest.approx(50 * 2**0.5)
    assert means["a"]["red"]["p95"] == 195
    assert means["a"]["blue"]["median"] == 0
    assert means["a"]["grey"]["images"] == 2
    assert set(means["b"]) == {"grey"}
    assert means["none"] == {}


def test_shortcuts_are_probed_with_duplicates_and_groups_whole():
    pixels = [image[:, :, : 20 + 5 * (row % 2)] for row, image in enumerate(noise(40))]
    pixels[3] = pixels[1]
    groups = ("", "", "", "", *(f"g{row // 4}" for row in range(4, 40)))
    facts = inspect_images(images_of(pixels, np.arange(40) % 2, groups=groups))
    assert facts.shortcuts.auc("width") == 1
    assert facts.shortcuts.units == 9 + 3


def test_an_item_of_another_shape_is_named():
    with pytest.raises(DataError, match="Image 1: expected the shape"):
        inspect_images(images_of([*noise(1), np.zeros((4, 4), np.uint8)], [0, 1]))


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="no images to inspect"):
        inspect_images(images_of(np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, np.int64)))
