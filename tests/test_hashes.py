"""Hashes of images."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug import hashes
from ganaug.errors import DataError
from ganaug.hashes import (
    close_pairs,
    detail_hash,
    hash_distances,
    hash_images,
    perceptual_hash,
    pixel_hash,
    to_grey,
)
from ganaug.spec import LabelledImages

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (3, 20, 24), dtype=np.uint8)
RANGE = (0.0, 255.0)


def images_of(pixels, value_range=RANGE):
    return LabelledImages(
        pixels=pixels,
        labels=np.zeros(len(pixels), np.int64),
        class_names=("image",),
        value_range=value_range,
    )


def test_equal_pixels_have_equal_hashes_however_they_lie_in_memory():
    assert pixel_hash(IMAGE) == pixel_hash(np.asfortranarray(IMAGE))
    deep = IMAGE.astype("<u2")
    assert pixel_hash(deep) == pixel_hash(deep.astype(">u2"))
    assert len(pixel_hash(IMAGE)) == 32


@pytest.mark.parametrize(
    "other",
    [
        IMAGE.reshape(3, 24, 20),
        IMAGE.astype(np.uint16),
        np.where(np.arange(IMAGE.size).reshape(IMAGE.shape) == 7, IMAGE ^ 1, IMAGE),
        IMAGE[..., ::-1],
    ],
    ids=["shape", "dtype", "one bit", "mirrored"],
)
def test_other_shapes_dtypes_and_pixels_have_other_hashes(other):
    assert pixel_hash(IMAGE) != pixel_hash(other)


def test_the_perceptual_hash_does_not_depend_on_bit_depth_or_channels():
    grey = IMAGE[:1]
    plain = perceptual_hash(grey, RANGE)
    assert (plain.shape, plain.dtype) == ((16,), np.uint8)
    assert np.array_equal(plain, perceptual_hash(grey.astype(np.uint16) * 257, (0.0, 65535.0)))
    assert np.array_equal(plain, perceptual_hash(np.repeat(grey, 3, axis=0), RANGE))
    assert not np.array_equal(plain, perceptual_hash(IMAGE[1:2], RANGE))


def test_values_that_are_not_finite_count_as_the_lowest():
    values = np.array([[[np.nan, np.inf, -np.inf, 0.5, 2.0]]], dtype=np.float32)
    assert to_grey(values, (0.0, 1.0)).tolist() == [[0.0, 0.0, 0.0, 127.5, 255.0]]
    assert to_grey(values[..., 3:], (-0.5, 1.5)).tolist() == [[127.5, 255.0]]


def test_images_are_hashed_one_at_a_time():
    class Decoded:
        """Counts how many of its images somebody holds on to."""

        read: tuple[int, ...] = ()

        def __len__(self):
            return 4

        def __getitem__(self, row):
            self.read += (row,)
            return np.roll(IMAGE, row, axis=1)

    pixels = Decoded()
    found = hash_images(images_of(pixels))
    assert pixels.read == (0, 1, 2, 3)
    assert len(found) == 4
    assert found.pixels[2].tobytes() == pixel_hash(np.roll(IMAGE, 2, axis=1))
    assert np.array_equal(found.looks.perceptual[0], perceptual_hash(IMAGE, RANGE))
    assert np.array_equal(found.looks.detail[0], detail_hash(IMAGE, RANGE))
    assert np.array_equal(found.mirrored.detail[0], detail_hash(IMAGE[..., ::-1], RANGE))
    assert np.array_equal(found.mirrored.perceptual[0], perceptual_hash(IMAGE[..., ::-1], RANGE))


@pytest.mark.parametrize("scale", [1, 4], ids=["8 bits", "10 bits of 16"])
def test_images_of_one_value_or_almost_are_blank(scale):
    flat = np.full((3, 20, 20), 9, np.uint16)
    speck, stripes = flat.copy(), flat.copy()
    speck[:, 3, 3] = 12
    stripes[1] = 200
    faint = (9 + 20 * (np.arange(400).reshape(1, 20, 20) % 2)).repeat(3, 0)
    noise = RNG.integers(0, 256, (3, 20, 20))
    pixels = [(image * scale).astype(np.uint16) for image in (flat, speck, stripes, faint, noise)]
    images = LabelledImages(
        pixels=pixels,
        labels=np.zeros(5, np.int64),
        class_names=("a",),
        value_range=(0, 65535),
    )
    assert hash_images(images).blank.tolist() == [True, True, True, False, False]
    assert hash_images(images.subset([0, 0])).blank.all()
    assert hash_images(images.subset([4])).blank.tolist() == [False]


def test_equal_floats_are_blank_and_values_that_are_not_finite_do_not_count():
    pixels = np.full((3, 1, 7, 7), 0.1, np.float32)
    pixels[1, 0, 0, 0], pixels[2] = np.inf, np.nan
    for rows in ([0, 1, 2], [0]):
        images = LabelledImages(
            pixels=pixels[rows],
            labels=np.zeros(len(rows), np.int64),
            class_names=("a",),
            value_range=(0, 1),
        )
        assert hash_images(images).blank.tolist() == [True, True, False][: len(rows)]


def test_an_image_that_cannot_be_decoded_is_an_error():
    class Broken(list):
        def __getitem__(self, row):
            raise DataError("Image 0 is broken.")

    with pytest.raises(DataError, match="broken"):
        hash_images(images_of(Broken([0])))


def test_a_distance_is_the_larger_of_the_two():
    a = np.zeros((1, 16), np.uint8)
    b = np.zeros((3, 16), np.uint8)
    b[1, 0] = 0b111  # three bits of the pHash
    b[2, 0], b[2, 8:] = 1, 255  # one bit of it, and all of the dHash
    assert hash_distances(a, b).tolist() == [[0, 3, 64]]


@pytest.mark.parametrize("block", [1, 50, 2**22])
def test_close_pairs_do_not_depend_on_the_block(monkeypatch, block):
    monkeypatch.setattr(hashes, "_BLOCK_VALUES", block)
    a, b = RNG.integers(0, 256, (2, 20, 16), dtype=np.uint8)
    b[3], b[9] = a[5], a[7]
    b[9, 0] ^= 0b11
    b[12] = a[1]
    b[12, 8] ^= 0b111  # three bits of the dHash: too many
    pairs = {
        (int(i), int(j))
        for block_a, block_b in close_pairs(a, b, 2)
        for i, j in zip(block_a, block_b, strict=True)
    }
    assert pairs == {(5, 3), (7, 9)}
    assert not [rows for rows, _ in close_pairs(a[:0], b, 2) if len(rows)]
    assert not [rows for rows, _ in close_pairs(a, b[:0], 2) if len(rows)]
