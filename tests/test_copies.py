from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ganaug import LabelledImages, Registry
from ganaug.copies import CopyGate, Rate, has_gate
from ganaug.errors import RunError, ShapeError
from ganaug.sources import open_images

RANGE = (0.0, 255.0)


def pictures(n, *, seed, channels=1, size=32):
    """Pictures with coarse and fine structure, as tissue has, no two alike."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, channels, size, size))
    layers = [gaussian_filter(noise, (0, 0, width, width)) * width for width in (1, 3, 6)]
    values = sum(layers)
    low, high = values.min((1, 2, 3), keepdims=True), values.max((1, 2, 3), keepdims=True)
    return ((values - low) / (high - low) * 230 + 10).astype(np.uint8)


def labelled(pixels, groups=None):
    return LabelledImages(
        pixels=pixels,
        labels=np.zeros(len(pixels), dtype=np.int64),
        class_names=("a",),
        value_range=RANGE,
        groups=groups,
    )


def moved(pixels, down, right, mode="edge"):
    height, width = pixels.shape[2:]
    padded = np.pad(pixels, ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode)
    return padded[:, :, 2 - down :, 2 - right :][:, :, :height, :width]


def brightened(pixels):
    return (pixels * 1.05).round().clip(0, 255).astype(np.uint8)


COPIES = {
    "exact": lambda x: x,
    "mirrored": lambda x: x[..., ::-1],
    "brightened": brightened,
    "darkened": lambda x: (x * 0.8).astype(np.uint8),
    "shifted down": lambda x: moved(x, 2, 0),
    "shifted up and right": lambda x: moved(x, -2, 2),
    "wrapped around": lambda x: moved(x, 1, -2, mode="wrap"),
    "mirrored, shifted and brightened": lambda x: brightened(moved(x[..., ::-1], 2, 2)),
}


@pytest.fixture(scope="module")
def training():
    return pictures(60, seed=0)


@pytest.fixture(scope="module")
def gate(training):
    return CopyGate.of(labelled(training))


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_are_found(gate, training, change):
    assert gate.find(change(training), RANGE).mean() >= 0.98


def test_other_images_are_not_copies(gate):
    assert gate.find(pictures(100, seed=1), RANGE).sum() <= 1


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_copies_among_new_images_are_told_apart(gate, training, share):
    n = round(100 * share)
    changes = list(COPIES.values())
    planted = [changes[i % len(changes)](training[i : i + 1]) for i in range(n)]
    mixed = np.concatenate([pictures(100 - n, seed=2), *planted])
    found = gate.find(mixed, RANGE)
    assert found[100 - n :].all()
    assert found[: 100 - n].sum() <= 1


@pytest.mark.parametrize(("channels", "size"), [(3, 24), (1, 80), (2, 16)])
def test_colour_large_and_many_channelled_images_are_judged(channels, size):
    training = pictures(30, seed=0, channels=channels, size=size)
    gate = CopyGate.of(labelled(training))
    assert gate.find(moved(training, -2, -2), RANGE).mean() >= 0.95
    assert gate.find(pictures(30, seed=1, channels=channels, size=size), RANGE).sum() <= 1
    # the extractors take one or three channels; without them, there are pixels
    assert len(gate.thresholds) == (1 if channels == 2 else 3)


def test_images_of_another_size_are_refused(gate):
    with pytest.raises(ShapeError, match=r"of shape \(1, 32, 32\); got \(1, 28, 28\)"):
        gate.find(pictures(2, seed=9, size=28), RANGE)


def test_sixteen_bit_copies_of_eight_bit_images_are_found(gate, training):
    assert gate.find(training.astype(np.uint16) * 257, (0.0, 65535.0)).all()


def test_a_verdict_does_not_depend_on_the_other_images(gate, training):
    mixed = np.concatenate([training[:5], pictures(5, seed=3)])
    alone = [gate.find(mixed[row : row + 1], RANGE)[0] for row in range(10)]
    assert gate.find(mixed, RANGE).tolist() == alone
    assert gate.find(training[:0], RANGE).shape == (0,)


def test_thresholds_are_set_so_that_few_real_images_are_flagged():
    gate = CopyGate.of(labelled(pictures(200, seed=4)))
    assert gate.crossfit.images == 200
    assert gate.crossfit.flagged <= 2
    assert all(0 < limit <= 0.7 for limit in gate.thresholds.values())
    new = pictures(200, seed=5)
    assert gate.find(new, RANGE).sum() <= 2
    looser = CopyGate(gate.spec, gate.bundles, gate.references, {}, Rate())
    looser.thresholds = dict.fromkeys(gate.references, 0.95)
    assert looser.find(new, RANGE).sum() > 20


def test_images_of_one_group_are_not_new_to_each_other(training):
    pairs = np.repeat(training[:30], 2, axis=0)
    pairs[1::2] = moved(pairs[1::2], 2, 2)  # two films of one woman
    grouped = CopyGate.of(labelled(pairs, tuple(str(row // 2) for row in range(60))))
    assert grouped.crossfit.flagged == 0
    assert min(grouped.thresholds.values()) > 0.2
    assert len(np.unique(grouped.bundles)) == 30
    assert grouped.find(brightened(pairs), RANGE).all()


def test_near_duplicates_are_kept_together_without_groups(training):
    twice = np.concatenate([training, brightened(training)])
    gate = CopyGate.of(labelled(twice))
    assert len(np.unique(gate.bundles)) == 60
    assert gate.find(moved(training, 0, 2), RANGE).all()


@pytest.mark.parametrize("n", [2, 3, 10])
def test_of_very_few_images_copies_are_found_by_fixed_thresholds(n):
    training = pictures(n, seed=6)
    gate = CopyGate.of(labelled(training))
    assert set(gate.thresholds.values()) == {0.2}
    assert gate.find(moved(training, 2, -2), RANGE).all()
    assert gate.find(pictures(50, seed=7), RANGE).sum() == 0


def test_identical_training_images_are_one_that_is_found_again(training):
    same = np.repeat(training[:1], 8, axis=0)
    gate = CopyGate.of(labelled(same))
    assert gate.crossfit == Rate(flagged=0, images=0)
    assert gate.find(brightened(same[:1]), RANGE).all()
    assert not gate.find(training[1:], RANGE).any()


def test_a_blank_image_is_a_copy_of_none(training):
    blank = np.full((1, 1, 32, 32), 7, dtype=np.uint8)
    gate = CopyGate.of(labelled(np.concatenate([training, blank])))
    assert not gate.find(blank, RANGE).any()
    assert gate.find(training, RANGE).all()


def test_a_gate_of_blank_images_alone_flags_nothing(training):
    gate = CopyGate.of(labelled(np.zeros((4, 1, 32, 32), dtype=np.uint8)))
    assert not gate.find(training, RANGE).any()


def test_what_a_run_keeps_makes_the_same_gate(gate, training):
    tensors = {name: torch.from_numpy(array) for name, array in gate.to_arrays().items()}
    assert has_gate(tensors)
    again = CopyGate.from_tensors(tensors, gate.spec, Registry.load())
    images = np.concatenate([training[:5], pictures(20, seed=8)])
    assert (again.ratios(images, RANGE) == gate.ratios(images, RANGE)).all()
    assert (again.find(images, RANGE) == gate.find(images, RANGE)).all()
    assert again.crossfit == gate.crossfit


def test_a_gate_works_the_same_in_another_process(gate, training):
    again = pickle.loads(pickle.dumps(gate))
    assert (again.ratios(training[:5], RANGE) == gate.ratios(training[:5], RANGE)).all()


def test_what_another_version_kept_is_refused(gate):
    arrays = gate.to_arrays()
    other = {name.replace("gate-1", "gate-9"): torch.zeros(1) for name in arrays}
    for kept in (other, {"hashes": torch.zeros(1)}):
        assert has_gate(kept)
        with pytest.raises(RunError, match="another version made it. Fit it again"):
            CopyGate.from_tensors(kept, gate.spec, Registry.load())
    assert not has_gate(["training.pixels"])


def test_what_is_kept_holds_no_pixels_and_too_few_numbers_for_an_image(gate, training):
    arrays = gate.to_arrays()
    for array in arrays.values():
        per_image = array.size / len(training)
        assert per_image <= 64 < training[0].size / 10
    kept = arrays["gate-1.pixels"].astype(np.float64)
    patterns = gate._spaces()[0]._patterns.numpy().astype(np.float64)
    guesses = kept @ np.linalg.pinv(patterns)  # the image of least norm with this signature
    inner = training[:, 0, 2:30, 2:30].reshape(60, 14, 2, 14, 2).mean((2, 4)).reshape(60, -1)
    agreement = [abs(np.corrcoef(guess, x)[0, 1]) for guess, x in zip(guesses, inner, strict=True)]
    assert np.mean(agreement) < 0.6


@pytest.mark.shared_data
def test_planted_copies_of_mammography_patches_are_caught_and_held_out_ones_are_not(shared_data):
    images = open_images(str(shared_data / "mias_patches"), Registry.load()).load(64)
    women = np.unique(images.groups)
    held = np.isin(images.groups, np.random.default_rng(0).permutation(women)[:30])
    training = images.subset(np.flatnonzero(~held))
    gate = CopyGate.of(training)
    kept_out = np.asarray(images.pixels)[held]
    assert gate.find(kept_out, RANGE).sum() <= max(2, len(kept_out) // 100)
    chosen = np.asarray(training.pixels)[::4]
    for change in COPIES.values():
        assert gate.find(change(chosen), RANGE).mean() >= 0.99
