"""Names that every file system takes."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug.cli.exports import FileNames, class_seed, folder_names, picture, safe_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("melanoma", "melanoma"),
        ("Plattenepithel ärztlich 良性", "Plattenepithel ärztlich 良性"),
        ("a/b\\c", "a_b_c"),
        ("nul\x00byte\n", "nul_byte_"),
        (".hidden", "hidden"),
        ("..", "_"),
        ("", "_"),
        ("con", "_con"),
        ("ends. ", "ends"),
        ("x" * 300, "x" * 100),
        ("é" * 300, "é" * 50),
    ],
)
def test_a_name_is_safe_and_as_near_as_can_be(text, name):
    assert safe_name(text) == name


def test_different_classes_have_different_folders():
    names = ["a/b", "a:b", "A:B", "a_b-2", ".a", "a"]
    folders = folder_names(names)
    assert list(folders) == names
    assert len({folder.casefold() for folder in folders.values()}) == len(names)


def test_a_taken_name_gets_a_number():
    names = FileNames()
    assert [names.take("0", ".png") for _ in range(3)] == ["0.png", "0-2.png", "0-3.png"]


def test_classes_are_drawn_with_different_seeds():
    assert len({class_seed(seed, index) for seed in range(5) for index in range(5)}) == 25


@pytest.mark.parametrize(
    ("dtype", "channels", "value_range", "mode", "highest"),
    [
        (np.uint8, 1, (0, 255), "L", 255),
        (np.uint8, 3, (0, 255), "RGB", 255),
        (np.uint16, 1, (0, 65535), "I;16", 65535),
        (np.uint16, 3, (0, 65535), "RGB", 255),
        (np.float32, 1, (-2.0, 3.0), "L", 255),
    ],
)
def test_pictures_keep_what_png_files_can_hold(dtype, channels, value_range, mode, highest):
    pixels = np.full((channels, 4, 4), value_range[1], dtype=dtype)
    pixels[:, 0, 0] = value_range[0]
    image = picture(pixels, value_range)
    assert image.mode == mode
    assert (np.asarray(image).min(), np.asarray(image).max()) == (0, highest)
