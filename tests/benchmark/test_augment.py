from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from ganaug.benchmark.augment import DEFAULT, ClassicalAugmentation
from ganaug.errors import ConfigError

#: What the skin study gave to Keras.
SKIN = {
    "rotation": 45,
    "shift": 0.1,
    "shear": 0.01,
    "zoom": (0.9, 1.25),
    "brightness": (0.7, 1.3),
    "horizontal_flip": True,
}


def numbers(**places: float) -> torch.Tensor:
    """Numbers that change nothing but what is named, each in [0, 1)."""
    order = ("rotation", "down", "right", "shear", "zoom_y", "zoom_x", "flip_x", "flip_y", "light")
    neutral = dict.fromkeys(order, 0.5)
    return torch.tensor([list((neutral | places).values())])


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 14, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1


def keras(image: np.ndarray, u: np.ndarray, arguments: dict) -> np.ndarray:
    """What Keras does to one image (C, H, W) in [-1, 1]: its matrices, in its order, by SciPy."""
    both = 2 * u - 1
    _, height, width = image.shape
    t, s = np.deg2rad(both[0] * arguments["rotation"]), np.deg2rad(both[3] * arguments["shear"])
    low, high = arguments["zoom"]
    zoom = low + (high - low) * u[4:6]
    move = [both[1] * arguments["shift"] * height, both[2] * arguments["shift"] * width]
    matrix = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    matrix = matrix @ np.array([[1, 0, move[0]], [0, 1, move[1]], [0, 0, 1]])
    matrix = matrix @ np.array([[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]])
    matrix = matrix @ np.diag([*zoom, 1])
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = centre + matrix[:2, 2] - matrix[:2, :2] @ centre
    moved = np.stack(
        [affine_transform(c, matrix[:2, :2], offset, order=1, mode="reflect") for c in image]
    )
    moved = moved[:, :, ::-1] if arguments["horizontal_flip"] and u[6] < 0.5 else moved
    moved = moved[:, ::-1] if arguments["vertical_flip"] and u[7] < 0.5 else moved
    low, high = arguments["brightness"]
    return ((moved + 1) / 2 * (low + (high - low) * u[8])).clip(0, 1) * 2 - 1


def test_images_come_out_as_keras_and_scipy_make_them(images):
    arguments = SKIN | {"shear": 20, "shift": 0.3, "vertical_flip": True}
    augment = ClassicalAugmentation(arguments)
    u = augment.draw(len(images), torch.Generator().manual_seed(1))
    expected = [keras(*pair, arguments) for pair in zip(images.numpy(), u.numpy(), strict=True)]
    np.testing.assert_allclose(augment(images, u).numpy(), np.stack(expected), atol=2e-5)


def test_the_numbers_follow_from_the_random_numbers_given_and_from_no_others(images):
    augment = ClassicalAugmentation(SKIN)
    state = torch.get_rng_state()
    one, same, other = (
        augment(images, augment.draw(6, torch.Generator().manual_seed(seed))) for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_zoom_above_one_sees_more_of_the_image():
    line = torch.linspace(-1, 1, 9).expand(1, 1, 9, 9)
    near, far = (
        ClassicalAugmentation({"zoom": (z, z)})(line, numbers())[0, 0, 0] for z in (0.5, 1.25)
    )
    assert (near.max() - near.min()) < (line.max() - line.min())
    assert far.diff()[4] > line[0, 0, 0].diff()[4]


def test_beyond_the_edge_the_image_is_mirrored_with_the_edge_repeated():
    row = torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(1, 1, 4, 4)
    moved = ClassicalAugmentation({"shift": 0.5})(row, numbers(right=0.0))
    torch.testing.assert_close(moved[0, 0, 0], torch.tensor([0.2, 0.1, 0.1, 0.2]))


def test_brightness_multiplies_from_black_and_keeps_the_range():
    images = torch.tensor([-1.0, -0.5, 0.0, 0.8]).view(1, 1, 2, 2)
    augment = ClassicalAugmentation({"brightness": (0.5, 1.5)})
    dark, light = augment(images, numbers(light=0.0)), augment(images, numbers(light=1.0))
    assert dark.flatten().tolist() == pytest.approx([-1.0, -0.75, -0.5, -0.1])
    assert light.flatten().tolist() == pytest.approx([-1.0, -0.25, 0.5, 1.0])


@pytest.mark.parametrize(
    ("name", "place", "axis"), [("horizontal_flip", "flip_x", 3), ("vertical_flip", "flip_y", 2)]
)
def test_flips_mirror_half_of_the_images_and_nothing_else(images, name, place, axis):
    augment = ClassicalAugmentation({name: True})
    u = torch.cat([numbers(**{place: 0.4}), numbers(**{place: 0.6})])
    flipped, kept = augment(images[:2], u)
    torch.testing.assert_close(flipped, images[0].flip(axis - 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(kept, images[1], atol=1e-5, rtol=0)


def test_pixels_are_untouched_where_nothing_moves_them(images):
    augment = ClassicalAugmentation({"rotation": 0})
    assert torch.equal(augment(images, augment.draw(6, torch.Generator())), images)


def test_without_arguments_a_mild_set_is_applied():
    assert ClassicalAugmentation({}).config == ClassicalAugmentation(DEFAULT).config
    assert ClassicalAugmentation({}).config != ClassicalAugmentation({"rotation": 0}).config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotate": 10}, "no field 'rotate'. Did you mean 'rotation'"),
        ({"rotation": 181}, "rotation: .*less than or equal to 180; got 181"),
        ({"shift": -0.1}, "shift: .*greater than or equal to 0; got -0.1"),
        ({"zoom": 0.1}, "zoom: .*; got 0.1"),
        ({"zoom": (1.25, 0.9)}, "zoom should be two numbers .* lower one first.* got 1.25, 0.9"),
        ({"brightness": (-1.0, 1.0)}, "brightness should be two numbers of at least 0.*; got -1"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ClassicalAugmentation(arguments)
