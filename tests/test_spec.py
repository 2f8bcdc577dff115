from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from ganaug import Batch, ImageSpec, LabelledImages
from ganaug.errors import DataError, ShapeError


def spec(**changes):
    fields = {"channels": 3, "height": 8, "width": 16, "class_names": ("cat", "dog")}
    return ImageSpec(**{**fields, **changes})


class Decoded:
    """A lazy sequence that remembers which of its items were decoded."""

    def __init__(self, pixels):
        self.pixels, self.read = pixels, []

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, row):
        if row >= len(self):
            raise IndexError(row)
        self.read.append(row)
        return self.pixels[row]


def labelled(**changes):
    fields = {
        "pixels": np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2),
        "labels": np.array([0, 1, 2, 0, 1, 0]),
        "class_names": ("cat", "dog", "owl"),
        "value_range": (0.0, 255.0),
        "ids": tuple("abcdef"),
        "groups": ("p1", "p1", "p2", "p3", "p3", ""),
        "splits": ("training", "holdout", "validation", "training", "training", "holdout"),
    }
    return LabelledImages(**{**fields, **changes})


def test_a_spec_says_its_shape_and_number_of_classes():
    assert spec().shape == (3, 8, 16)
    assert spec().num_classes == 2
    assert spec(class_names=["cat", "dog"]) == spec()
    with pytest.raises(FrozenInstanceError):
        spec().channels = 1


@pytest.mark.parametrize("field", ["channels", "height", "width"])
def test_a_spec_without_pixels_is_refused(field):
    with pytest.raises(ShapeError, match="at least one channel and one pixel a side; got "):
        spec(**{field: 0})


@pytest.mark.parametrize(
    ("names", "message"), [((), "at least one class name"), (("a", "a"), "different; got a, a")]
)
def test_a_spec_needs_different_class_names(names, message):
    with pytest.raises(DataError, match=message):
        spec(class_names=names)


@pytest.mark.parametrize("draw", ["randn", "rand"])
def test_two_shares_of_a_batch_draw_what_one_whole_draws(draw):
    def share(offset, n):
        images, labels = torch.zeros(n, 1, 2, 2), torch.zeros(n, dtype=torch.int64)
        batch = Batch(images, labels, offset, 5)
        return getattr(batch, draw)(3, 2, rng=torch.Generator().manual_seed(7))

    whole = share(0, 5)
    assert whole.shape == (5, 3, 2)
    assert torch.equal(torch.cat([share(0, 2), share(2, 3)]), whole)


@pytest.mark.parametrize("draw", ["randn", "rand"])
def test_a_batch_of_its_own_is_a_whole_and_draws_from_rng_alone(draw):
    batch = Batch(torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))
    rng = torch.Generator().manual_seed(7)
    before = torch.random.get_rng_state()
    first, second = (getattr(batch, draw)(2, rng=rng) for _ in range(2))
    assert len(batch) == len(first) == 4
    assert not torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert getattr(batch, draw)(rng=rng).shape == (4,)


def test_rand_is_uniform_and_randn_is_normal():
    batch = Batch(torch.zeros(4000, 1), torch.zeros(4000, dtype=torch.int64))
    rng = torch.Generator().manual_seed(0)
    uniform, normal = batch.rand(rng=rng), batch.randn(rng=rng)
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1
    assert normal.mean().abs() < 0.05
    assert normal.std() == pytest.approx(1, abs=0.05)


def test_images_say_their_counts_spec_and_length():
    images = labelled()
    assert len(images) == 6
    assert images.counts == {"cat": 3, "dog": 2, "owl": 1}
    assert images.spec == ImageSpec(
        channels=1, height=2, width=2, class_names=("cat", "dog", "owl")
    )
    assert images.labels.dtype == np.int64


def test_a_class_without_images_counts_none():
    assert labelled(class_names=("cat", "dog", "owl", "yak")).counts["yak"] == 0


def test_rows_are_named_by_number_unless_told():
    assert labelled(ids=()).ids == ("0", "1", "2", "3", "4", "5")


@pytest.mark.parametrize("column", ["pixels", "ids", "groups", "splits"])
def test_columns_of_another_length_are_refused(column):
    with pytest.raises(DataError, match=f"There are 6 labels but 2 {column}"):
        labelled(**{column: ("a", "b")})


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_refused(label):
    with pytest.raises(DataError, match=rf"must be in 0\.\.2, .* got .*{label}"):
        labelled(labels=np.array([0, 1, 2, 0, 1, label]))


def test_a_subset_takes_every_column_along_in_the_order_asked():
    images = labelled()
    subset = images.subset([4, 0])
    assert np.array_equal(subset.pixels, images.pixels[[4, 0]])
    assert subset.labels.tolist() == [1, 0]
    assert (subset.ids, subset.groups) == (("e", "a"), ("p3", "p1"))
    assert subset.splits == ("training", "training")
    assert subset.class_names == images.class_names


def test_a_subset_without_groups_has_none():
    subset = labelled(groups=None, splits=None).subset([1])
    assert subset.groups is None
    assert subset.splits is None


def test_an_empty_subset_is_possible():
    empty = labelled().subset([])
    assert len(empty) == 0
    assert empty.counts == {"cat": 0, "dog": 0, "owl": 0}


def test_a_subset_of_undecoded_images_decodes_only_what_is_read():
    decoded = Decoded(labelled().pixels)
    subset = labelled(pixels=decoded).subset([5, 3]).subset([1])
    assert decoded.read == []
    assert np.array_equal(subset.pixels[0], labelled().pixels[3])
    assert decoded.read == [3]


def test_undecoded_images_have_no_known_size():
    with pytest.raises(ShapeError, match=r"call load\(\) first"):
        _ = labelled(pixels=Decoded(labelled().pixels)).spec


def test_only_keeps_some_classes_and_relabels_them_in_that_order():
    kept = labelled().only([2, 0])
    assert kept.class_names == ("owl", "cat")
    assert kept.ids == ("a", "c", "d", "f")
    assert kept.labels.tolist() == [1, 0, 1, 1]
    assert kept.counts == {"owl": 1, "cat": 3}


def test_as_one_class_forgets_classes_and_nothing_else():
    one = labelled().as_one_class()
    assert one.counts == {"image": 6}
    assert one.groups == labelled().groups
    assert labelled().as_one_class("lesion").class_names == ("lesion",)


def test_the_fingerprint_changes_with_pixels_labels_and_class_names():
    images = labelled()
    brighter = images.pixels.copy()
    brighter[0, 0, 0, 0] += 1
    others = [
        replace(images, pixels=brighter),
        replace(images, labels=images.labels[::-1].copy()),
        replace(images, class_names=("cat", "dog", "yak")),
        replace(images, pixels=images.pixels.reshape(6, 1, 1, 4)),
        replace(images, pixels=images.pixels.astype(np.uint16)),
        images.subset(range(5)),
    ]
    prints = [image_set.fingerprint() for image_set in (images, *others)]
    assert len(set(prints)) == len(prints)
    assert labelled(ids=(), groups=None).fingerprint() == prints[0]
