"""Patches of whole images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.patches import (
    Box,
    Recipe,
    Window,
    cut_patches,
    lesion_window,
    normal_windows,
    tissue_mask,
)


def covered(window: Window, shape: tuple[int, int]) -> np.ndarray:
    """Where a window is, bool (H, W)."""
    inside = np.zeros(shape, dtype=bool)
    inside[window.y : window.y + window.side, window.x : window.x + window.side] = True
    assert inside.sum() == window.side**2, "the window leaves the image"
    return inside


@pytest.fixture
def breast():
    """Tissue: a half disc at the left border of a 120 x 100 image; bool (H, W)."""
    y, x = np.mgrid[:120, :100]
    return (y - 60) ** 2 + x**2 < 55**2


@pytest.fixture
def film(breast):
    """That tissue, in grey levels, with a bright lesion; uint16 (1, 120, 100)."""
    grey = np.where(breast, np.random.default_rng(0).integers(20000, 30000, breast.shape), 500)
    grey[50:60, 20:40] = 60000
    return grey[None].astype(np.uint16)


@pytest.mark.parametrize(
    ("box", "window"),
    [
        (Box(40, 30, 20, 10), Window(40, 25, 20)),  # as long as the longer side
        (Box(40, 30, 4, 6), Window(34, 25, 16)),  # at least the size
        (Box(40.5, 30.2, 19.5, 10), Window(40, 25, 20)),  # whole pixels
        (Box(0, 30, 20, 10), Window(0, 25, 20)),
        (Box(40, 0, 20, 10), Window(40, 0, 20)),  # shifted inside at the top
        (Box(90, 75, 10, 5), Window(84, 64, 16)),  # and at the right and the bottom
        (Box(0, 0, 100, 80), Window(10, 0, 80)),  # at most the image's shorter side
    ],
)
def test_a_lesions_window_is_square_centred_and_inside(box, window):
    assert lesion_window(box, 80, 100, size=16) == window


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ShapeError, match="100x20 pixels .* has no patch of 32 pixels"):
        lesion_window(Box(0, 0, 5, 5), 20, 100, size=32)
    with pytest.raises(ShapeError, match="no patch of 32 pixels"):
        normal_windows(
            np.ones((20, 100), dtype=bool), [], [32], size=32, rng=np.random.default_rng(0)
        )


@pytest.mark.parametrize("seed", range(8))
def test_normal_windows_lie_in_tissue_off_lesions_and_off_each_other(breast, seed):
    lesions = [Box(10.5, 40.5, 12, 9), Box(-5, 100, 20, 40)]
    rng = np.random.default_rng(seed)
    windows = normal_windows(breast, lesions, [16, 12, 20, 12, 12], size=12, rng=rng)
    areas = [covered(window, breast.shape) for window in windows]
    assert len(windows) == 5
    for area in areas:
        assert breast[area].all()
        assert not area[40:50, 10:23].any()  # every pixel that the first box touches
        assert not area[100:, :15].any()
    for one, other in itertools.combinations(areas, 2):
        assert not (one & other).any()


def test_every_possible_place_is_drawn_equally_often():
    tissue = np.zeros((12, 12), dtype=bool)
    tissue[2:6, 3:8] = True  # room for a side of 3 at 2 x 3 places
    rng = np.random.default_rng(0)
    drawn = [normal_windows(tissue, [], [3], size=3, rng=rng)[0] for _ in range(1200)]
    counts = {place: drawn.count(place) for place in set(drawn)}
    assert set(counts) == {Window(x, y, 3) for x in (3, 4, 5) for y in (2, 3)}
    assert all(150 < count < 250 for count in counts.values())  # 200 expected, 4 deviations


def test_a_side_without_a_place_is_left_out(breast):
    rng = np.random.default_rng(0)
    assert [w.side for w in normal_windows(breast, [], [90, 16], size=16, rng=rng)] == [16]
    nothing = np.zeros_like(breast)
    assert normal_windows(nothing, [], [16], size=16, rng=rng) == []
    assert normal_windows(breast, [Box(0, 0, 100, 120)], [16], size=16, rng=rng) == []


def test_every_pixel_that_a_box_touches_is_off_limits():
    tissue = np.ones((2, 7), dtype=bool)
    rng = np.random.default_rng(0)
    drawn = {
        normal_windows(tissue, [Box(2.5, 0, 1.8, 2)], [2], size=2, rng=rng)[0] for _ in "x" * 40
    }
    assert drawn == {Window(0, 0, 2), Window(5, 0, 2)}


def test_a_window_may_fill_the_image():
    tissue = np.ones((16, 16), dtype=bool)
    rng = np.random.default_rng(0)
    assert normal_windows(tissue, [], [40, 16], size=16, rng=rng) == [Window(0, 0, 16)]


def test_tissue_is_what_is_not_black():
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    pixels[2, 1, 2] = 1
    assert np.argwhere(tissue_mask(pixels)).tolist() == [[1, 2]]


def test_otsu_leaves_noise_and_letters_out_and_fills_holes(breast):
    rng = np.random.default_rng(0)
    film = np.where(breast, rng.integers(90, 160, breast.shape), rng.integers(0, 20, breast.shape))
    film[5:9, 80:90] = 255  # a letter
    film[50:55, 10:15] = 0  # a hole
    found = tissue_mask(film[None].astype(np.uint8), "otsu")
    assert (found == breast).all()


def test_an_unknown_tissue_mask_names_the_choices():
    with pytest.raises(ConfigError, match="Did you mean 'otsu'.* nonzero, otsu"):
        tissue_mask(np.zeros((1, 4, 4), dtype=np.uint8), "otsuu")


def test_patches_are_the_images_own_pixels_mapped_to_eight_bit(film):
    rng = np.random.default_rng(0)
    lesions, normal = cut_patches(
        film, [Box(20, 50, 20, 10)], Recipe(size=20, per_image=3), sides=[20], rng=rng
    )
    assert [patch.window for patch in lesions] == [Window(20, 45, 20)]
    assert len(normal) == 3
    expected = np.rint((film.astype(float) - 500) * (255 / 59500)).astype(np.uint8)
    for patch in (*lesions, *normal):
        x, y = patch.window.x, patch.window.y
        assert patch.pixels.dtype == np.uint8
        assert (patch.pixels == expected[:, y : y + 20, x : x + 20]).all()


def test_larger_windows_are_resized_with_antialiasing():
    stripes = np.zeros((1, 64, 64), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    patches, _ = cut_patches(
        stripes,
        [Box(0, 0, 64, 64)],
        Recipe(size=16, per_image=0),
        sides=[16],
        rng=np.random.default_rng(0),
    )
    assert patches[0].pixels.shape == (1, 16, 16)
    assert np.ptp(patches[0].pixels[0, :, 2:-2].astype(int)) < 20  # grey, not stripes


def test_contrast_is_of_the_whole_image(film):
    box = [Box(20, 50, 20, 10)]

    def patch(contrast):
        recipe = Recipe(size=20, per_image=0, contrast=contrast)
        return cut_patches(film, box, recipe, sides=[20], rng=np.random.default_rng(0))[0][0].pixels

    levels = patch("equalize")
    assert (levels != patch("none")).any()
    assert levels[0, 8].min() > 240  # the lesion is the brightest of the film's tissue


def test_a_constant_image_is_refused():
    with pytest.raises(DataError, match="constant"):
        cut_patches(
            np.full((1, 32, 32), 9, dtype=np.uint8),
            [],
            Recipe(size=16),
            sides=[16],
            rng=np.random.default_rng(0),
        )


def test_the_same_seed_draws_the_same_windows(film):
    def windows(seed):
        rng = np.random.default_rng(seed)
        normal = cut_patches(film, [], Recipe(size=12), sides=[12, 16], rng=rng)[1]
        return [patch.window for patch in normal]

    assert windows(1) == windows(1) != windows(2)
