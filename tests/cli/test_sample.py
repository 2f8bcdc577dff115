"""``ganaug sample``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.scenes import TINY, tree, write_images


def manifest(folder):
    with (Path(folder) / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_images_a_sheet_and_a_manifest_are_written(ganaug, photos):
    ganaug("fit", photos, "--out", "run", *TINY)
    result = ganaug("sample", "run", "--out", "out/new", "-n", 3)
    assert (result.code, result.err) == (0, "")
    expected = {f"{name}/{n:05}.png" for name in ("common", "rare") for n in range(3)}
    files = {name for name in tree(Path("out/new")) if "." in name}
    assert files == expected | {"grid.png", "manifest.csv", "filters.json"}
    rows = manifest("out/new")
    assert list(rows[0]) == ["file", "label", "seed", "index", "run"]
    assert {row["file"] for row in rows} == expected
    assert {row["label"] for row in rows} == {"common", "rare"}
    with Image.open("out/new/rare/00000.png") as image:
        assert (image.size, image.mode) == ((16, 16), "L")


def test_the_same_seed_draws_the_same_images(ganaug, fitted):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert ganaug("sample", fitted, "--out", out, "-n", 4, "--seed", seed).code == 0
    assert tree(Path("a")) == tree(Path("b"))
    assert tree(Path("a"))["rare/00000.png"] != tree(Path("c"))["rare/00000.png"]


def test_a_class_alone_is_drawn_as_among_all(ganaug, photos):
    ganaug("fit", photos, "--out", "run", *TINY)
    ganaug("sample", "run", "--out", "all", "-n", 2)
    ganaug("sample", "run", "--out", "one", "-n", 2, "--class", "rare")
    assert {row["label"] for row in manifest("one")} == {"rare"}
    assert (tree(Path("one"))["rare/00001.png"]) == tree(Path("all"))["rare/00001.png"]
    assert not Path("one/common").exists()


def test_sixteen_bits_stay_sixteen_and_floats_become_eight(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (8, 16, 16)).astype(np.uint16)
    for name, images in (("deep", deep), ("float", rng.random((8, 16, 16, 3), dtype=np.float32))):
        np.savez(f"{name}.npz", images=images, labels=np.zeros(8, dtype=np.int64))
        assert ganaug("fit", f"{name}.npz", "--out", f"run-{name}", *TINY).code == 0
        assert ganaug("sample", f"run-{name}", "--out", name, "-n", 2).code == 0
    with Image.open("deep/0/00000.png") as image:
        assert image.mode.startswith("I")
        assert np.asarray(image).max() > 255
    with Image.open("float/0/00000.png") as image:
        assert image.mode == "RGB"
        assert np.asarray(image).max() > 1


def test_class_names_that_are_no_file_names_are_made_safe(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["..", "a/b", "a:b", "[bold]"]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 16, 16), dtype=np.uint8)
    np.savez("set.npz", images=images, labels=np.arange(16) % 4, class_names=np.array(names))
    assert "[bold]" in ganaug("fit", "set.npz", "--out", "run", "--holdout", 0, *TINY).out
    assert ganaug("sample", "run", "--out", "new", "-n", 1).code == 0
    assert {row["label"]: row["file"] for row in manifest("new")} == {
        "..": "_/00000.png",
        "a/b": "a_b/00000.png",
        "a:b": "a_b-2/00000.png",
        "[bold]": "[bold]/00000.png",
    }
    assert {path.name for path in Path("new").iterdir() if path.is_dir()} == {
        *("_", "a_b", "a_b-2", "[bold]")
    }


def test_copies_are_left_out_with_a_warning(ganaug, fitted, monkeypatch):
    monkeypatch.setattr(
        "ganaug.copies.CopyGate.find", lambda self, pixels, _: np.arange(len(pixels)) % 8 > 0
    )
    result = ganaug("sample", fitted, "--out", "new", "-n", 16)
    assert result.code == 0
    assert result.err.startswith("Warning: Class 'rare': ")
    assert result.err.count("\n") == 1
    assert len(manifest("new")) == len(list(Path("new/rare").iterdir())) < 16


def test_a_size_of_its_own_comes_back(ganaug, photos):
    write_images(Path("odd/thing"), 6, side=20)
    assert ganaug("fit", "odd", "--out", "run", *TINY).code == 0
    ganaug("sample", "run", "--out", "new", "-n", 1)
    with Image.open("new/thing/00000.png") as image:
        assert image.size == (20, 20)


@pytest.mark.parametrize("n", ["0", "-3"])
def test_at_least_one_image(ganaug, fitted, n):
    assert ganaug("sample", fitted, "--out", "new", "-n", n).code == 2
