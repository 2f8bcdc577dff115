"""Conversions on pixel arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.errors import DataError
from ganaug.pixels import from_pil, from_signed, resize, to_pil, to_signed
from ganaug.spec import LabelledImages


def labelled(pixels, value_range=(0.0, 255.0), **columns):
    return LabelledImages(
        pixels=pixels,
        labels=np.zeros(len(pixels), dtype=np.int64),
        class_names=("image",),
        value_range=value_range,
        **columns,
    )


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (5, 3, 40, 40), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_value_survives_the_round_trip(dtype):
    highest = np.iinfo(dtype).max
    pixels = np.arange(highest + 1, dtype=dtype).reshape(1, 1, 256, -1)
    signed = to_signed(pixels, (0, highest))
    assert signed.dtype == torch.float32
    assert (signed.min(), signed.max()) == (-1, 1)
    np.testing.assert_array_equal(
        from_signed(signed, dtype=dtype, value_range=(0, highest)), pixels
    )


def test_a_twelve_bit_range_maps_its_own_ends_to_minus_one_and_one():
    pixels = np.array([0, 4095], dtype=np.uint16).reshape(1, 1, 1, 2)
    assert to_signed(pixels, (0, 4095)).flatten().tolist() == [-1.0, 1.0]


def test_what_lies_outside_minus_one_to_one_is_clamped():
    images = torch.tensor([-3.0, 0.0, 3.0])
    assert from_signed(images, dtype=np.uint8, value_range=(0, 255)).tolist() == [0, 128, 255]
    assert from_signed(images, dtype=np.float32, value_range=(-2, 4)).tolist() == [-2, 1, 4]


def test_to_signed_leaves_the_pixels_alone():
    pixels = np.full((1, 1, 2, 2), 0.5, dtype=np.float32)
    to_signed(pixels, (0, 1))
    assert (pixels == 0.5).all()


def test_resize_agrees_with_pillow_bicubic(noise):
    smooth = np.asarray(Image.fromarray(noise[0, 0]).resize((8, 8)).resize((90, 60)))
    expected = np.asarray(Image.fromarray(smooth).resize((30, 20), Image.Resampling.BICUBIC))
    ours = resize(smooth[None, None], 20, 30)[0, 0]
    assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1


def test_resize_antialiases():
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (1, 1, 66, 33))
    assert np.abs(resize(stripes, 22, 22).astype(int) - 128)[..., 2:-2].max() < 20


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resize_keeps_the_dtype_and_does_not_overshoot(dtype):
    edge = np.full((1, 1, 8, 8), 10, dtype=dtype)
    edge[..., 4:] = 100
    larger = resize(edge, 32, 32)
    assert larger.dtype == dtype
    assert (larger.min(), larger.max()) == (10, 100)


def test_resize_to_the_same_size_is_the_same_array(noise):
    assert resize(noise, 40, 40) is noise


def test_resize_in_chunks_equals_resize_at_once(noise, monkeypatch):
    whole = resize(noise, 24, 24)
    monkeypatch.setattr("ganaug.pixels._CHUNK_VALUES", 2 * 3 * 40 * 40)
    np.testing.assert_array_equal(resize(noise, 24, 24), whole)


def test_load_returns_an_array_of_the_right_size_as_it_is(noise):
    assert labelled(noise).load().pixels is noise
    assert labelled(noise).load(40).pixels is noise


def test_load_of_items_equals_load_of_an_array(noise):
    np.testing.assert_array_equal(
        labelled(list(noise)).load(16).pixels, labelled(noise).load(16).pixels
    )


def test_every_item_is_decoded_once(noise):
    class Counting(list):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    items = Counting(noise)
    labelled(items).load(16)
    assert items.reads == len(noise)


def test_mixed_sizes_without_a_size_are_listed(noise):
    items = [noise[0], noise[1], noise[2, :, :30]]
    with pytest.raises(DataError, match=r"2 sizes.*40x40 \(2\), 30x40 \(1\).*size="):
        labelled(items).load()
    assert labelled(items).load(32).pixels.shape == (3, 3, 32, 32)


def test_mixed_modes_are_counted(noise):
    items = [noise[0], noise[1], noise[2, :1], noise[3].astype(np.uint16)]
    with pytest.raises(DataError) as caught:
        labelled(items).load(32)
    assert "2 with 3 channels of uint8" in str(caught.value)
    assert "1 with 1 channel of uint8" in str(caught.value)
    assert "1 with 3 channels of uint16" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, list])
def test_a_value_that_is_not_finite_names_its_row(bad, kind):
    pixels = np.zeros((3, 1, 4, 4), dtype=np.float32)
    pixels[1, 0, 2, 2] = bad
    with pytest.raises(DataError, match="b.png has 1 pixel values that are not finite"):
        labelled(kind(pixels), (0, 1), ids=("a.png", "b.png", "c.png")).load()


@pytest.mark.parametrize("kind", [np.asarray, list])
def test_a_value_out_of_range_says_what_was_found_and_what_to_pass(kind):
    pixels = np.zeros((3, 1, 4, 4), dtype=np.float32)
    pixels[2, 0, 0] = -2.5
    with pytest.raises(DataError, match=r"Image 2 .*-2.5 to 0.*0 to 1.*value_range=.*image_transf"):
        labelled(kind(pixels), (0, 1)).load()
    assert labelled(kind(pixels), (-3, 3)).load().pixels.min() == -2.5


def test_integers_outside_a_narrower_range_are_refused():
    pixels = np.full((1, 1, 4, 4), 5000, dtype=np.uint16)
    with pytest.raises(DataError, match="5000"):
        labelled(pixels, (0, 4095)).load()


def test_unusable_arrays_are_refused(noise):
    with pytest.raises(DataError, match="no images"):
        labelled(noise[:0]).load()
    with pytest.raises(DataError, match="int64"):
        labelled(noise.astype(np.int64)).load()
    with pytest.raises(DataError, match=r"\(N, C, H, W\)"):
        labelled(noise[:, 0]).load()
    with pytest.raises(DataError, match="value_range"):
        labelled(noise, (1.0, 1.0)).load()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("I;16", 1)])
def test_pillow_images_survive_the_round_trip(mode, channels):
    dtype = np.uint16 if mode == "I;16" else np.uint8
    pixels = np.arange(channels * 12).reshape(channels, 3, 4).astype(dtype)
    image = to_pil(pixels)
    assert (image.mode, image.size) == (mode, (4, 3))
    np.testing.assert_array_equal(from_pil(image), pixels)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "CMYK", "F", "LA"])
def test_other_pillow_modes_say_how_to_convert(mode):
    with pytest.raises(DataError, match=f"{mode}.*convert"):
        from_pil(Image.new(mode, (4, 4)))


def test_pixels_that_pillow_cannot_hold_are_refused():
    with pytest.raises(DataError, match="3 of uint16"):
        to_pil(np.zeros((3, 2, 2), dtype=np.uint16))
