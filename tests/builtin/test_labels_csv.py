"""Tables of image files and labels."""

from __future__ import annotations

import os

import nibabel
import numpy as np
import pytest
from PIL import Image

from builtin.dicom_files import ramp, write, write_series
from ganaug import Registry
from ganaug.builtin.data.labels_csv import open_csv
from ganaug.builtin.data.options import CsvConfig
from ganaug.errors import ConfigError, DataError
from ganaug.sources import open_images


def open_table(table, **fields):
    return open_csv(table, CsvConfig(**fields))


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
    images = open_table(table)
    assert images.counts == {"clear": 1, "tumor": 2}
    assert images.labels.tolist() == [1, 0, 1]
    assert images.ids == ("images/2.png", "images/0.png", "images/1.png")
    assert images.groups == ("patient1", "", "patient1")
    assert images.load().pixels[:, 0, 0, 0].tolist() == [2, 0, 1]


def test_images_are_decoded_when_they_are_read(table):
    images = open_table(table)
    (table.parent / "images" / "1.png").write_bytes(b"damaged")
    assert images.pixels[1].shape == (1, 4, 4)
    with pytest.raises(DataError, match="1.png is not an image"):
        images.pixels[2]


def test_greyscale_and_colour_of_many_sizes_are_read_one_by_one(table):
    Image.new("RGB", (7, 5), (9, 8, 7)).save(table.parent / "images" / "1.png")
    Image.new("L", (3, 2)).save(table.parent / "images" / "0.png")
    images = open_table(table)
    assert [item.shape for item in images.pixels] == [(1, 4, 4), (1, 2, 3), (3, 5, 7)]
    with pytest.raises(DataError, match="mixed modes: 2 with 1 channel of uint8, 1 with 3"):
        images.load(4)


def test_a_group_may_hold_several_labels(table):
    table.write_text("file,label,group\nimages/0.png,clear,anna\nimages/1.png,tumor,anna\n")
    assert open_table(table).groups == ("anna", "anna")


@pytest.mark.parametrize("column", ["group", "patient"])
def test_a_group_column_that_is_blank_or_missing_means_no_groups(table, column):
    table.write_text(f"file,label,{column}\nimages/0.png,clear,\n")
    assert open_table(table).groups is None


def test_columns_may_have_other_names(table):
    table.write_text("path, diagnosis,woman\nimages/0.png,clear,7\n")
    images = open_table(table, file_column="path", label_column="diagnosis", group_column="woman")
    assert (images.ids, images.class_names, images.groups) == (
        ("images/0.png",),
        ("clear",),
        ("7",),
    )


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"s/(\d)", ("2", "0", "1")),
        (r"images|other", ("images",) * 3),
        (r"(\w+)/(\d)", ("images",) * 3),
    ],
)
def test_a_pattern_on_the_file_goes_before_the_group_column(table, pattern, groups):
    assert open_table(table, group_pattern=pattern).groups == groups


@pytest.mark.parametrize("pattern", ["[02]", "([02])?.png", "x*"])
def test_a_pattern_that_leaves_a_file_without_group_is_refused(table, pattern):
    with pytest.raises(DataError, match=r"labels.csv: \d of 3 names give no group.*images/"):
        open_table(table, group_pattern=pattern)


def test_a_pattern_that_is_no_regular_expression_is_refused():
    with pytest.raises(ConfigError, match=r"group_pattern: expected a regular.*unterminated.*'\('"):
        CsvConfig.from_strings({"group_pattern": "("})


def test_blank_rows_of_a_spreadsheet_are_skipped(table):
    table.write_text("file,label\r\nimages/0.png,clear\r\n,\r\n\r\nimages/1.png,tumor\r\n")
    assert open_table(table).ids == ("images/0.png", "images/1.png")


def test_a_spreadsheets_byte_order_mark_is_skipped(table):
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(open_table(table)) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"label_column": "diagnosis"},
            "no column 'diagnosis'.*file, label, group, age.*label_col",
        ),
        ({"file_column": "File"}, "no column 'File'.*Did you mean 'file'"),
        ({"group_column": "woman"}, "no column 'woman'.*group_column"),
    ],
)
def test_a_missing_column_lists_those_found(table, fields, message):
    with pytest.raises(DataError, match=message):
        open_table(table, **fields)


def test_missing_files_are_counted_and_the_first_named(table):
    (table.parent / "images" / "0.png").unlink()
    (table.parent / "images" / "1.png").unlink()
    message = r"2 of 3 rows name files that do not exist, the first in line 3 \('images/0.png'\)"
    with pytest.raises(DataError, match=message):
        open_table(table)


def test_backslashes_are_explained(table):
    table.write_text("file,label\nimages\\0.png,clear\n")
    with pytest.raises(DataError, match="do not exist.*forward slashes"):
        open_table(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nimages/0.png,\nimages/1.png, \n", "2 of 2 rows have no label.*line 2"),
        ("file,label\n,clear\n", "1 of 1 rows name no file"),
        ("file,label\nimages/0.png\n", "line 2 has 1 fields, the header has 2"),
        ("file,label\nimages/0.png,a\nimages/1.png,a,b\n", "line 3 has 3 fields"),
        ("file,label\nimages/0.png,a\nimages/0.png,b\n", r"'images/0.png'.*2 \(a\) and 3 \(b\)"),
        ("file,label\nimages/0.png,a\n./images/../images/0.png,a\n", "more than once"),
        ("file,label\n", "no rows"),
        ("", "is empty; expected a header"),
        ("file,label,label\nimages/0.png,a,b\n", "2 columns 'label'"),
        ("file;label\nimages/0.png;a\n", "separated by semicolons; expected commas"),
        ("file\tlabel\nimages/0.png\ta\n", "separated by tabs"),
        ('file,label\nimages/0.png,"a\nimages/1.png,b\n', "Cannot read.*line 3.*unexpected end"),
        (f"file,label\n{'x' * 5000},a\n", "1 of 1 rows name files that do not exist"),
        ("file,label\nimages,a\n", "images holds no DICOM files"),
        ("file,label\nnobody/home\n", "line 2 has 1 fields"),
    ],
)
def test_unusable_tables_say_why(table, text, message):
    table.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        open_table(table)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\nimages/0.png,Läsion\n".encode("cp1252"), "Windows-1252.*from line 2"),
        ("file,label\nimages/0.png,a\n".encode("utf-16"), "looks like UTF-16"),
        ("file,label\nimages/0.png,a\n".encode("utf-16-le"), "looks like UTF-16"),
        (b"PK\x03\x04\x14\xff", "zip or Excel file"),
    ],
)
def test_another_encoding_is_recognised(table, content, message):
    table.write_bytes(content)
    with pytest.raises(DataError, match=rf"labels.csv is .*{message}.*UTF-8"):
        open_table(table)


def test_what_is_no_table_is_an_error(table):
    with pytest.raises(DataError, match="does not exist"):
        open_table(table.parent / "other.csv")
    with pytest.raises(DataError, match="Cannot read"):
        open_table(table.parent)


@pytest.fixture
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    Image.new("L", (4, 4)).save(folder / "secret.png")
    return folder


@pytest.mark.parametrize("kind", ["climbing", "absolute", "link", "linked folder"])
def test_files_outside_the_tables_folder_are_refused(table, outside, kind):
    (table.parent / "link.png").symlink_to(outside / "secret.png")
    (table.parent / "linked").symlink_to(outside)
    file = {
        "climbing": os.path.relpath(outside / "secret.png", table.parent),
        "absolute": str(outside / "secret.png"),
        "link": "link.png",
        "linked folder": "linked/secret.png",
    }[kind]
    table.write_text(f"file,label\nimages/0.png,a\n{file},a\n")
    with pytest.raises(DataError, match="1 of 2 rows point outside .*line 3.*as root"):
        open_table(table)


def test_a_neighbour_whose_name_begins_alike_is_outside(table):
    neighbour = table.parent.with_name(table.parent.name + "_more")
    neighbour.mkdir()
    Image.new("L", (4, 4)).save(neighbour / "0.png")
    table.write_text(f"file,label\n../{neighbour.name}/0.png,a\n")
    with pytest.raises(DataError, match="point outside"):
        open_table(table)


def test_a_root_is_where_files_are_looked_for_and_must_lie(table, outside):
    table.write_text(f"file,label\nsecret.png,a\n{outside}/./other.png,b\n")
    Image.new("L", (4, 4)).save(outside / "other.png")
    assert len(open_table(table, root=str(outside))) == 2
    table.write_text(f"file,label\n../0.png,a\n{outside}/other.png,b\n")
    with pytest.raises(DataError, match="2 of 2 rows point outside .*images"):
        open_table(table, root=str(table.parent / "images"))


def test_links_within_the_folder_are_followed(table):
    (table.parent / "link.png").symlink_to(table.parent / "images" / "2.png")
    table.write_text("file,label\nlink.png,a\n")
    assert open_table(table).load().pixels.max() == 2


@pytest.fixture
def medical(tmp_path, write_picture, write_volume, write_scan):
    """A folder with a file of each kind, and two volumes of one name."""
    write_picture(tmp_path / "photo.png")
    write_volume(tmp_path / "a" / "scan.nii.gz")
    write_volume(tmp_path / "b" / "scan.nii.gz")
    write_scan(tmp_path / "one.dcm")
    write_scan(tmp_path / "IM0001", frames=2)
    for k in range(3):
        write_scan(tmp_path / "series" / f"{k}.dcm", position=k, series="1.2.3")
    return tmp_path / "labels.csv"


def test_the_slices_of_a_volume_keep_its_rows_label_and_group(medical):
    medical.write_text(
        "file,label,group\na/scan.nii.gz,tumor,anna\nb/scan.nii.gz,clear,\nseries,tumor,berta\n"
    )
    images = open_table(medical)
    assert images.counts == {"clear": 3, "tumor": 6}
    assert images.ids == tuple(
        f"{name}#{k:04d}" for name in ("a/scan.nii.gz", "b/scan.nii.gz", "series") for k in range(3)
    )
    assert images.groups[:3] + images.groups[6:] == ("anna",) * 3 + ("berta",) * 3
    assert len(set(images.groups[3:6])) == 1
    assert images.groups[3].startswith("volume-")


def test_only_volumes_of_the_same_content_are_one_group(medical):
    copy = medical.parent / "copy.nii.gz"
    copy.write_bytes((medical.parent / "a" / "scan.nii.gz").read_bytes())
    nibabel.save(
        nibabel.Nifti1Image(np.ones((4, 5, 3), np.int16), np.eye(4)),
        medical.parent / "b" / "scan.nii.gz",
    )
    medical.write_text("file,label\na/scan.nii.gz,x\ncopy.nii.gz,x\nb/scan.nii.gz,x\n")
    first, copied, other = open_table(medical).groups[::3]
    assert first == copied != other


def test_slices_of_one_series_in_rows_of_their_own_share_a_group(medical):
    medical.write_text("file,label\nseries/0.dcm,x\nseries/1.dcm,y\none.dcm,x\n")
    groups = open_table(medical).groups
    assert groups[0] == groups[1] != groups[2]


def test_files_of_several_frames_and_without_extension_become_their_frames(medical):
    medical.write_text("file,label\nIM0001,x\none.dcm,y\n")
    images = open_table(medical, window="8,17")
    assert images.ids == ("IM0001#0000", "IM0001#0001", "one.dcm")
    assert images.labels.tolist() == [0, 0, 1]
    assert images.pixels[0].shape == (1, 4, 4)
    assert images.pixels[0].dtype == np.uint16


def test_a_table_may_mix_pictures_and_medical_files(medical):
    medical.write_text("file,label\nphoto.png,x\nseries,y\n")
    images = open_table(medical)
    assert images.ids == ("photo.png", "series#0000", "series#0001", "series#0002")
    assert images.value_range == (0, 255)
    assert [(item.shape, str(item.dtype)) for item in images.pixels] == [
        ((1, 8, 8), "uint8"),
        *[((1, 4, 4), "uint16")] * 3,
    ]
    with pytest.raises(DataError, match="mixed modes"):
        images.load(4)


def test_windows_and_slices_are_chosen_for_every_volume(medical):
    medical.write_text("file,label\na/scan.nii.gz,x\nseries,y\n")
    images = open_table(medical, every=2, window="full")
    assert images.ids == tuple(
        f"{name}#{k:04d}" for name in ("a/scan.nii.gz", "series") for k in (0, 2)
    )
    assert images.pixels[3].max() == 65535


def test_a_pattern_is_searched_in_the_row_and_not_in_the_volumes_own_name(medical):
    medical.write_text("file,label\na/scan.nii.gz,x\nseries,y\n")
    images = open_table(medical, group_pattern="^([as])")
    assert images.groups == ("a",) * 3 + ("s",) * 3


def test_a_folder_of_two_series_gives_each_its_name(medical, write_scan):
    for k in range(2):
        write_scan(medical.parent / "series" / f"other{k}.dcm", position=k, series="1.2.4")
    medical.write_text("file,label\nseries,x\n")
    ids = open_table(medical).ids
    assert len(ids) == len(set(ids)) == 5
    assert all(id_.startswith("series/") for id_ in ids)


def test_grey_dicom_of_8_and_16_bits_is_of_one_mode_with_a_full_window(medical):
    write(medical.parent / "eight.dcm", ramp(dtype=np.uint8))
    medical.write_text("file,label\neight.dcm,x\none.dcm,y\n")
    with pytest.raises(DataError, match="mixed modes.*--window full"):
        open_table(medical).load(4)
    assert open_table(medical, window="full").load(4).pixels.dtype == np.uint16


@pytest.fixture
def of_patients(tmp_path, monkeypatch):
    """Two series of one patient and one of another, in a table without groups."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name, patient in (("ct1", "MRN1"), ("ct2", "MRN1"), ("ct3", "MRN2")):
        write_series(tmp_path / name, [0, 1], PatientID=patient)
    table = tmp_path / "labels.csv"
    table.write_text("file,label\nct1,x\nct2,y\nct3,y\n")
    return table


def test_rows_of_one_patient_can_be_one_group(of_patients):
    assert len(set(open_table(of_patients).groups)) == 3
    groups = open_table(of_patients, group_from="patient").groups
    assert groups[0].startswith("patient-")
    assert groups == (groups[0],) * 4 + (groups[4],) * 2
    assert groups[0] != groups[4]
    key = of_patients.with_name("key")
    key.write_text("of sixteen bytes or more")
    assert open_table(of_patients, group_from="patient", group_key=str(key)).groups[0] != groups[0]


def test_groups_of_a_table_go_before_those_of_its_files(of_patients):
    of_patients.write_text("file,label,group\nct1,x,anna\nct2,y,\nct3,y,\n")
    groups = open_table(of_patients, group_from="patient").groups
    assert groups[:2] == ("anna", "anna")
    assert all(group.startswith("patient-") for group in groups[2:])
    groups = open_table(of_patients, group_from="patient", group_pattern=r"ct\d").groups
    assert groups == ("ct1", "ct1", "ct2", "ct2", "ct3", "ct3")


def test_a_volume_of_a_4d_file_is_chosen_for_a_row(medical):
    values = np.arange(4 * 5 * 3 * 2, dtype=np.int16).reshape(4, 5, 3, 2)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), medical.parent / "bold.nii")
    medical.write_text("file,label\nbold.nii,x\n")
    with pytest.raises(DataError, match="bold.nii is 4D.*volume=0"):
        open_table(medical)
    first, second = (open_table(medical, volume=k, window="0,120").load().pixels for k in (0, 1))
    assert first.shape == second.shape == (3, 1, 5, 4)
    assert (first < second).any()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("series,a\nseries/0.dcm,b", r"'series/0.dcm' in line 3 \(b\) .*'series' of line 2 \(a\)"),
        ("deep/er/0.dcm,b\ndeep,a", r"'deep/er/0.dcm' in line 2 \(b\) .*'deep' of line 3 \(a\)"),
        ("deep,a\ndeep/er,a", "'deep/er' in line 3"),
        ("deep,a\nlink/0.dcm,b", "'link/0.dcm' in line 3"),
    ],
)
def test_rows_that_overlap_are_refused(medical, write_scan, rows, message):
    write_scan(medical.parent / "deep" / "er" / "0.dcm")
    (medical.parent / "link").symlink_to(medical.parent / "deep" / "er")
    medical.write_text(f"file,label\n{rows}\n")
    with pytest.raises(DataError, match=message) as caught:
        open_table(medical)
    assert "\n" not in str(caught.value)


def test_folders_side_by_side_do_not_overlap(medical, write_scan):
    write_scan(medical.parent / "series2" / "0.dcm")
    medical.write_text("file,label\nseries,a\nseries2,a\none.dcm,b\n")
    assert len(open_table(medical)) == 5


def test_a_warning_of_many_rows_is_given_once_with_their_count(medical):
    ultrasound = "1.2.840.10008.5.1.4.1.1.6.1"
    for k in range(3):
        write_series(medical.parent / f"us{k}", range(k + 1), SOPClassUID=ultrasound)
        write_series(medical.parent / f"gap{k}", [0, 1, 2, 9])
    names = [f"{kind}{k}" for kind in ("us", "gap") for k in range(3)]
    medical.write_text("file,label\n" + "".join(f"{name},x\n" for name in names))
    with pytest.warns(UserWarning, match="The same goes for") as caught:
        open_table(medical)
    captures, gaps = (str(warning.message) for warning in caught)
    for text, what, first in ((captures, "ultrasound", "us0"), (gaps, "missing slices", "gap0")):
        assert what in text
        assert f"{first}{os.sep}000.dcm" in text
        assert text.endswith(f"The same goes for 2 more rows of {medical}.")


def test_a_warning_of_one_row_is_as_it_is(medical):
    write_series(medical.parent / "gap", [0, 1, 2, 9])
    medical.write_text("file,label\ngap,x\none.dcm,x\n")
    with pytest.warns(UserWarning, match=r"DICOM: 1 series with missing slices .*000.dcm.$"):
        open_table(medical)


@pytest.mark.parametrize(
    ("fields", "rows", "message"),
    [
        ({"window": "brain"}, "photo.png,x", "DICOM or NIfTI files, and window is for those alone"),
        ({"volume": 0}, "photo.png,x", "no DICOM or NIfTI files, and volume is for those alone"),
        (
            {"group_from": "patient"},
            "photo.png,x\na/scan.nii.gz,x",
            "no DICOM files, and group_from is for those alone",
        ),
    ],
)
def test_fields_that_no_file_has_a_use_for_are_refused(medical, fields, rows, message):
    medical.write_text(f"file,label\n{rows}\n")
    with pytest.raises(ConfigError, match=message):
        open_table(medical, **fields)
    assert len(open_table(medical)) > 0


def test_a_medical_file_that_cannot_be_used_is_named(medical):
    medical.write_text("file,label\na/scan.nii.gz,x\none.dcm,y\n")
    (medical.parent / "one.dcm").write_bytes(b"no DICOM")
    with pytest.raises(DataError, match="one.dcm"):
        open_table(medical)


def test_a_row_that_names_a_folder_without_scans_is_an_error(medical):
    (medical.parent / "empty").mkdir()
    medical.write_text("file,label\nempty,x\n")
    with pytest.raises(DataError, match="empty holds no DICOM files"):
        open_table(medical)


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
    images = open_table(shared_data / name / "labels.csv")
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
