"""Stacks as rows of an image set, and which slices of a volume become images."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug.builtin.data.options import NiftiConfig, StackConfig
from ganaug.builtin.data.stacks import (
    StackPixels,
    classes_by_folder,
    images_of_stacks,
    select_slices,
)
from ganaug.errors import ConfigError, DataError


class FakeStack:
    """Slices whose pixels are the stack's base and their place in it."""

    def __init__(self, name, base, numbers=(), *, group="", dtype="uint16"):
        self.name, self.group, self.numbers = name, group, numbers
        self.dtype = np.dtype(dtype)
        self.base, self.is_open = base, False

    def __len__(self):
        return len(self.numbers) or 1

    def __getitem__(self, k):
        self.is_open = True
        return np.full((1, 2, 2), self.base + k, self.dtype)

    def close(self):
        self.is_open = False


def never(number):
    raise AssertionError(f"slice {number} was read")


def half_filled(number):
    """Slice 0 is empty, and each next one has a tenth more of its pixels at 100."""
    values = np.zeros((10, 10), np.float32)
    values[:number] = 100
    return values


def test_rows_are_the_slices_of_all_stacks_in_order():
    stacks = [FakeStack("a", 10, (3, 5), group="a"), FakeStack("b.dcm", 20)]
    images = images_of_stacks(stacks, [1, 0], ("low", "high"))
    assert images.ids == ("a#0003", "a#0005", "b.dcm")
    assert images.groups == ("a", "a", "")
    assert images.labels.tolist() == [1, 1, 0]
    assert images.value_range == (0, 65535)
    assert images.load().pixels[:, 0, 0, 0].tolist() == [10, 11, 20]


def test_only_the_stack_that_was_read_last_is_kept_open():
    stacks = [FakeStack("a", 0, (0, 1)), FakeStack("b", 0, (0, 1))]
    pixels = StackPixels(stacks)
    for row, still_open in [(0, (True, False)), (1, (True, False)), (2, (False, True))]:
        pixels[row]
        assert tuple(stack.is_open for stack in stacks) == still_open
    assert pixels[0][0, 0, 0] == 0
    assert not stacks[1].is_open


def test_a_stack_without_slices_is_skipped():
    empty = FakeStack("a", 0)
    empty.__class__ = type("Empty", (FakeStack,), {"__len__": lambda self: 0})
    images = images_of_stacks([empty, FakeStack("b", 7)], [0, 0], ("image",))
    assert images.ids == ("b",)
    assert images.pixels[0][0, 0, 0] == 7
    with pytest.raises(DataError, match="None of the 1 files.*first, last, every and foreground"):
        images_of_stacks([empty], [0], ("image",))


def test_a_row_beyond_the_last_ends_an_iteration():
    assert len(list(StackPixels([FakeStack("a", 0, (0, 1))]))) == 2


def test_stacks_of_8_and_16_bits_are_mixed_modes():
    stacks = [FakeStack("a", 0, dtype="uint8"), FakeStack("b", 0)]
    images = images_of_stacks(stacks, [0, 0], ("image",))
    assert images.value_range == (0, 255)
    with pytest.raises(DataError, match="mixed modes: 1 with 1 channel of uint8.*--window full"):
        images.load()


def test_images_that_stand_for_themselves_have_no_groups():
    images = images_of_stacks([FakeStack("a", 0), FakeStack("b", 0)], [0, 0], ("image",))
    assert images.groups is None


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"first": 3, "last": 6}, [3, 4, 5]),
        ({"first": 1, "every": 4}, [1, 5, 9]),
        ({"first": 8, "last": 100}, [8, 9]),
        ({"first": 10}, []),
    ],
)
def test_the_range_is_counted_from_0_without_its_last(fields, numbers):
    assert select_slices(10, StackConfig(**fields), never) == numbers


def test_slices_with_too_little_foreground_are_dropped():
    assert select_slices(10, StackConfig(foreground=0.6), half_filled) == [6, 7, 8, 9]
    assert select_slices(10, StackConfig(foreground=0.6, every=2), half_filled) == [6, 8]


def test_extreme_values_do_not_make_tissue_background():
    def with_metal(number):
        values = half_filled(number)
        values[-1, -1] = 1e6 if number == 9 else values[-1, -1]
        return values

    assert select_slices(10, StackConfig(foreground=0.5), with_metal) == [5, 6, 7, 8, 9]


def test_foreground_that_is_rare_is_found():
    def lesion(number):
        values = np.zeros((50, 50), np.float32)
        values[:2, 0] = number == 4
        return values

    assert select_slices(10, StackConfig(foreground=0.0005), lesion) == [4]


def test_a_volume_of_one_value_has_no_foreground():
    def constant(number):
        return np.full((4, 4), 7, np.float32)

    assert select_slices(3, StackConfig(foreground=0.1), constant) == []


def test_large_slices_are_judged_on_a_grid_over_all_of_them():
    def quarter(number):
        values = np.zeros((512, 256), np.float32)
        values[:, : 64 * number] = 1
        return values

    assert select_slices(4, StackConfig(foreground=0.5), quarter) == [2, 3]


def test_classes_are_the_first_folders_in_alphabetical_order():
    names = ["well/p1/a.nii", "ill/b.nii", "well/c.nii"]
    assert classes_by_folder(names) == ([1, 0, 1], ("ill", "well"))
    assert classes_by_folder(["a.nii", "b.nii"]) == ([0, 0], ("image",))


def test_loose_files_beside_class_folders_are_refused():
    with pytest.raises(DataError, match="class folders \\(ill and 1 more\\) and loose files"):
        classes_by_folder(["well/a.nii", "b.nii", "ill/c.nii"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"axis": "3"}, "axis.*less than or equal to 2"),
        ({"every": "0"}, "every.*greater than or equal to 1"),
        ({"foreground": "60"}, "foreground.*less than or equal to 1"),
        ({"first": "5", "last": "5"}, "must be above first \\(5\\); got 5"),
        ({"volume": "-1"}, "volume.*greater than or equal to 0"),
    ],
)
def test_options_out_of_range_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        NiftiConfig.from_strings(fields)
