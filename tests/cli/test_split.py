"""``ganaug data split``."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.scenes import TINY, write_images


def rows_of(path):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


@pytest.fixture
def patients(tmp_path, monkeypatch):
    """A labels.csv of 60 images of 20 patients, with a brighter copy of one of them."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "scans", 60, side=24)
    copied = np.asarray(Image.open("scans/0.png")) * 0.9
    Image.fromarray(copied.astype(np.uint8)).save("scans/copy.png")
    lines = [f"scans/{k}.png,{'sick' if k < 30 else 'well'},p{k // 3}" for k in range(60)]
    lines += ["scans/copy.png,well,p19"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,group", *lines]) + "\n")
    return "labels.csv"


def test_every_image_gets_a_split_and_groups_and_near_duplicates_stay_whole(ganaug, patients):
    result = ganaug("data", "split", patients, "--out", "split.csv")
    assert (result.code, result.err) == (0, "")
    rows = rows_of("split.csv")
    assert list(rows[0]) == ["id", "label", "group", "split"]
    assert len(rows) == 61
    shares = Counter(row["split"] for row in rows)
    assert shares["holdout"] / 61 == pytest.approx(0.2, abs=0.06)
    assert shares["validation"] / 61 == pytest.approx(0.1, abs=0.06)
    homes = {}
    for row in rows:
        assert homes.setdefault(row["group"], row["split"]) == row["split"]
    assert homes["p0"] == homes["p19"]  # the copy joins them
    assert "20, the largest of 4 images" in result.out
    assert "2 images in 1 cluster, 1 of them across groups" in result.out
    assert "ganaug fit labels.csv --split split.csv --out RUN" in result.out


def test_near_duplicates_need_not_be_looked_for(ganaug, patients, monkeypatch):
    monkeypatch.setattr("ganaug.hashes.hash_images", None)
    result = ganaug("data", "split", patients, "--out", "split.csv", "--no-near-duplicates")
    assert result.code == 0
    assert "not looked for" in result.out


def test_the_counts_are_shown_for_each_class_and_split(ganaug, photos):
    out = ganaug("data", "split", photos, "--out", "s.csv", "--validation", "0.25").out
    lines = [line.split() for line in out.splitlines()]
    assert ["common", "7", "3", "2"] in lines
    assert ["rare", "3", "1", "1"] in lines


def test_equal_seeds_give_equal_files(ganaug, photos):
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2)):
        assert ganaug("data", "split", photos, "--out", name, "--seed", seed).code == 0
    assert rows_of("a.csv") == rows_of("b.csv") != rows_of("c.csv")


def test_a_program_reads_json(ganaug, patients):
    found = json.loads(ganaug("data", "split", patients, "--out", "split.csv", "--json").out)
    assert found["out"] == "split.csv"
    assert found["near_duplicates"] == [["scans/0.png", "scans/copy.png"]]
    assert sum(found["counts"]["sick"].values()) == 30


def test_fit_trains_on_the_training_rows_of_the_file(ganaug, photos):
    assert ganaug("data", "split", photos, "--out", "split.csv").code == 0
    fitted = ganaug("fit", photos, "--split", "split.csv", "--out", "run", *TINY)
    assert (fitted.code, rows_of("run/splits.csv")) == (0, rows_of("split.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--holdout", "0.6", "--validation", "0.4"), "leaves nothing to train on"),
        (("--holdout", "0.95"), "--validation 0.1 leaves nothing to train on: --holdout 0.95"),
        (("--holdout", "1"), "--holdout must be a fraction, at least 0 and below 1; got 1.0"),
        (("--validation", "-0.1"), "--validation must be a fraction"),
        (("--validation", "nan"), "--validation must be a fraction"),
    ],
)
def test_fractions_that_cannot_be_are_refused(ganaug, photos, options, message):
    result = ganaug("data", "split", photos, "--out", "new/split.csv", *options)
    assert result.code == 2
    assert message in result.err
    assert not (photos.parent / "new").exists()


def test_an_existing_file_stays(ganaug, patients):
    before = rows_of(patients)
    result = ganaug("data", "split", patients, "--out", patients)
    assert result.code == 2
    assert "labels.csv exists already; nothing was written" in result.err
    assert rows_of(patients) == before


def test_a_class_of_one_group_trains_and_that_is_said(ganaug, patients):
    table = Path(patients)
    lines = table.read_text().splitlines()
    lines[1:4] = [line.replace("sick", "rare") for line in lines[1:4]]  # patient p0
    table.write_text("\n".join(lines) + "\n")
    out = ganaug("data", "split", patients, "--out", "split.csv").out
    assert {row["split"] for row in rows_of("split.csv") if row["label"] == "rare"} == {"training"}
    said = " ".join(out.split())
    assert "No validation rows: rare." in said
    assert "No holdout rows: rare." in said


@pytest.fixture
def divided(tmp_path, monkeypatch):
    """An archive that divides itself, with a training image among those held out."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    parts = {
        f"{name}_{what}": rng.integers(0, 256 if what == "images" else 2, shape).astype(np.uint8)
        for name, n in (("train", 40), ("test", 10))
        for what, shape in (("images", (n, 20, 20)), ("labels", (n, 1)))
    }
    parts["test_images"][0] = parts["train_images"][0]
    np.savez("set.npz", **parts)
    return "set.npz"


def test_a_source_with_splits_of_its_own_keeps_them(ganaug, divided):
    result = ganaug("data", "split", "set.npz", "--out", "split.csv")
    assert result.code == 0, result.err
    assert Counter(row["split"] for row in rows_of("split.csv")) == {
        "training": 35,
        "validation": 5,
        "holdout": 10,
    }
    assert "1 of them across splits of the source" in " ".join(result.out.split())
    refused = ganaug("data", "split", "set.npz", "--out", "other.csv", "--holdout", "0.3")
    assert refused.code == 2
    assert "says itself which images are holdout rows" in refused.err
    refused = ganaug("data", "split", "set.npz", "--out", "other.csv", "--validation", "0.85")
    assert refused.code == 2
    assert "the source's own training rows are 0.8 of all images" in refused.err


def test_a_file_that_takes_groups_and_near_duplicates_apart_is_warned_of(ganaug, patients):
    lines = [f"scans/{k}.png,{'holdout' if k % 3 == 2 else 'training'}" for k in range(60)]
    Path("split.csv").write_text("\n".join(["id,split", *lines, "scans/copy.png,holdout"]) + "\n")
    result = ganaug("fit", patients, "--split", "split.csv", "--out", "run", "--size", 16, *TINY)
    assert result.code == 0
    assert result.err == (
        "Warning: 20 groups and 1 cluster of near duplicates lie on both sides of split.csv: "
        "scores on rows that it holds out will flatter. Make a split that keeps them whole with: "
        "ganaug data split\n"
    )


def test_a_source_that_takes_near_duplicates_apart_is_warned_of(ganaug, divided):
    result = ganaug("fit", divided, "--out", "run", "--size", 16, *TINY)
    assert result.code == 0
    assert result.err.startswith(
        "Warning: 1 cluster of near duplicates lies on both sides of the source's own split: "
    )
    assert result.err.endswith(": ganaug data split --anew\n")
    again = ganaug("data", "split", divided, "--anew", "--holdout", "0.3", "--out", "split.csv")
    assert again.code == 0, again.err
    splits = {row["id"]: row["split"] for row in rows_of("split.csv")}
    assert splits["train/0"] == splits["test/0"]
    assert list(splits.values()).count("holdout") == pytest.approx(15, abs=2)
    fit = ("fit", divided, "--split", "split.csv", "--out", "other", "--size", 16, *TINY)
    assert (ganaug(*fit).err, rows_of("other/splits.csv")) == ("", rows_of("split.csv"))


def test_images_that_cannot_be_divided_write_nothing(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos" / "one", 1)
    for number in range(1, 4):
        shutil.copy("photos/one/0.png", f"photos/one/{number}.png")
    result = ganaug("data", "split", "photos", "--out", "split.csv")
    assert result.code == 2
    assert "4 images in 1 group" in result.err
    assert "near duplicates stay whole" in result.err
    assert not (tmp_path / "split.csv").exists()
