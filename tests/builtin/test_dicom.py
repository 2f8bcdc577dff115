"""DICOM files, trees and DICOMDIRs as labelled images: claims, labels, groups, refusals."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UltrasoundImageStorage, generate_uid

from builtin.dicom_files import ramp, write, write_series
from ganaug.builtin.data.dicom import claims_dicom, is_dicom, open_dicom, open_stacks
from ganaug.builtin.data.dicom_tags import quietly
from ganaug.builtin.data.options import DicomConfig, StackConfig
from ganaug.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Keys are made here and not in the home of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return home


def opened(location, **fields):
    return open_dicom(DicomConfig(**fields), location)


def test_a_file_is_known_by_its_extension_or_its_content(tmp_path):
    assert is_dicom(write(tmp_path / "IM000001"))
    assert is_dicom(write(tmp_path / "a.DCM"))
    (tmp_path / "note.txt").write_text("DICM")
    assert not is_dicom(tmp_path / "note.txt")
    assert not is_dicom(tmp_path / "missing.dcm")


def test_a_file_without_preamble_and_extension_is_known(tmp_path):
    dataset = dcmread(write(tmp_path / "a"))
    del dataset.file_meta
    dataset.save_as(tmp_path / "b", implicit_vr=True)
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes().removeprefix(bytes(128) + b"DICM"))
    assert is_dicom(tmp_path / "b")


def test_a_file_and_a_tree_are_claimed_above_a_folder(tmp_path):
    path = write(tmp_path / "study" / "series" / "IM1")
    (tmp_path / "README.md").write_text("notes")
    assert claims_dicom(path) > claims_dicom(tmp_path) > 10


def test_a_tree_of_other_files_is_not_claimed(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert claims_dicom(tmp_path) == 0
    assert claims_dicom(tmp_path / "a.png") == 0
    assert claims_dicom(tmp_path / "missing") == 0


def test_a_claim_looks_at_a_few_files_of_a_large_tree(tmp_path, monkeypatch):
    for k in range(30):
        (tmp_path / f"{k}.bin").touch()
    looked = []
    monkeypatch.setattr("ganaug.builtin.data.dicom.is_dicom", lambda path: looked.append(path))
    assert claims_dicom(tmp_path) == 0
    assert 0 < len(looked) < 10


def test_a_claim_loads_neither_pydicom_nor_monai(tmp_path):
    code = (
        "import sys, pathlib; from ganaug.builtin.data.dicom import claims_dicom; "
        f"claims_dicom(pathlib.Path({str(tmp_path)!r})); "
        "sys.exit(bool({'pydicom', 'monai', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_labels_there_is_one_class(tmp_path):
    write_series(tmp_path / "ct", [0, 5])
    images = opened(tmp_path)
    assert images.class_names == ("image",)
    assert images.value_range == (0.0, 65535.0)
    assert [np.asarray(image).shape for image in images.pixels] == [(1, 4, 4)] * 2


def test_folders_can_be_classes_and_a_series_may_lie_in_two(tmp_path):
    series = generate_uid()
    for name, z in (("bleed/a", 0), ("none/b", 5), ("bleed/c", 10)):
        tags = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, z]}
        write(tmp_path / name, SeriesInstanceUID=series, **tags)
    images = opened(tmp_path, labels="folder")
    assert images.counts == {"bleed": 2, "none": 1}
    assert images.ids == ("bleed#0000", "bleed#0002", "none/b#0001")
    assert len(set(images.groups)) == 1


def test_a_tag_can_be_the_label(tmp_path):
    write(tmp_path / "a", BodyPartExamined="HEAD")
    write(tmp_path / "b", BodyPartExamined="CHEST")
    assert opened(tmp_path, label_tag="BodyPartExamined").counts == {"CHEST": 1, "HEAD": 1}


def test_a_missing_label_tag_names_the_first_file_and_how_many(tmp_path):
    write(tmp_path / "a", BodyPartExamined="HEAD")
    write(tmp_path / "b")
    with pytest.raises(DataError, match=r"1 of 2 files have no BodyPartExamined.*b"):
        opened(tmp_path, label_tag="BodyPartExamined")


@pytest.mark.parametrize(
    "tag",
    [
        *("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "AdmissionID"),
        *("ClinicalTrialSubjectID", "ReferringPhysicianAddress", "InstitutionName"),
        *("ImageComments", "SeriesDescription"),
    ],
)
def test_a_tag_that_may_name_somebody_is_no_label(tmp_path, tag):
    path = write(tmp_path / "a", **({} if tag.endswith("UID") else {tag: "MRN4711"}))
    with pytest.raises(ConfigError, match=f"must be one of BodyPartExamined, .*got '{tag}'"):
        opened(path, label_tag=tag)


def test_a_misspelt_tag_is_corrected(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'BodyPartExamined'"):
        opened(write(tmp_path / "a"), label_tag="BodyPartExamind")


def test_labels_have_one_source():
    with pytest.raises(ValueError, match="both name the label"):
        DicomConfig(labels="folder", label_tag="BodyPartExamined")


@pytest.mark.filterwarnings("ignore:DICOM. 1 series with no positions")
@pytest.mark.parametrize(
    ("group_from", "alike"),
    [("series", "ab|c|d|e"), ("study", "abc|d|e"), ("patient", "abcd|e"), ("folder", "a|bcd|e")],
)
def test_groups_follow_series_study_patient_or_folder(tmp_path, group_from, alike):
    study, series = generate_uid(), generate_uid()
    for name, patient, same_study, same_series in [
        ("1/a", "A", True, True),
        ("2/b", "A", True, True),
        ("2/c", "A", True, False),
        ("2/d", "A", False, False),
        ("3/e", "B", False, False),
    ]:
        tags = {"StudyInstanceUID": study} if same_study else {}
        tags |= {"SeriesInstanceUID": series} if same_series else {}
        write(tmp_path / name, PatientID=patient, **tags)
    images = opened(tmp_path, group_from=group_from)
    by_group = {}
    for name, group in zip(images.ids, images.groups, strict=True):
        by_group[group] = by_group.get(group, "") + name[-1]
    assert sorted(by_group.values()) == alike.split("|")


def test_a_pattern_on_the_path_goes_before_other_groups(tmp_path):
    write(tmp_path / "p12_a.dcm")
    write(tmp_path / "p12_b.dcm")
    assert opened(tmp_path, group_pattern=r"p(\d+)_").groups == ("12", "12")


def test_patients_are_hashed_with_a_key_that_stays_with_the_user(tmp_path, home):
    path = write(tmp_path / "a")
    first = opened(path, group_from="patient").groups
    key = home / "ganaug" / "group.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert opened(path, group_from="patient").groups == first
    key.unlink()
    assert opened(path, group_from="patient").groups != first


def test_a_key_can_be_shared_and_must_be_long(tmp_path, home):
    path, key = write(tmp_path / "a"), tmp_path / "our.key"
    key.write_text("k" * 32)
    one = opened(path, group_from="patient", group_key=str(key)).groups
    assert one == opened(path, group_from="patient", group_key=str(key)).groups
    assert not (home / "ganaug").exists()
    key.write_text("short")
    with pytest.raises(ConfigError, match="has 5 bytes; expected at least 16"):
        opened(path, group_from="patient", group_key=str(key))


def test_a_missing_patient_is_refused_when_grouping_by_patient(tmp_path):
    with pytest.raises(DataError, match="no PatientID to group by"):
        opened(write(tmp_path / "a", PatientID=""), group_from="patient")


@pytest.mark.parametrize("group_from", ["series", "patient"])
def test_nothing_that_names_a_patient_is_in_ids_groups_or_pickles(tmp_path, group_from):
    path = write(tmp_path / "a")
    images = opened(path, group_from=group_from)
    everything = pickle.dumps(images)
    for secret in (b"MRN4711", b"DOE", b"JANE", str(dcmread(path).SeriesInstanceUID).encode()):
        assert secret not in everything


@pytest.mark.parametrize(
    "name",
    ["MRN4711/CT1/a", "mrn-4711_x/a", "DOE_JANE/a", "x/JaneDoe.dcm", "doe 7/a", "9876543/a"],
)
def test_folders_and_files_that_name_a_patient_are_hashed_in_ids(tmp_path, name):
    write(tmp_path / "data" / name, AccessionNumber="9876543")
    write(tmp_path / "data" / "other" / "b", PatientID="MRN1", PatientName="ROE")
    images = opened(tmp_path / "data")
    assert not re.search("4711|doe|jane|9876543", " ".join(images.ids).lower())
    assert images.ids == opened(tmp_path / "data").ids
    assert "other/b" in images.ids


def test_a_part_that_only_resembles_a_name_or_number_is_kept(tmp_path):
    tags = {"PatientName": "LEE^A^^^", "PatientID": "12", "AccessionNumber": "1"}
    write(tmp_path / "bleed" / "a_0012_1", **tags)
    assert opened(tmp_path, labels="folder").ids == ("bleed/a_0012_1",)


def test_a_folder_that_is_the_patient_id_is_the_patients_group(tmp_path):
    write(tmp_path / "MRN4711" / "CR1" / "6154")
    write(tmp_path / "MRN4711" / "CR1" / "6155", PatientID="MRN9999", PatientName="ROE")
    images = opened(tmp_path, group_from="patient")
    assert images.ids == (f"{images.groups[0]}/CR1/6154", f"{images.groups[0]}/CR1/6155")
    key = tmp_path / "our.key"
    key.write_text("k" * 32)
    assert opened(tmp_path, group_key=str(key)).ids != images.ids


def test_uids_in_paths_are_hashed_and_ids_stay_apart(tmp_path):
    study = generate_uid()
    for uid in (generate_uid(), generate_uid()):
        write(tmp_path / study / f"CT.{uid}.dcm", SOPInstanceUID=uid, StudyInstanceUID=study)
    ids = opened(tmp_path).ids
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"study-[0-9a-f]{16}/image-[0-9a-f]{16}\.dcm", name) for name in ids)


def test_the_opened_folder_itself_may_name_the_patient(tmp_path):
    write_series(tmp_path / "MRN4711", [0, 5])
    assert opened(tmp_path / "MRN4711").ids[0].startswith("patient-")


def test_groups_by_folder_and_pattern_name_no_patient(tmp_path):
    write(tmp_path / "MRN4711" / "a")
    write(tmp_path / "MRN4712" / "a", PatientID="MRN4712")
    for fields in ({"group_from": "folder"}, {"group_pattern": r"MRN(\d+)"}):
        groups = opened(tmp_path, **fields).groups
        assert len(set(groups)) == 2
        assert all(group.startswith("patient-") for group in groups)


def test_class_folders_that_name_patients_are_refused(tmp_path):
    write(tmp_path / "MRN4711" / "a")
    write(tmp_path / "bleed" / "a")
    with pytest.raises(DataError, match="1 of 2 folders, the first MRN4711, name a patient"):
        opened(tmp_path, labels="folder")


def test_no_key_is_made_when_no_path_names_a_patient(tmp_path, home):
    opened(write(tmp_path / "a"))
    assert not (home / "ganaug").exists()


def test_a_damaged_tag_is_refused_without_its_value(tmp_path):
    path = write(tmp_path / "a", InstanceNumber=12345678)
    path.write_bytes(path.read_bytes().replace(b"12345678", b"DOE^JANE"))
    with pytest.raises(DataError, match="header is damaged") as caught:
        opened(path)
    assert "DOE" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_pydicoms_remarks_which_quote_tags_stay_unsaid(recwarn, caplog):
    dataset = Dataset()
    with quietly():
        dataset.BodyPartExamined = "Doe^Jane"  # no valid code, which pydicom says and logs
    assert not list(recwarn)
    assert not caplog.records


def test_files_without_pixels_are_refused_together(tmp_path):
    write(tmp_path / "a")
    for name in "bc":
        dataset = dcmread(write(tmp_path / name))
        del dataset.PixelData
        dataset.save_as(tmp_path / name)
    with pytest.raises(DataError, match=r"2 of 3 DICOM files cannot be used.*b: .*no pixels"):
        opened(tmp_path)


def without_pixels(path, sop_class):
    dataset = dcmread(write(path, SOPClassUID=sop_class))
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "SamplesPerPixel"):
        del dataset[keyword]
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("end", ["88.11", "88.59", "11.1", "481.3", "481.5", "104.1"])
def test_objects_without_pixels_are_left_out_of_a_folder_with_one_warning(tmp_path, end):
    write(tmp_path / "a")
    for name in "bc":
        without_pixels(tmp_path / name, f"1.2.840.10008.5.1.4.1.1.{end}")
    with pytest.warns(UserWarning, match="2 of 3 files are left out") as caught:
        assert opened(tmp_path, group_from="patient").ids == ("a",)
    assert len(caught) == 1


def test_a_report_alone_is_refused_and_so_is_an_image_class_without_pixels(tmp_path):
    report = without_pixels(tmp_path / "b", "1.2.840.10008.5.1.4.1.1.88.11")
    with pytest.raises(DataError, match="b: it is a Basic Text SR Storage object, no image"):
        opened(report)
    with pytest.raises(DataError, match="1 of 1|no image"):
        opened(tmp_path)
    without_pixels(tmp_path / "a", "1.2.840.10008.5.1.4.1.1.481.2")  # doses have pixels
    write(tmp_path / "c")
    with pytest.raises(DataError, match=r"1 of 3 DICOM files cannot be used.*a: .*no pixels"):
        opened(tmp_path)


def test_an_empty_file_named_dicom_is_refused(tmp_path):
    (tmp_path / "a.dcm").touch()
    with pytest.raises(DataError, match="empty or no DICOM file"):
        opened(tmp_path / "a.dcm")


def test_a_folder_without_dicom_files_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no DICOM files"):
        opened(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        opened(tmp_path / "missing")


def test_declared_burned_in_annotation_is_refused_unless_allowed(tmp_path):
    write(tmp_path / "a", BurnedInAnnotation="YES")
    write(tmp_path / "b", BurnedInAnnotation="NO")
    with pytest.raises(DataError, match=r"1 of 2 files declare burned-in.*--allow-burned-in"):
        opened(tmp_path)
    assert len(opened(tmp_path, allow_burned_in=True)) == 2


def test_ultrasound_that_does_not_say_warns_once_for_the_set(tmp_path, recwarn):
    for name in "abc":
        write(tmp_path / name, SOPClassUID=UltrasoundImageStorage, Modality="US")
    opened(tmp_path)
    assert [str(w.message)[:45] for w in recwarn] == [
        "DICOM: 3 of 3 files are ultrasound or screen "
    ]


def test_ultrasound_that_declares_itself_clean_does_not_warn(tmp_path):
    opened(write(tmp_path / "a", SOPClassUID=UltrasoundImageStorage, BurnedInAnnotation="NO"))


@pytest.fixture
def dicomdir(tmp_path):
    """A disk whose DICOMDIR names a patient and three images, all in the folder CT."""
    written = write_series(tmp_path / "disk" / "CT", [0, 5, 10])
    paths = [path.rename(path.with_suffix("")) for path in written]
    index = dcmread(paths[0])
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        del index[keyword]
    records = [Dataset() for _ in range(4)]
    records[0].DirectoryRecordType, records[0].PatientID = "PATIENT", "MRN4711"
    for record, path in zip(records[1:], paths, strict=True):
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["CT", path.name]
    index.DirectoryRecordSequence = records
    index.save_as(tmp_path / "disk" / "DICOMDIR")
    return tmp_path / "disk" / "DICOMDIR"


def test_a_dicomdir_opens_the_images_that_it_names(dicomdir):
    write(dicomdir.parent / "not_named")
    assert claims_dicom(dicomdir) > 10
    assert len(opened(dicomdir)) == 3
    assert len(opened(dicomdir.parent)) == 4  # a folder is all of its files


def test_a_dicomdir_with_missing_files_says_which(dicomdir):
    (dicomdir.parent / "CT" / "001").unlink()
    with pytest.raises(DataError, match=r"names 3 images, of which 1 are missing.*001"):
        opened(dicomdir)


def test_a_dicomdir_that_climbs_out_of_its_folder_is_refused(dicomdir):
    dataset = dcmread(dicomdir)
    images = [r for r in dataset.DirectoryRecordSequence if r.DirectoryRecordType == "IMAGE"]
    with quietly():
        images[0].ReferencedFileID = ["..", "000"]
        dataset.save_as(dicomdir)
    with pytest.raises(DataError, match="outside its folder"):
        opened(dicomdir)


def test_a_damaged_dicomdir_says_to_open_its_folder(dicomdir):
    dicomdir.write_bytes(dicomdir.read_bytes().replace(b"\x04\x00\x20\x12", b"\x04\x00\x20\x13"))
    with pytest.raises(DataError, match="Open its folder instead"):
        opened(dicomdir)


def test_stacks_of_a_table_need_no_dicom_config(tmp_path):
    stack = open_stacks(write(tmp_path / "a", ramp(2, 3)), StackConfig(window="0,10"))[0]
    assert (stack.name, stack.dtype, len(stack), stack[0].shape) == ("a", np.uint16, 1, (1, 2, 3))


def test_hidden_files_are_left_out(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / ".b")
    write(tmp_path / ".cache" / "c")
    assert opened(tmp_path).ids == ("a",)


@pytest.mark.shared_data
def test_a_real_dicomdir_and_its_folder_hold_the_same_images(shared_data):
    folder = shared_data / "dicom_dev" / "dicomdir_no_extension"
    with pytest.warns(UserWarning, match="missing slices|several planes"):
        by_folder, by_index = opened(folder), opened(folder / "DICOMDIR")
    assert len(by_folder) == len(by_index) == 31
    assert set(by_folder.groups) == set(by_index.groups)
