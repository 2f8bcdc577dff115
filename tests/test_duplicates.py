"""Images that are the same, and nearly so."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from ganaug import duplicates
from ganaug.duplicates import find_duplicates
from ganaug.hashes import hash_images
from ganaug.pixels import resize
from ganaug.spec import LabelledImages


def pictures(n, *, seed, side=48):
    """Smooth random pictures: sums of a few waves, no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = np.zeros((n, 1, side, side))
    for _ in range(12):
        fy, fx = rng.uniform(0.5, 6, (2, n, 1, 1, 1))
        waves += np.sin(6.28 * (fy * y + fx * x) + rng.uniform(0, 6, (n, 1, 1, 1)))
    low, high = waves.min((1, 2, 3), keepdims=True), waves.max((1, 2, 3), keepdims=True)
    return ((waves - low) / (high - low) * 200 + 20).astype(np.uint8)


def images_of(pixels, value_range=(0.0, 255.0)):
    return LabelledImages(
        pixels=pixels,
        labels=np.zeros(len(pixels), np.int64),
        class_names=("image",),
        value_range=value_range,
    )


def found_in(pixels):
    images = images_of(list(pixels))
    return find_duplicates(images, hash_images(images))


PICTURES = pictures(30, seed=0)
NOISE = np.random.default_rng(1)


def test_different_pictures_are_no_duplicates():
    found = found_in(PICTURES)
    assert (found.exact, found.near) == ((), ())


def test_equal_pixels_are_found_and_lie_within_a_cluster():
    found = found_in([*PICTURES, PICTURES[7], PICTURES[2], PICTURES[7]])
    assert found.exact == found.near == ((2, 31), (7, 30, 32))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: (x * 1.1).clip(0, 255).astype(np.uint8),
        lambda x: (x * 0.7 + 20).astype(np.uint8),
        lambda x: (x + NOISE.normal(0, 4, x.shape)).clip(0, 255).astype(np.uint8),
        lambda x: x[..., ::-1],
        lambda x: resize(x[None], 33, 33)[0],
        lambda x: np.repeat(x, 3, axis=0),
    ],
    ids=["brighter", "less contrast", "noisy", "mirrored", "smaller", "in colour"],
)
def test_changed_copies_are_near_duplicates(change):
    found = found_in([*PICTURES, change(PICTURES[4]), change(PICTURES[9])])
    assert (found.exact, found.near) == ((), ((4, 30), (9, 31)))


def test_clusters_join_what_is_connected():
    brighter = (PICTURES[4] * 1.1).clip(0, 255).astype(np.uint8)
    found = found_in([*PICTURES, brighter, PICTURES[4], brighter, PICTURES[4][..., ::-1]])
    assert found.exact == ((4, 31), (30, 32))
    assert found.near == ((4, 30, 31, 32, 33),)


def test_candidates_by_their_hashes_are_confirmed_on_pixels():
    images = images_of(PICTURES)
    hashes = hash_images(images)
    alike = replace(hashes, looks=replace(hashes.looks, perceptual=np.zeros((30, 16), np.uint8)))
    assert find_duplicates(images, alike).near == ()


@pytest.mark.parametrize("same", ["shape", "detail"])
def test_both_the_whole_and_its_detail_must_agree(same):
    y, x = np.mgrid[:48, :48] / 48
    shapes = [80 * np.exp(-8 * ((y - 0.4) ** 2 + (x - centre) ** 2)) + 40 for centre in (0.3, 0.7)]
    details = [5 * np.sin(2 * np.pi * 7 * axis) for axis in (x, y)]
    if same == "shape":
        shapes[1] = shapes[0]
    else:
        details[1] = details[0]
        details = [8 * detail for detail in details]
    pixels = [
        (shape + detail + 40).astype(np.uint8)[None]
        for shape, detail in zip(shapes, details, strict=True)
    ]
    hashes = hash_images(images_of(pixels))
    alike = replace(hashes, looks=replace(hashes.looks, perceptual=np.zeros((2, 16), np.uint8)))
    assert find_duplicates(images_of(pixels), alike).near == ()


def test_only_candidates_are_decoded():
    read = set()

    class Decoded(list):
        def __getitem__(self, row):
            read.add(row)
            return super().__getitem__(row)

    pixels = [*PICTURES, (PICTURES[4] * 1.1).clip(0, 255).astype(np.uint8)]
    hashes = hash_images(images_of(pixels))
    assert find_duplicates(images_of(Decoded(pixels)), hashes).near == ((4, 30),)
    assert read == {4, 30}


def test_blank_images_are_duplicates_of_none_even_exact_copies():
    flat = [np.full((1, side, side), level, np.uint8) for side, level in ((20, 10), (48, 200))]
    speck = flat[0].copy()
    speck[0, 3, 3] = 12  # one value, or almost
    found = found_in([*flat, *flat, speck, speck, PICTURES[0], PICTURES[0]])
    assert found.exact == found.near == ((6, 7),)


def test_faint_and_very_small_images_are_compared_exactly_only():
    ramp = np.linspace(0, 1e-5, 400, dtype=np.float32).reshape(1, 20, 20)
    images = images_of([np.float32(level) + ramp for level in (0.1, 0.7)], (0, 1))
    hashes = hash_images(images)
    alike = replace(
        hashes,
        looks=replace(hashes.looks, perceptual=np.zeros((2, 16), np.uint8)),
        blank=np.zeros(2, np.bool_),
    )
    assert find_duplicates(images, alike).near == ()
    small = pictures(1, seed=3, side=23)[0]
    brighter = (small * 1.1).clip(0, 255).astype(np.uint8)
    assert found_in([small, brighter, small]).near == ((0, 2),)


def test_no_images_no_duplicates():
    assert found_in([]).near == ()


def test_many_alike_pairs_are_merged_block_by_block(monkeypatch):
    monkeypatch.setattr(duplicates, "_PAIRS", 7)
    rng = np.random.default_rng(0)
    copies = [
        (PICTURES[0] + rng.integers(0, 3, PICTURES[0].shape)).astype(np.uint8) for _ in range(20)
    ]
    assert found_in([*copies, PICTURES[1]]).near == (tuple(range(20)),)


@pytest.mark.shared_data
def test_the_known_clusters_of_real_brain_scans_are_found(shared_data):
    from ganaug.registry import Registry
    from ganaug.sources import open_images

    folder = shared_data / "brain_mri_253"
    images = open_images(str(folder), Registry.load())
    found = find_duplicates(images, hash_images(images))
    assert len(found.exact) == 22
    with (folder / "labels.csv").open(newline="") as file:
        recorded = {row["file"]: row["near_dup_cluster"] for row in csv.DictReader(file)}
    known = {}
    for row, id_ in enumerate(images.ids):
        if recorded[id_]:
            known.setdefault(recorded[id_], set()).add(row)
    clusters = [set(rows) for rows in found.near]
    assert sum(rows in clusters for rows in known.values()) >= 30
    assert len(clusters) <= len(known) + 1  # one more pair, which was looked at: it is one scan


@pytest.mark.shared_data
def test_real_skin_lesions_have_no_false_near_duplicates(shared_data):
    with np.load(shared_data / "ham10000_28" / "ham10000_28.npz", allow_pickle=False) as stored:
        pixels = np.moveaxis(stored["images"][::2], 3, 1)
    assert found_in(pixels).near == ()
