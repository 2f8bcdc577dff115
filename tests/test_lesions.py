"""Tables of boxes and masks of lesions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ganaug.errors import ConfigError, DataError
from ganaug.lesions import Lesions, mask_boxes, read_boxes, read_masks
from ganaug.patches import Box

IDS = ("benign/a.png", "benign/b.png", "malignant/a.png", "scans/1.2.840.113", "vol.nii.gz#0007")


@pytest.fixture
def table(tmp_path):
    def write(*lines, encoding="utf-8"):
        path = tmp_path / "boxes.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return path

    return write


@pytest.fixture
def masks(tmp_path):
    """Write a mask with some marked rectangles, (top, bottom, left, right), 40 wide, 30 high."""

    def write(name, *rectangles, value=255, size=(30, 40), mode=None):
        mask = np.zeros(size, dtype=np.uint8)
        for top, bottom, left, right in rectangles:
            mask[top:bottom, left:right] = value
        path = tmp_path / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(mask)
        (image.convert(mode) if mode else image).save(path)
        return tmp_path / "masks"

    return write


def boxes_of(lesions: Lesions, row: int, height: int = 100, width: int = 200) -> list[Box]:
    return [lesion.box for lesion in lesions.on(row, height, width)]


@pytest.mark.parametrize(
    ("columns", "cells", "top"),
    [
        ("x,y,width,height", "10,20,30,40", 20),
        ("xmin,ymin,xmax,ymax", "10,20,40,60", 20),
        ("x,y,radius", "25,35,15", 20),
    ],
)
def test_a_place_can_be_given_in_three_ways(table, columns, cells, top):
    path = table(f"file,{columns},label", f"benign/b.png,{cells},mass")
    height = 30 if columns.endswith("radius") else 40
    lesion = read_boxes(path, IDS).on(1, 100, 200)[0]
    assert (lesion.box, lesion.label) == (Box(10, top, 30, height), "mass")
    from_bottom = read_boxes(path, IDS, origin="bottom-left")
    assert boxes_of(from_bottom, 1) == [Box(10, 100 - top - height, 30, height)]


def test_an_image_without_a_row_has_no_lesions(table):
    found = read_boxes(table("file,x,y,radius", "benign/b.png,5,5,2"), IDS)
    assert [len(found.on(row, 100, 200)) for row in range(len(IDS))] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("benign/a.png", 0),
        ("benign\\a.png", 0),
        ("benign/a.dcm", 0),
        ("benign/a", 0),
        ("b.png", 1),
        ("b", 1),
        ("elsewhere/b.dcm", 1),
        ("1.2.840.113", 3),
        ("1.2.840.113.dcm", 3),
        ("vol.nii.gz#0007", 4),
    ],
)
def test_a_file_is_found_with_or_without_folders_and_suffix(table, file, row):
    found = read_boxes(table("file,x,y,radius", f"{file},5,5,2"), IDS)
    assert list(found.by_row) == [row]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,x,y,radius", "b,5,5,2"], "boxes.csv has no column 'file'; its columns are name, x"),
        (["file,x,y", "b,5,5"], "x,y,width,height or .* it has none of them"),
        (["file,x,y,width,height,radius", "b,5,5,2,2,2"], "it has several of them"),
        (["file,x,y,radius", "c,5,5,2"], "line 2: DATA has no image 'c'.* like 'benign/a.png'"),
        (["file,x,y,radius", "a.png,5,5,2"], "'a.png' names 2 images. Say which, such as 'benign"),
        (["file,x,y,radius", "b,5,,2"], "line 2: y must be a number of pixels; got ''"),
        (["file,x,y,radius", "b,5,5"], "radius must be a number of pixels; got ''"),
        (["file,x,y,radius", "b,5,nan,2"], "got 'nan'"),
        (["file,x,y,radius", "b,5,5,0"], r"line 2: the box is empty \(x 5, y 5, radius 0\)"),
        (["file,xmin,ymin,xmax,ymax", "b,9,9,5,12"], "the box is empty"),
        (["file,x,y,radius,label", "b,5,5,2,"], "line 2: the label is empty"),
        (["file,x,y,radius", "b,5,5,2", "benign/b.png,5,5,2"], "line 3 repeats boxes.csv line 2"),
    ],
)
def test_tables_that_cannot_be_used_give_one_line(table, lines, message):
    with pytest.raises(DataError, match=message) as caught:
        read_boxes(table(*lines), IDS)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_or_of_another_encoding(table, tmp_path):
    with pytest.raises(DataError, match=r"Cannot read the table .*gone.csv: No such file"):
        read_boxes(tmp_path / "gone.csv", IDS)
    with pytest.raises(DataError, match="not a CSV table in UTF-8"):
        read_boxes(table("file,x,y,radius", "bé,5,5,2", encoding="latin-1"), IDS)
    found = read_boxes(table("file,x,y,radius", "b,5,5,2", encoding="utf-8-sig"), IDS)
    assert list(found.by_row) == [1]


def test_an_unknown_origin_is_refused(table):
    with pytest.raises(ConfigError, match="top-left or bottom-left; got 'left'"):
        read_boxes(table("file,x,y,radius"), IDS, origin="left")


def test_a_box_over_the_border_says_so(table):
    lines = ("file,x,y,width,height", "b,-10,90,30,40", "b,50,50,10,10")
    one, other = read_boxes(table(*lines), IDS).on(1, 100, 200)
    assert (one.box, one.reaches_over) == (Box(-10, 90, 30, 40), True)
    assert (other.box, other.reaches_over) == (Box(50, 50, 10, 10), False)


@pytest.mark.parametrize("cells", ["200,5,10,10", "-10,5,10,10", "5,100,10,10", "5,-20,10,10"])
def test_a_lesion_outside_the_image_is_refused(table, cells):
    found = read_boxes(table("file,x,y,width,height", f"b,{cells}"), IDS)
    with pytest.raises(DataError, match=r"line 2: the lesion lies outside .* of 200x100 pixels"):
        found.on(1, 100, 200)


def test_sides_are_the_longer_ones_and_at_least_the_size(table):
    lines = ("file,x,y,width,height", "b,0,0,30.5,20", "malignant/a,0,0,5,8")
    assert read_boxes(table(*lines), IDS).sides(16) == [31, 16]
    assert Lesions(by_row={}, masks={}).sides(16) == [16]


def test_each_connected_part_of_a_mask_is_a_lesion(masks):
    folder = masks("benign/b.bmp", (2, 5, 10, 20), (20, 30, 30, 40))
    masks("malignant/a.png")
    found = read_masks(folder, IDS)
    assert boxes_of(found, 1, 30, 40) == [Box(10, 2, 10, 3), Box(30, 20, 10, 10)]
    assert found.on(2, 30, 40) == found.on(0, 30, 40) == []


def test_parts_that_touch_at_a_corner_are_one():
    mask = np.eye(3, dtype=bool)
    assert mask_boxes(mask) == [Box(0, 0, 3, 3)]


@pytest.mark.parametrize(
    ("mode", "value"), [("1", 255), ("P", 1), ("RGB", 1), ("RGB", 255), ("RGBA", 255), ("LA", 9)]
)
def test_masks_may_have_any_mode_and_one_value(masks, mode, value):
    folder = masks("b.png", (2, 5, 10, 20), value=value, mode=mode)
    assert boxes_of(read_masks(folder, IDS), 1, 30, 40) == [Box(10, 2, 10, 3)]


def test_a_mask_of_another_size_is_refused_even_when_it_is_empty(masks):
    found = read_masks(masks("b.png"), IDS)
    with pytest.raises(DataError, match=r"mask b.png has 40x30 pixels .* the image 40x31"):
        found.on(1, 31, 40)


def test_masks_that_cannot_be_used_give_one_line(masks, tmp_path):
    with pytest.raises(DataError, match="mask c.png: DATA has no image 'c.png'"):
        read_masks(masks("c.png"), IDS)
    (tmp_path / "masks" / "c.png").write_text("no image")
    (tmp_path / "masks" / "c.png").rename(tmp_path / "masks" / "b.png")
    with pytest.raises(DataError, match="cannot be read as a mask image"):
        read_masks(tmp_path / "masks", IDS)
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(
        tmp_path / "masks" / "b.png"
    )
    with pytest.raises(DataError, match=r"b.png holds 99 values besides 0"):
        read_masks(tmp_path / "masks", IDS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no masks"):
        read_masks(tmp_path / "empty", IDS)


def test_a_mask_too_large_is_refused_before_it_is_decoded(masks, monkeypatch):
    monkeypatch.setattr("ganaug.lesions._MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="the mask is too large, 40x30 pixels"):
        read_masks(masks("b.png"), IDS)


def test_a_table_of_masks_gives_labels(masks, table):
    masks("1.png", (2, 5, 10, 20))
    masks("2.png", (7, 9, 10, 20))
    rows = ("file,mask,label", "b,masks/1.png,mass", "b,masks/2.png,calcification")
    found = read_masks(table(*rows), IDS).on(1, 30, 40)
    assert [lesion.label for lesion in found] == ["mass", "calcification"]
    assert [lesion.box.y for lesion in found] == [2, 7]


def test_a_table_of_masks_stays_in_its_folder(masks, table, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    Image.new("L", (40, 30)).save(outside)
    for path in (f"../{outside.name}", str(outside), "gone.png", ""):
        with pytest.raises(DataError, match=r"line 2: there is no mask .* in "):
            read_masks(table("file,mask", f"b,{path}"), IDS)
    with pytest.raises(DataError, match="there is no mask ''"):
        read_masks(table("file,label", "b,mass"), IDS)
