"""Contrast of whole images."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug.contrast import CONTRASTS, adjust_contrast, to_uint8
from ganaug.errors import ConfigError, DataError


@pytest.fixture
def film():
    """A dark background and, on the right, tissue of few, dark grey levels; uint8 (1, 64, 64)."""
    film = np.zeros((1, 64, 64), dtype=np.uint8)
    film[0, :, 32:] = np.random.default_rng(0).integers(40, 60, (64, 32))
    return film


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_the_lowest_value_becomes_0_and_the_highest_255(dtype):
    pixels = np.array([[[100, 120, 110]]], dtype=dtype)
    mapped = to_uint8(pixels)
    assert mapped.dtype == np.uint8
    assert mapped.tolist() == [[[0, 255, 128]]]
    assert pixels.tolist() == [[[100, 120, 110]]]  # the caller's image is left alone


def test_sixteen_bits_are_rounded_to_the_nearest_of_eight():
    ramp = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    assert (to_uint8(ramp) == np.rint(ramp / 257.0)).all()


def test_channels_share_one_range():
    pixels = np.zeros((3, 2, 2), dtype=np.uint8)
    pixels[1], pixels[2] = 50, 100
    assert to_uint8(pixels)[:, 0, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("value", "message"), [(7, "constant: every pixel is 7"), (np.nan, "not finite")]
)
def test_images_without_a_range_are_refused(value, message):
    pixels = np.full((1, 4, 4), 7, dtype=np.float32)
    pixels[0, 0, 0] = value
    with pytest.raises(DataError, match=message):
        to_uint8(pixels)


@pytest.mark.parametrize("name", CONTRASTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_dtype_stay(film, name, channels):
    changed = adjust_contrast(np.repeat(film, channels, axis=0), name)
    assert changed.shape == (channels, 64, 64)
    assert changed.dtype == np.uint8
    assert (changed == changed[:1]).all()  # grey stays grey


def test_none_changes_nothing(film):
    assert (adjust_contrast(film, "none") == film).all()


def test_equalisation_over_the_tissue_uses_all_grey_levels(film):
    tissue = film[0] > 0
    whole = adjust_contrast(film, "equalize")[0][tissue]
    masked = adjust_contrast(film, "equalize", tissue=tissue)[0][tissue]
    assert whole.min() > 120  # half of the levels went to the background
    assert masked.min() < 20
    assert masked.max() == 255


def test_clahe_widens_local_contrast(film):
    tissue = film[0] > 0
    assert adjust_contrast(film, "clahe")[0][tissue].std() > 2 * film[0][tissue].std()


def test_an_unknown_contrast_names_the_nearest(film):
    with pytest.raises(ConfigError, match="Did you mean 'equalize'"):
        adjust_contrast(film, "equalise")
