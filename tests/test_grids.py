from __future__ import annotations

import numpy as np

from ganaug.grids import draw_grid


def test_small_images_are_enlarged_by_whole_factors_and_keep_their_values():
    pixels = np.zeros((3, 1, 8, 8), np.uint8)
    pixels[1] = 200
    sheet = np.asarray(draw_grid([("row", pixels)], (0.0, 255.0), cell=64))
    assert (sheet == 200).all(-1).sum() == 64 * 64
    assert (sheet == 0).all(-1).sum() >= 2 * 64 * 64


def test_rows_may_differ_in_length_colour_and_depth():
    colour = np.zeros((2, 3, 16, 16), np.uint8)
    colour[:, 0] = 255
    deep = np.full((5, 1, 16, 16), 4095, np.uint16)
    sheet = draw_grid([("colour", colour)], (0.0, 255.0), cell=16)
    assert (np.asarray(sheet) == (255, 0, 0)).all(-1).sum() == 2 * 16 * 16
    wide = draw_grid([("deep", deep), ("none", deep[:0])], (0.0, 4095.0), cell=16)
    assert wide.width >= 5 * 16
    assert wide.height > 2 * 16


def test_large_images_are_shrunk_to_the_cell():
    pixels = np.zeros((1, 1, 200, 100), np.uint8)
    sheet = draw_grid([("", pixels)], (0.0, 255.0), cell=64)
    assert sheet.height < 100
