from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ganaug import LabelledImages
from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.errors import LeakageError, RunError
from ganaug.hashes import hash_distances, hash_images
from ganaug.leaks import (
    References,
    add_references,
    check_leaks,
    find_overlaps,
    has_references,
    read_references,
    write_references,
)
from ganaug.splits import write_splits


def structures(n: int, *, seed: int = 0, side: int = 32) -> LabelledImages:
    """Images with some structure to them, no two alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 240, (n, 1, 8, 8))
    pixels = coarse.repeat(side // 8, axis=2).repeat(side // 8, axis=3).astype(np.uint8)
    return LabelledImages(
        pixels=pixels,
        labels=np.zeros(n, dtype=np.int64),
        class_names=("a",),
        value_range=(0, 255),
        ids=tuple(f"seed{seed}/{row}.png" for row in range(n)),
    )


def references_of(images: LabelledImages) -> References:
    hashes = hash_images(images)
    return References(
        ids=images.ids,
        groups=images.groups or ("",) * len(images),
        pixels=hashes.pixels,
        looks=hashes.looks,
        blank=hashes.blank,
    )


@pytest.fixture(scope="module")
def trained():
    images = structures(20)
    return replace(images, groups=tuple(f"patient {row // 2}" for row in range(20)))


def others(n: int, **changes) -> LabelledImages:
    return replace(structures(n, seed=1), **changes)


def with_pixels(images: LabelledImages, row: int, pixels) -> LabelledImages:
    changed = images.pixels.copy()
    changed[row] = pixels
    return replace(images, pixels=changed)


def test_other_images_pass(trained):
    assert check_leaks(others(30), references_of(trained), run="runs/x") is None


def test_same_pixels_are_found_whatever_they_are_called(trained):
    named = with_pixels(others(5), 3, trained.pixels[7])
    (overlap,) = find_overlaps(named, references_of(trained))
    assert (overlap.id, overlap.same_pixels) == ("seed1/3.png", "seed0/7.png")
    assert (overlap.near_duplicate, overlap.same_group) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: (image * 1.05).astype(np.uint8),
        lambda image: image[..., ::-1],
        lambda image: np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255),
    ],
    ids=["brightened", "mirrored", "noisy"],
)
def test_near_duplicates_are_found(trained, change):
    named = with_pixels(others(5), 2, change(trained.pixels[7]))
    (overlap,) = find_overlaps(named, references_of(trained))
    assert (overlap.same_pixels, overlap.near_duplicate) == (None, "seed0/7.png")


def test_near_duplicates_of_another_size_and_depth_are_found(trained):
    large = trained.pixels[7:8].repeat(2, axis=2).repeat(2, axis=3).astype(np.uint16) * 257
    named = replace(others(1), pixels=large, value_range=(0, 65535))
    (overlap,) = find_overlaps(named, references_of(trained))
    assert overlap.near_duplicate == "seed0/7.png"


def test_images_that_only_look_alike_when_small_pass():
    rng = np.random.default_rng(0)
    cosines = np.cos(np.pi * np.arange(16)[:, None] * (np.arange(64) + 0.5) / 64)
    rough = np.pad(rng.normal(0, 1, (8, 8)), (0, 8))
    fine = rng.normal(0, 0.4, (2, 16, 16)) * (np.maximum.outer(range(16), range(16)) >= 9)
    waves = cosines.T @ (rough + fine) @ cosines
    pixels = (128 + 6 * waves[:, None]).clip(0, 255).astype(np.uint8)
    known, named = (replace(structures(1), pixels=pixels[row : row + 1]) for row in (0, 1))
    bits = hash_distances(hash_images(named).looks.perceptual, hash_images(known).looks.perceptual)
    assert bits.item() <= 6
    assert find_overlaps(named, references_of(known)) == []


def test_the_same_group_is_found_and_rows_without_one_have_none_in_common(trained):
    named = others(4, groups=("patient 3", "", "patient 99", ""))
    (overlap,) = find_overlaps(named, references_of(trained))
    assert (overlap.id, overlap.same_group) == ("seed1/0.png", "seed0/6.png")
    without = references_of(replace(trained, groups=None))
    assert find_overlaps(named, without) == []


def test_blank_images_are_evidence_of_nothing_but_their_group(trained):
    flat, speck = np.full((1, 32, 32), 200, np.uint8), np.zeros((1, 32, 32), np.uint8)
    speck[0, 3, 3] = 3
    known = with_pixels(with_pixels(trained, 0, flat), 5, speck)
    named = with_pixels(with_pixels(others(6), 1, flat), 3, np.zeros_like(flat))
    named = with_pixels(named, 4, speck)
    assert find_overlaps(named, references_of(known)) == []
    grouped = replace(named, groups=("", "patient 0", "", "", "", ""))
    (overlap,) = find_overlaps(grouped, references_of(known))
    assert (overlap.id, overlap.same_pixels, overlap.near_duplicate) == ("seed1/1.png", None, None)
    assert overlap.same_group == "seed0/0.png"


@pytest.mark.parametrize(
    ("prefix", "alike", "doubted"),
    [("", False, True), ("p", False, True), ("patient ", False, False), ("", True, False)],
)
def test_names_of_groups_that_may_merely_coincide_are_said_to(trained, prefix, alike, doubted):
    known = replace(trained, groups=tuple(f"{prefix}{row // 2}" for row in range(20)))
    named = others(4, groups=tuple(f"{prefix}{row + 3}" for row in range(4)))
    if alike:
        named = with_pixels(named, 0, trained.pixels[0])
    with pytest.raises(LeakageError) as caught:
        check_leaks(named, references_of(known), run="runs/x")
    assert ("may merely coincide" in str(caught.value)) == doubted
    assert ("b-12 for 12" in str(caught.value)) == doubted


def test_the_error_counts_each_kind_and_names_the_first_rows(trained):
    named = others(10, groups=("patient 1",) * 5 + ("",) * 5)
    named = with_pixels(named, 1, trained.pixels[0])
    named = with_pixels(named, 8, trained.pixels[4] + 10)
    with pytest.raises(LeakageError) as caught:
        check_leaks(named, references_of(trained), run="runs/x")
    text = str(caught.value)
    assert text.startswith(
        "6 of 10 rows overlap with the 20 rows that runs/x was trained on: 1 with the same pixels, "
        "1 near duplicates, 5 of the same group; first: seed1/0.png (same group as training row "
        "seed0/2.png), seed1/1.png (same pixels as training row seed0/0.png), "
    )
    assert "\n" not in text
    assert "patient" not in text
    assert isinstance(caught.value, ValueError)


def test_images_are_decoded_one_at_a_time(trained):
    class Counted(list):
        read = 0

        def __getitem__(self, row):
            Counted.read += 1
            return super().__getitem__(row)

    images = replace(trained, pixels=Counted(trained.pixels))
    hash_images(images)
    assert Counted.read == len(images)


def test_no_rows_overlap_with_none(trained):
    references = references_of(trained)
    assert find_overlaps(others(3).subset([]), references) == []
    assert find_overlaps(others(3), references_of(trained.subset([]))) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_do_not_break_the_guard(value):
    pixels = np.zeros((1, 1, 8, 8), dtype=np.float32)
    pixels[0, 0, 0] = value
    assert len(hash_images(replace(structures(1), pixels=pixels, value_range=(0, 1)))) == 1


# --- in a run directory -------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, trained):
    """A folder with references and splits of 20 rows, of which the last 4 are held out."""
    splits = ["training"] * 16 + ["holdout"] * 4
    write_splits(tmp_path / "splits.csv", trained, splits)
    write_references(tmp_path / "references.safetensors", hash_images(trained), splits)
    return tmp_path


def test_references_come_back_split_by_split(run, trained):
    training, holdout = read_references(run), read_references(run, "holdout")
    assert training.ids + holdout.ids == trained.ids
    assert training.groups + holdout.groups == trained.groups
    expected = hash_images(trained)
    for part, rows in ((training, slice(0, 16)), (holdout, slice(16, 20))):
        assert (part.pixels == expected.pixels[rows]).all()
        assert (part.looks.perceptual == expected.looks.perceptual[rows]).all()
        assert (part.looks.detail == expected.looks.detail[rows]).all()
        assert (part.blank == expected.blank[rows]).all()
    assert len(read_references(run, "validation")) == 0


def test_references_hold_no_pixels(run):
    tensors, _ = read_tensors(run / "references.safetensors")
    assert set(tensors) == {
        f"{split}.{name}"
        for split in ("training", "holdout")
        for name in ("pixels", "perceptual", "detail", "blank")
    }
    assert sum(tensor.nbytes for tensor in tensors.values()) == 20 * 81


def test_references_of_before_blank_images_were_marked_are_read(run):
    path = run / "references.safetensors"
    tensors = {name: value for name, value in read_tensors(path)[0].items() if "blank" not in name}
    write_tensors(path, tensors, {})
    assert read_references(run).blank.tolist() == [False] * 16


def test_other_arrays_in_the_file_stay(run, trained):
    path = run / "references.safetensors"
    add_references(path, {"hashes": np.ones((2, 16), dtype=np.uint8)})
    assert len(read_references(run)) == 16
    write_references(path, hash_images(trained), ["training"] * 20)
    assert read_tensors(path)[0]["hashes"].shape == (2, 16)


@pytest.mark.parametrize("file", ["none", "of an earlier version"])
def test_a_run_without_references_says_that_it_cannot_be_checked(tmp_path, file):
    path = tmp_path / "references.safetensors"
    if file != "none":
        add_references(path, {"hashes": np.ones((2, 16), dtype=np.uint8)})
    assert not has_references(tmp_path)
    with pytest.raises(RunError, match=r"carries no references.*cannot be checked for leaks"):
        read_references(tmp_path)


def test_references_of_other_rows_are_damage(run, trained):
    write_splits(run / "splits.csv", trained.subset(range(9)), ["training"] * 9)
    with pytest.raises(RunError, match=r"9 training rows and references.safetensors 16"):
        read_references(run)
    (run / "splits.csv").write_text("id\n1\n")
    with pytest.raises(RunError, match=r"splits.csv cannot be read"):
        read_references(run)


def test_rows_of_several_splits_are_compared_at_once(tmp_path, trained):
    splits = ["validation" if row < 6 else "training" for row in range(20)]
    write_splits(tmp_path / "splits.csv", trained, splits)
    write_references(tmp_path / "references.safetensors", hash_images(trained), splits)
    both = read_references(tmp_path, "training", "validation", "holdout")
    assert (len(both), both.validation) == (20, frozenset(trained.ids[:6]))
    assert read_references(tmp_path).validation == frozenset()
    named = with_pixels(with_pixels(others(5), 0, trained.pixels[2]), 1, trained.pixels[9])
    words = "2 of 5 rows overlap with the 20 rows that x was trained on or validated with: .*"
    first = r"same pixels as validation row seed0/2.png\), .* training row seed0/9.png"
    with pytest.raises(LeakageError, match=words + first):
        check_leaks(named, both, run="x")
