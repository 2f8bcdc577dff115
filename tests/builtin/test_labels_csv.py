"""Tables of image files and labels."""

from __future__ import annotations

import pytest
from PIL import Image

from ganaug import Registry
from ganaug.builtin.data.labels_csv import open_csv
from ganaug.errors import DataError
from ganaug.sources import open_images


@pytest.fixture
def table(tmp_path):
    (tmp_path / "images").mkdir()
    for row in range(3):
        Image.new("L", (4, 4), row).save(tmp_path / "images" / f"{row}.png")
    path = tmp_path / "labels.csv"
    path.write_text(
        "file,label,group,age\n"
        "images/2.png,tumor,patient1,30\n"
        "images/0.png,clear,,40\n"
        "images/1.png,tumor,patient1,50\n"
    )
    return path


def test_rows_labels_and_groups_are_read(table):
    images = open_csv(table)
    assert images.counts == {"clear": 1, "tumor": 2}
    assert images.labels.tolist() == [1, 0, 1]
    assert images.ids == ("images/2.png", "images/0.png", "images/1.png")
    assert images.groups == ("patient1", "", "patient1")
    assert images.load().pixels[:, 0, 0, 0].tolist() == [2, 0, 1]


@pytest.mark.parametrize("column", ["group", "patient"])
def test_a_group_column_that_is_blank_or_missing_means_no_groups(table, column):
    table.write_text(f"file,label,{column}\nimages/0.png,clear,\n")
    assert open_csv(table).groups is None


def test_columns_may_have_other_names(table):
    table.write_text("path,diagnosis,woman\nimages/0.png,clear,7\n")
    images = open_csv(table, file_column="path", label_column="diagnosis", group_column="woman")
    assert (images.ids, images.class_names, images.groups) == (
        ("images/0.png",),
        ("clear",),
        ("7",),
    )


def test_a_spreadsheets_byte_order_mark_is_skipped(table):
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(open_csv(table)) == 3


def test_a_missing_column_lists_those_found(table):
    with pytest.raises(DataError, match="no column 'diagnosis'.*file, label, group, age"):
        open_csv(table, label_column="diagnosis")


def test_missing_files_are_counted_and_the_first_named(table):
    (table.parent / "images" / "0.png").unlink()
    (table.parent / "images" / "1.png").unlink()
    with pytest.raises(DataError, match="2 of 3 files do not exist, the first is 'images/0.png'"):
        open_csv(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nimages/0.png,\nimages/1.png, \n", "2 of 2 rows have no label"),
        ("file,label\nimages/0.png\n", "1 of 1 rows have no label"),
        ("file,label\nimages/0.png,a\nimages/0.png,b\n", "more than once.*'images/0.png'"),
        ("file,label\n", "no rows"),
        ("", "no column 'file'"),
    ],
)
def test_unusable_tables_say_why(table, text, message):
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        open_csv(table)


def test_what_is_no_table_is_an_error(table):
    table.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="Cannot read"):
        open_csv(table)
    with pytest.raises(DataError, match="does not exist"):
        open_csv(table.parent / "other.csv")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "counts", "groups"),
    [
        ("mias_patches", {"benign": 66, "malignant": 51, "normal_tissue": 222}, 104),
        ("headct_hemorrhage", {"hemorrhage": 100, "normal": 100}, None),
        ("brain_mri_253", {"no_tumor": 98, "tumor": 155}, None),
        ("fracture_eeeh", {"fractured": 60, "not_fractured": 216}, None),
        (
            "ham10000_224_sub",
            {"akiec": 31, "bcc": 44, "bkl": 98, "df": 10, "mel": 82, "nv": 722, "vasc": 13},
            1000,
        ),
    ],
)
def test_real_tables_have_their_counts(shared_data, name, counts, groups):
    images = open_csv(shared_data / name / "labels.csv")
    assert images.counts == counts
    assert (images.groups and len(set(images.groups))) == groups
    assert images.pixels[len(images) - 1].ndim == 3


def test_what_ganaug_writes_beside_its_images_opens_as_data(tmp_path):
    (tmp_path / "rare").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "rare" / "0.png")
    Image.new("L", (64, 64)).save(tmp_path / "grid.png")
    (tmp_path / "manifest.csv").write_text("file,label,seed\nrare/0.png,rare,0\n")
    images = open_images(str(tmp_path), Registry.load())
    assert images.ids == ("rare/0.png",)
    assert images.class_names == ("rare",)
