"""``ganaug data patches``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.scenes import tree
from ganaug import Registry
from ganaug.sources import open_images

SIZE = ("--size", 16)


@pytest.fixture
def films(tmp_path, monkeypatch):
    """Three films, 100 wide and 80 high, tissue but for the first 10 columns; the cwd above."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("films").mkdir()
    for name in ("left", "right", "healthy"):
        film = rng.integers(1, 256, (80, 100), dtype=np.uint8)
        film[:, :10] = 0
        Image.fromarray(film).save(f"films/{name}.png")
    return Path("films")


@pytest.fixture
def boxes(films):
    """A table of three lesions on two films."""
    Path("boxes.csv").write_text(
        "file,x,y,width,height,label\n"
        "left,30,20,16,10,mass\n"
        "left.png,60,50,32,32,calcification\n"
        "right,85,20,30,8,mass\n"
    )
    return Path("boxes.csv")


def rows(folder):
    with (Path(folder) / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_patches_and_a_table_are_written(ganaug, films, boxes):
    result = ganaug(
        "data", "patches", films, "--boxes", boxes, "--out", "out", *SIZE, "--per-image", 3
    )
    assert (result.code, result.err) == (0, "")
    found = rows("out")
    assert list(found[0]) == ["file", "label", "group", "source", "x", "y", "side"]
    assert {name for name in tree(Path("out")) if name.endswith(".png")} == {
        row["file"] for row in found
    }
    lesions = [tuple(row.values()) for row in found if row["label"] != "normal"]
    assert sorted(lesions) == [
        ("calcification/left.png", "calcification", "left.png", "left.png", "60", "48", "32"),
        ("mass/left.png", "mass", "left.png", "left.png", "30", "17", "16"),
        ("mass/right.png", "mass", "right.png", "right.png", "70", "9", "30"),
    ]
    normal = [row for row in found if row["label"] == "normal"]
    assert {row["source"] for row in normal} == {"left.png", "right.png", "healthy.png"}
    assert all(int(row["x"]) >= 10 and int(row["side"]) in {16, 30, 32} for row in normal)


def test_patches_hold_the_pixels_that_the_table_says(ganaug, films, boxes):
    ganaug("data", "patches", films, "--boxes", boxes, "--out", "out", *SIZE)
    film = np.asarray(Image.open("films/left.png"))
    patch = Image.open("out/mass/left.png")
    assert patch.mode == "L"
    assert (np.asarray(patch) == film[17:33, 30:46]).all()


def test_a_summary_says_what_there_is(ganaug, films, boxes):
    out = ganaug(
        "data", "patches", films, "--boxes", boxes, "--out", "out", *SIZE, "--per-image", 30
    ).out
    lines, text = [line.split() for line in out.splitlines()], " ".join(out.split())
    assert out.startswith(f"out: {len(rows('out'))} patches of 16x16 pixels from 3 images in 3 gr")
    assert ["mass", "2", "2", "2", "16", "to", "30,", "median", "30"] in lines
    assert "Images without a lesion: 1." in text
    assert "border: 2; their patches are shifted inside." in text
    assert "room for fewer than 30 normal patches: 3." in text


def test_the_written_folder_opens_as_an_image_set_with_groups(ganaug, films, boxes):
    Path("films/labels.csv").write_text(
        "file,label,group\nleft.png,film,ann\nright.png,film,ann\nhealthy.png,film,\n"
    )
    ganaug("data", "patches", films, "--boxes", boxes, "--out", "out", *SIZE)
    assert {row["source"]: row["group"] for row in rows("out")} == {
        "left.png": "ann",
        "right.png": "ann",
        "healthy.png": "healthy.png",
    }
    images = open_images("out", Registry.load())
    assert images.class_names == ("calcification", "mass", "normal")
    assert set(images.groups) == {"ann", "healthy.png"}
    assert images.load().spec.shape == (1, 16, 16)


def test_the_same_seed_draws_the_same_patches(ganaug, films, boxes):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        ganaug("data", "patches", films, "--boxes", boxes, "--out", out, *SIZE, "--seed", seed)
    assert tree(Path("a")) == tree(Path("b"))
    assert tree(Path("a"))["labels.csv"] != tree(Path("c"))["labels.csv"]


def test_masks_take_the_class_of_their_image(ganaug, films):
    for name, label in (("left", "benign"), ("right", "malignant"), ("healthy", "normal")):
        Path(f"set/{label}").mkdir(parents=True)
        Path(f"films/{name}.png").rename(f"set/{label}/{name}.png")
        mask = np.zeros((80, 100), dtype=np.uint8)
        mask[10:20, 40:50] = 255 * (name != "healthy")
        Path(f"masks/{label}").mkdir(parents=True)
        Image.fromarray(mask).save(f"masks/{label}/{name}.png")
    result = ganaug("data", "patches", "set", "--masks", "masks", "--out", "out", *SIZE)
    assert (result.code, result.err) == (0, "")
    labels = {(row["source"], row["label"]) for row in rows("out")}
    assert labels == {
        *(("benign/left.png", "benign"), ("benign/left.png", "normal")),
        *(("malignant/right.png", "malignant"), ("malignant/right.png", "normal")),
        ("normal/healthy.png", "normal"),
    }


def test_images_whose_lesions_may_not_be_marked_are_counted(ganaug, films):
    Path("films/labels.csv").write_text(
        "file,label\nleft.png,cancer\nright.png,cancer\nhealthy.png,healthy\n"
    )
    Path("boxes.csv").write_text("file,x,y,radius\nleft,40,10,8\n")
    out = ganaug("data", "patches", films, "--boxes", "boxes.csv", "--out", "out", *SIZE).out
    text = " ".join(out.split())
    assert "Images without a lesion: 2." in text
    assert "of classes whose other images have some: 1; if lesions there" in text


def test_without_labels_or_classes_a_lesion_is_a_lesion(ganaug, films):
    Path("boxes.csv").write_text("file,x,y,radius\nleft,40,10,8\n")
    ganaug(
        *("data", "patches", films, "--boxes", "boxes.csv", "--out", "out", *SIZE),
        *("--origin", "bottom-left", "--per-image", 0),
    )
    assert [tuple(row.values()) for row in rows("out")] == [
        ("lesion/left.png", "lesion", "left.png", "left.png", "32", "62", "16")
    ]


def test_contrast_and_tissue_can_be_chosen(ganaug, films, boxes):
    shown = {}
    for contrast in ("none", "equalize", "clahe"):
        options = ("--boxes", boxes, "--contrast", contrast, "--tissue", "otsu")
        result = ganaug("data", "patches", films, *options, "--out", contrast, *SIZE)
        assert result.code == 0
        shown[contrast] = (Path(contrast) / "mass/right.png").read_bytes()
    assert len(set(shown.values())) == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("file,x,y,radius\ngone,5,5,5\n", "boxes.csv line 2: DATA has no image 'gone'"),
        ("file,x,y,radius\nleft,5,5,0\n", "boxes.csv line 2: the box is empty"),
        ("file,x,y,radius\nleft,500,5,9\n", "Image left.png: boxes.csv line 2: the lesion lies"),
        ("file,x,y,radius,label\nleft,5,5,9,Normal\n", "cannot have the label 'Normal'"),
    ],
)
def test_wrong_boxes_give_one_line_and_nothing_is_written(ganaug, films, lines, message):
    Path("boxes.csv").write_text(lines)
    result = ganaug("data", "patches", films, "--boxes", "boxes.csv", "--out", "out", *SIZE)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["boxes.csv", "films"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", 200), "pixels (width x height) has no patch of 200 pixels"),
        (("--size", 16, "--per-image", 0), "No patch was found"),
        (("--size", 16, "--boxes", "a", "--masks", "b"), "Give --boxes or --masks, not both"),
        (("--size", 16, "--boxes", "a.csv"), "Cannot read the table a.csv: No such file"),
        (("--size", 16, "--masks", "a"), "Cannot read the table a: No such file"),
    ],
)
def test_requests_that_cannot_be_met(ganaug, films, options, message):
    result = ganaug("data", "patches", films, "--out", "out", *options)
    assert result.code == 2
    assert message in result.err
    assert not Path("out").exists()


def test_patches_are_not_written_among_the_images_or_over_anything(ganaug, films):
    assert "inside the images' own folder" in (
        ganaug("data", "patches", films, "--out", films / "out", *SIZE).err
    )
    Path("out").mkdir()
    assert "exists already" in ganaug("data", "patches", films, "--out", "out", *SIZE).err


def test_an_image_is_named_when_it_cannot_be_used(ganaug, films):
    Image.new("L", (100, 80), 7).save("films/blank.png")
    result = ganaug("data", "patches", films, "--out", "out", *SIZE)
    assert result.code == 2
    assert "Image blank.png: it is constant" in result.err


@pytest.mark.shared_data
def test_patches_of_real_images(ganaug, shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shared_data / "headct_hemorrhage" / "images"
    first = sorted(folder.glob("*/*"))[0].relative_to(folder).as_posix()
    Path("boxes.csv").write_text(f"file,x,y,width,height\n{first},60,60,40,30\n")
    result = ganaug(
        *("data", "patches", folder, "--boxes", "boxes.csv", "--out", "out"),
        *("--size", 32, "--per-image", 1),
    )
    assert (result.code, result.err) == (0, "")
    lesions = [row for row in rows("out") if row["label"] != "normal"]
    assert [row["source"] for row in lesions] == [first]
    assert len(rows("out")) > 100
