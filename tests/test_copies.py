from __future__ import annotations

import numpy as np
import pytest

from ganaug.copies import CopyFilter

RANGE = (0.0, 255.0)
NOISE = np.random.default_rng(1)


def pictures(n, *, seed, channels=1, size=32):
    """Smooth random pictures: sums of a few waves, no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = np.zeros((n, channels, size, size))
    for _ in range(6):
        fy, fx = rng.uniform(0.5, 4, (2, n, 1, 1, 1))
        phase = rng.uniform(0, 6, (n, 1, 1, 1))
        waves += rng.uniform(0.3, 1, (n, 1, 1, 1)) * np.sin(6.28 * (fy * y + fx * x) + phase)
    low, high = waves.min((1, 2, 3), keepdims=True), waves.max((1, 2, 3), keepdims=True)
    return ((waves - low) / (high - low) * 230 + 10).astype(np.uint8)


@pytest.fixture(scope="module")
def training():
    return pictures(40, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x[..., ::-1],
        lambda x: (x * 1.05).clip(0, 255).astype(np.uint8),
        lambda x: (x + NOISE.normal(0, 3, x.shape)).clip(0, 255).astype(np.uint8),
    ],
    ids=["exact", "mirrored", "brightened", "noisy"],
)
def test_copies_are_found(training, change):
    found = CopyFilter.of(training, RANGE).find(change(training), RANGE)
    assert found.mean() >= 0.95


def test_other_images_are_not_copies(training):
    assert not CopyFilter.of(training, RANGE).find(pictures(60, seed=1), RANGE).any()


def test_sixteen_bit_copies_of_eight_bit_images_are_found(training):
    deep = training.astype(np.uint16) * 257
    assert CopyFilter.of(training, RANGE).find(deep, (0.0, 65535.0)).all()


def test_hashes_survive_a_round_trip_and_hold_no_pixels(training):
    copies = CopyFilter.of(training, RANGE)
    again = CopyFilter.from_tensor(copies.to_tensor())
    assert again.find(training[:3], RANGE).all()
    assert copies.hashes.shape == (80, 16)


def test_no_images_no_copies(training):
    assert CopyFilter.of(training, RANGE).find(training[:0], RANGE).shape == (0,)


@pytest.mark.shared_data
def test_held_out_skin_lesions_are_not_called_copies(shared_data):
    with np.load(shared_data / "ham10000_28" / "ham10000_28.npz", allow_pickle=False) as stored:
        rows = np.random.default_rng(0).permutation(len(stored["images"]))[:1200]
        pixels = np.moveaxis(stored["images"][rows], 3, 1)
    copies = CopyFilter.of(pixels[:600], RANGE)
    assert copies.find(pixels[600:], RANGE).mean() <= 0.01
    assert copies.find(pixels[:600], RANGE).all()
