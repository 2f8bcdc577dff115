"""scikit-learn's digits."""

from __future__ import annotations

import numpy as np

from ganaug.builtin.data.digits import open_digits


def test_digits_fill_the_range_of_eight_bits():
    images = open_digits().load()
    assert images.pixels.shape == (1797, 1, 8, 8)
    assert images.pixels.dtype == np.uint8
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)
    assert images.value_range == (0, 255)
    assert len(np.unique(images.pixels)) == 17


def test_digits_have_ten_named_classes():
    images = open_digits()
    assert images.class_names == tuple("0123456789")
    assert min(images.counts.values()) == 174
