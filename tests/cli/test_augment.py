"""``ganaug augment``."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.scenes import TINY, write_images
from ganaug.cli.augment import parse_strategy, plan_counts
from ganaug.errors import ConfigError
from ganaug.spec import LabelledImages


def manifest(folder):
    with (Path(folder) / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_images_and_synthetic_ones_are_exported_by_class(ganaug, photos, fitted):
    result = ganaug("augment", photos, "--run", fitted, "--out", "balanced")
    assert (result.code, result.err) == (0, "")
    rows = manifest("balanced")
    assert list(rows[0]) == ["file", "label", "group", "split", "is_synthetic", "source"]
    kinds = Counter((row["label"], row["is_synthetic"]) for row in rows)
    assert kinds == {("common", "false"): 10, ("rare", "false"): 4, ("rare", "true"): 6}
    on_disk = {str(p.relative_to("balanced")) for p in Path("balanced").rglob("*.png")}
    assert on_disk == {row["file"] for row in rows}
    with Path("run/splits.csv").open() as file:
        trained = {row["id"] for row in csv.DictReader(file) if row["split"] == "training"}
    assert {row["source"] for row in rows if row["is_synthetic"] == "false"} == trained
    assert {row["split"] for row in rows} == {"training"}


def test_originals_are_the_pixels_they_were(ganaug, photos, fitted):
    ganaug("augment", photos, "--run", fitted, "--out", "balanced")
    for row in manifest("balanced"):
        if row["is_synthetic"] == "false":
            copy = np.asarray(Image.open(Path("balanced") / row["file"]))
            assert (copy == np.asarray(Image.open(photos / row["source"]))).all()


def test_originals_of_different_sizes_keep_them(ganaug, photos):
    write_images(photos / "large", 6, side=40)
    fit = ("fit", photos, "--out", "run", "--size", 16, "--holdout", 0, *TINY)
    assert ganaug(*fit).code == 0
    ganaug("augment", photos, "--run", "run", "--out", "balanced")
    sizes = Counter()
    for row in manifest("balanced"):
        with Image.open(Path("balanced") / row["file"]) as image:
            sizes[row["label"], row["is_synthetic"], image.width] += 1
    assert sizes["large", "false", 40] == 6
    assert sizes["large", "true", 16] == 6
    assert sizes["rare", "false", 16] == 5


def test_final_counts_are_met_and_printed(ganaug, photos, fitted):
    result = ganaug(
        *("augment", photos, "--run", fitted, "--out", "more"),
        *("--sampling-strategy", '{"rare": 30}'),
    )
    assert result.code == 0
    kinds = Counter((row["label"], row["is_synthetic"]) for row in manifest("more"))
    assert kinds == {("common", "false"): 10, ("rare", "false"): 4, ("rare", "true"): 26}
    lines = [line.split() for line in result.out.splitlines()]
    assert ["common", "10", "10"] in lines
    assert ["rare", "4", "26", "30"] in lines


def test_without_a_strategy_classes_that_were_not_trained_are_left(ganaug, photos):
    write_images(photos / "third", 5)
    ganaug("fit", photos, "--out", "run", "--class", "rare", *TINY)
    result = ganaug("augment", photos, "--run", "run", "--out", "balanced")
    assert result.code == 0
    assert "Left as they are, since the run was not trained on them: third." in result.out
    strategy = ("--sampling-strategy", "auto")
    result = ganaug("augment", photos, "--run", "run", "--out", "other", *strategy)
    assert result.code == 2
    assert "not trained on third" in result.err


def test_one_stem_in_many_folders_becomes_many_files(ganaug, photos):
    (photos / "rare" / "deeper").mkdir()
    for n in range(5):
        Image.new("L", (16, 16), n).save(photos / "rare" / "deeper" / f"{n}.png")
    assert ganaug("fit", photos, "--out", "run", "--holdout", 0, *TINY).code == 0
    ganaug("augment", photos, "--run", "run", "--out", "balanced")
    rows = [row for row in manifest("balanced") if row["is_synthetic"] == "false"]
    assert len({row["file"] for row in rows}) == len(rows) == 22


def test_what_is_exported_can_be_fitted_again(ganaug, photos, fitted):
    ganaug("augment", photos, "--run", fitted, "--out", "balanced")
    result = ganaug("data", "inspect", "balanced")
    assert result.code == 0
    assert "20 images in 2 classes" in result.out
    assert "20 images" in ganaug("data", "inspect", "csv:balanced/manifest.csv").out


def test_groups_are_kept(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 16, 16), dtype=np.uint8)
    groups = np.array([f"woman {n // 2}" for n in range(12)])
    np.savez("set.npz", images=images, labels=np.arange(12) // 8, group=groups)
    assert ganaug("fit", "set.npz", "--out", "run", *TINY).code == 0
    ganaug("augment", "set.npz", "--run", "run", "--out", "balanced")
    for row in manifest("balanced"):
        real = row["is_synthetic"] == "false"
        assert row["group"] == (f"woman {int(row['source']) // 2}" if real else "")


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("auto", "auto"),
        ("not majority", "not majority"),
        ("0.5", 0.5),
        ('{"bcc": 600, "df": 300}', {"bcc": 600, "df": 300}),
        ("{'bcc': 600}", {"bcc": 600}),
        ("{3: 600}", {"3": 600}),
    ],
)
def test_a_strategy_is_a_word_a_ratio_or_final_counts(text, strategy):
    assert parse_strategy(text) == strategy


def test_a_ratio_is_of_the_rare_to_the_common_class():
    images = LabelledImages(
        pixels=np.zeros((12, 1, 4, 4), np.uint8),
        labels=np.array([0] * 10 + [1] * 2),
        class_names=("common", "rare"),
        value_range=(0, 255),
    )
    assert plan_counts(images, 0.5, ("rare",)).to_add == {"rare": 3}
    with pytest.raises(ConfigError, match="sampling_strategy"):
        plan_counts(images, 0.1, ("rare",))
