"""``ganaug data inspect``."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cli.scenes import tree, write_images


def test_what_a_set_holds_is_shown(ganaug, photos):
    result = ganaug("data", "inspect", photos)
    assert (result.code, result.err) == (0, "")
    assert "photos: 17 images in 2 classes" in result.out
    lines = [line.split() for line in result.out.splitlines()]
    assert ["common", "12", "70.6%", "█" * 24] in lines
    assert ["rare", "5", "29.4%", "█" * 10] in lines
    assert "2.4 : 1" in result.out
    assert "16x16 (17)" in result.out
    assert "1 channel of uint8 (17)" in result.out
    assert "Note" not in result.out
    assert "Warning" not in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_what_stands_in_the_way_of_a_fit_is_noted(ganaug, photos):
    (photos / "single").mkdir()
    Image.new("RGB", (20, 24)).save(photos / "single" / "0.png")
    out = ganaug("data", "inspect", photos).out
    assert "20x24 (1)" in out
    assert "give ganaug fit a --size" in out
    assert "Channels or bit depths differ" in out
    assert "Too few images to learn from: single" in out


def test_a_program_reads_json(ganaug, photos):
    found = json.loads(ganaug("data", "inspect", photos, "--json").out)
    assert found["data"] == "photos"
    assert found["counts"] == {"common": 12, "rare": 5}
    assert found["sizes"] == [{"height": 16, "width": 16, "images": 17}]


@pytest.fixture
def dubious(photos):
    """Images whose width goes with the class, one in both classes, one blank, one twice."""
    for name, width in (("narrow", 20), ("wide", 40)):
        write_images(photos / name, 12, side=width)
    shutil.rmtree(photos / "common")
    shutil.rmtree(photos / "rare")
    shutil.copy(photos / "wide" / "3.png", photos / "wide" / "again.png")
    shutil.copy(photos / "wide" / "4.png", photos / "narrow" / "stray.png")
    Image.new("L", (20, 20), 7).save(photos / "narrow" / "blank.png")
    return photos


def test_what_would_spoil_a_study_is_warned_of_first(ganaug, dubious):
    result = ganaug("data", "inspect", dubious)
    assert result.code == 0
    text = " ".join(result.out.split())
    assert "Width and height alone predict the class: AUC 0.9" in text
    assert "1 cluster of duplicates has several classes (narrow/stray.png, wide/4.png)" in text
    assert "4 images are duplicates or nearly so, in 2 clusters" in text
    assert "1 image is of one value or almost (narrow/blank.png)" in text
    assert "-> Blank images" in text
    assert text.index("Warning") < text.index("class images share")
    assert max(map(len, result.out.splitlines())) <= 80


def test_warnings_are_in_the_json_as_well(ganaug, dubious):
    found = json.loads(ganaug("data", "inspect", dubious, "--json").out)
    assert [warning["kind"] for warning in found["warnings"]] == [
        "duplicates_across_classes",
        "size_shortcut",
        "duplicates",
        "constant_images",
    ]
    assert all(warning["problem"] and warning["remedy"] for warning in found["warnings"])
    assert found["shortcuts"]["probes"]["width"] > 0.8
    assert found["duplicates"][0]["ids"] == ["narrow/stray.png", "wide/4.png"]
    assert found["channel_means"]["wide"]["grey"]["images"] == 13
    assert found["constant"] == ["narrow/blank.png"]


def test_duplicates_and_groups_across_the_source_s_splits_are_warned_of(ganaug, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 20, 20), dtype=np.uint8)
    images[6] = images[1]
    parts = {
        f"{name}_{what}": array[rows]
        for name, rows in (("train", slice(0, 4)), ("val", slice(4, 6)), ("test", slice(6, 8)))
        for what, array in (("images", images), ("labels", np.arange(8)[:, None] % 2))
    }
    np.savez(tmp_path / "set.npz", **parts)
    text = " ".join(ganaug("data", "inspect", tmp_path / "set.npz").out.split())
    assert "1 cluster of duplicates lies in several splits of the source" in text
    assert "train/1, test/0" in text
    assert "ganaug data split --anew" in text


def test_alike_images_within_a_group_are_counted_apart(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (12, 20, 20), dtype=np.uint8)
    images[1], images[3], images[5] = images[0], images[2], images[4]
    groups, labels = np.array(list("aabbccddeeff")), np.array([0, 0, 0, 1] + [0, 0, 1, 1] * 2)
    np.savez("set.npz", images=images, labels=labels, group=groups)
    text = " ".join(ganaug("data", "inspect", "set.npz").out.split())
    assert (
        "2 images in 1 cluster of the same or nearly so; 1 set of exact copies; 1 across classes; "
        "within groups, which is no harm: 4 images in 2 clusters" in text
    )
    assert "exact 0, 1 2, 3 " in text  # the table has the one of several classes
    assert "0, 1 0, 1" not in text
    labels[3] = 0
    np.savez("set.npz", images=images, labels=labels, group=groups)
    text = " ".join(ganaug("data", "inspect", "set.npz").out.split())
    assert "Duplicates within groups, which is no harm: 6 images in 3 clusters" in text
    assert "exact 0" not in text


def test_images_that_no_one_could_train_on_are_reported_and_not_fatal(ganaug, tmp_path):
    images = np.random.default_rng(0).random((6, 20, 20, 1)).astype(np.float32)
    images[1], images[2, 0, 0] = np.nan, np.inf
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(6) % 2)
    result = ganaug("data", "inspect", tmp_path / "set.npz", "--plot", tmp_path / "set.png")
    assert result.code == 0
    assert "2 images hold NaN or infinity" in result.out


def test_a_figure_is_drawn(ganaug, dubious, tmp_path):
    result = ganaug("data", "inspect", dubious, "--plot", "out/photos.png")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[-1] == "Figure: out/photos.png"
    with Image.open(tmp_path / "out" / "photos.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        colours = picture.convert("RGB").getcolors(2**24)
    assert len(colours) > 100


def test_a_figure_of_mixed_depths_and_of_one_class(ganaug, photos, tmp_path):
    shutil.rmtree(photos / "common")
    Image.fromarray(np.full((9, 30), 40_000, np.uint16)).save(photos / "rare" / "deep.png")
    Image.new("RGB", (40, 20), (200, 10, 10)).save(photos / "rare" / "red$_1$.png")
    result = ganaug("data", "inspect", photos, "--plot", "rare.png")
    assert (result.code, result.err) == (0, "")
    assert "not probed: there is one class only" in result.out
    assert (tmp_path / "rare.png").is_file()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("figure.jpg", "expected a name like out.png"),
        ("photos/figure.png", "inside the images' own folder"),
        ("photos/common/0.png/figure.png", "not a folder"),
    ],
)
def test_a_wrong_place_for_the_figure_is_refused(ganaug, photos, place, message):
    before = tree(photos)
    result = ganaug("data", "inspect", photos, "--plot", place)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert tree(photos) == before


def test_fields_of_the_dataset_plugin_are_passed_on(ganaug, photos):
    (photos / "labels.csv").write_text("file,label,who\nrare/0.png,a,p\nrare/1.png,b,p\n")
    result = ganaug("data", "inspect", photos / "labels.csv", "--open", "group_column=who")
    assert result.code == 0
    assert "Groups 1 of 2 images, 1 with several classes" in " ".join(result.out.split())


@pytest.mark.shared_data
def test_the_sizes_of_fracture_images_give_the_label_away(ganaug, shared_data):
    found = json.loads(ganaug("data", "inspect", shared_data / "fracture_eeeh", "--json").out)
    assert found["warnings"][0]["kind"] == "size_shortcut"
    assert 0.85 < found["shortcuts"]["probes"]["size"] < 0.95


@pytest.mark.shared_data
def test_a_real_set_with_its_own_splits(ganaug, shared_data):
    result = ganaug("data", "inspect", shared_data / "ci_fixtures" / "pneumonia_28_ci.npz")
    assert result.code == 0
    assert "training" in result.out
    assert "holdout" in result.out
