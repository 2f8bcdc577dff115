"""Which values map to black and to white."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug.builtin.data.windows import apply, limits
from ganaug.errors import ConfigError


def test_a_preset_is_its_centre_plus_and_minus_half_its_width():
    assert limits("brain") == (0.0, 80.0)
    assert limits("lung") == (-1350.0, 150.0)


def test_numbers_are_centre_and_width():
    assert limits("-40,300") == (-190.0, 110.0)


def test_automatic_windows_have_no_limits_of_their_own():
    assert limits("auto") is None
    assert limits("full") is None


@pytest.mark.parametrize("window", ["40,0", "40,-5", "nan,5", "40,inf"])
def test_a_width_that_is_not_above_zero_or_not_finite_is_refused(window):
    with pytest.raises(ConfigError, match="width above zero"):
        limits(window)


@pytest.mark.parametrize("window", ["", "40", "1,2,3", "brian"])
def test_an_unknown_window_lists_the_choices(window):
    with pytest.raises(ConfigError, match="one of abdomen, bone, brain"):
        limits(window)


def test_a_misspelt_preset_is_corrected():
    with pytest.raises(ConfigError, match="Did you mean 'brain'"):
        limits("brian")


def test_low_is_black_high_is_white_and_what_lies_outside_is_clipped():
    values = np.array([-1000, 0, 40, 80, 3000], np.float32)
    assert apply(values, 0, 80).tolist() == [0, 0, 32768, 65535, 65535]
    assert apply(values, 0, 80).dtype == np.uint16


def test_an_image_of_one_value_is_black():
    assert apply(np.full((1, 2, 2), 7.0), 7.0, 7.0).tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1e40, 2e40, [0, 0, 0]), (-1e300, 1e300, [32768] * 3), (0.0, 1e-300, [0, 65535, 65535])],
)
def test_a_window_that_float32_cannot_hold_is_applied_without_a_warning(low, high, expected):
    assert apply(np.array([0, 1, 3e38], np.float32), low, high).tolist() == expected
