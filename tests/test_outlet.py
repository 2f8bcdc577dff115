from __future__ import annotations

import numpy as np
import pytest
import torch

from ganaug.errors import DataError
from ganaug.items import ItemFormat
from ganaug.outlet import ExtendedDataset, Outlet
from ganaug.pool import Pool

PIXELS = np.arange(4 * 1 * 8 * 8, dtype=np.uint8).reshape(4, 1, 8, 8)


def pool():
    return Pool.write((1, 8, 8), np.dtype(np.uint8), {1: 4}, [(1, PIXELS)])


def outlet(form, **kwargs):
    settings = {"pixel_range": (0.0, 255.0), "float_range": (0.0, 1.0), "image_transform": None}
    return Outlet(form=form, **{**settings, **kwargs})


def extended(items):
    form = ItemFormat.of(items)
    labels = [item[1] for item in items]
    return ExtendedDataset(items, labels, pool(), [1] * 4, outlet(form), form)


def test_several_rows_at_once_are_the_rows_one_by_one():
    dataset = extended([(np.zeros((1, 8, 8), np.uint8), 0)] * 3)
    rows = [6, 0, 3, 5, 2]
    together = dataset.__getitems__(rows)
    assert [label for _, label in together] == [1, 0, 1, 1, 0]
    for row, (image, label) in zip(rows, together, strict=True):
        alone, same = dataset[row]
        assert (alone == image).all()
        assert same == label
    assert (dataset[3][0] == PIXELS[0]).all()


def test_a_row_can_be_changed_without_changing_the_pool():
    dataset = extended([(torch.zeros(1, 8, 8, dtype=torch.uint8), 0)])
    dataset[1][0].fill_(9)
    assert torch.equal(dataset[1][0], torch.from_numpy(PIXELS[0]))


def test_items_with_more_than_image_and_label_are_refused_when_extending():
    form = ItemFormat.of([{"image": torch.zeros(1, 8, 8), "label": 0, "age": 70}])
    with pytest.raises(DataError, match="besides image and label: 'age'"):
        ExtendedDataset([], [], pool(), [1] * 4, outlet(form), form)


def test_a_stated_float_range_is_kept():
    form = ItemFormat.of([(torch.zeros(1, 8, 8), 0)])
    out = outlet(form, float_range=(-1.0, 1.0))
    batch = torch.zeros(2, 1, 8, 8)
    filled = out.replace(batch, np.array([1]), np.full((1, 1, 8, 8), 255, np.uint8))
    assert filled[1].unique().tolist() == [1.0]
    assert filled[0].unique().tolist() == [0.0]
    batch[0] = -1.0
    with pytest.raises(DataError, match="values from -1 to 0; expected 0 to 1"):
        outlet(form).replace(batch, np.array([0]), PIXELS[:1])
