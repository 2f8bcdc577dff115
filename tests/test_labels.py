"""Names for integer labels."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug.errors import DataError
from ganaug.labels import name_classes


def test_classes_without_names_are_numbered():
    assert name_classes(np.array([2, 0]), None) == ("0", "1", "2")
    assert name_classes(np.array([], dtype=np.int64), None) == ()


def test_names_are_kept():
    assert name_classes(np.array([0]), ["a", "b"]) == ("a", "b")


@pytest.mark.parametrize(("label", "names"), [(2, ["a", "b"]), (-1, None), (10**9, None)])
def test_a_label_out_of_range_names_its_row(label, names):
    with pytest.raises(DataError, match=f"Row 1: the label {label} is out of range"):
        name_classes(np.array([0, label]), names)
