"""Which plugin opens what, by its claim alone."""

from __future__ import annotations

import pytest

from ganaug import Registry
from ganaug.errors import DataError, PluginConflictError
from ganaug.sources import open_images

REGISTRY = Registry(["ganaug.builtin.data.plugin"])


def claimant(location):
    """Return the one plugin of the highest claim."""
    claims = {name: plugin.claims(location) for name, plugin in REGISTRY.datasets.items()}
    highest = max(claims.values())
    (winner,) = [name for name, claim in claims.items() if claim == highest > 0]
    return winner


@pytest.fixture
def write(write_picture, write_volume, write_scan):
    """Write a file of the kind that its name says."""

    def write(path):
        makers = {".png": write_picture, ".tif": write_picture, ".gz": write_volume}
        (write_volume if path.suffix == ".nii" else makers.get(path.suffix, write_scan))(path)

    return write


def test_class_folders_of_pictures_are_a_folder(tmp_path, write):
    write(tmp_path / "a" / "0.png")
    write(tmp_path / "b" / "0.tif")
    (tmp_path / "b" / "notes").write_text("no extension, and no DICOM")
    (tmp_path / "readme.txt").write_text("hello")
    assert claimant(tmp_path) == "folder"


@pytest.mark.parametrize("file", ["0.png", "0.nii.gz", "0.dcm"])
def test_a_folder_with_labels_is_a_table_whatever_else_it_holds(tmp_path, write, file):
    write(tmp_path / "a" / file)
    (tmp_path / "labels.csv").write_text("file,label\n")
    assert claimant(tmp_path) == "csv"
    assert claimant(tmp_path / "labels.csv") == "csv"


@pytest.mark.parametrize("columns", ["file,label,seed", "\ufefflabel,file"])
def test_a_manifest_of_images_is_a_table(tmp_path, write, columns):
    write(tmp_path / "a" / "0.png")
    (tmp_path / "manifest.csv").write_text(f"{columns}\n", encoding="utf-8")
    assert claimant(tmp_path) == "csv"


@pytest.mark.parametrize("columns", ["file,modality", "", "\udcff"])
def test_a_manifest_of_something_else_is_ignored(tmp_path, write, columns):
    write(tmp_path / "a" / "0.png")
    text = f"{columns}\n".encode(errors="surrogateescape")
    (tmp_path / "manifest.csv").write_bytes(text)
    assert claimant(tmp_path) == "folder"


@pytest.mark.parametrize("name", ["0.dcm", "IM000001", "deep/deeper/0.DCM", "0.ima"])
def test_dicom_is_known_with_and_without_extension(tmp_path, write, name):
    write(tmp_path / name)
    assert claimant(tmp_path) == "dicom"
    assert claimant(tmp_path / name) == "dicom"
    assert len(open_images(str(tmp_path), REGISTRY)) == 1


@pytest.mark.parametrize("name", ["0.nii", "0.nii.gz", "tumor/0.nii.gz"])
def test_nifti_is_known_by_its_extension(tmp_path, write, name):
    write(tmp_path / name)
    assert claimant(tmp_path) == "nifti"
    assert claimant(tmp_path / name) == "nifti"
    assert len(open_images(str(tmp_path), REGISTRY)) == 3


@pytest.mark.parametrize("file", ["a/scan.nii.gz", "a/scan.dcm", "z/scan.dcm"])
def test_pictures_beside_volumes_are_a_tie_that_says_how_to_choose(tmp_path, write, file):
    write(tmp_path / "b" / "preview.png")
    write(tmp_path / file)
    with pytest.raises(PluginConflictError, match=r"claimed equally by .* and .*Name the one"):
        open_images(str(tmp_path), REGISTRY)


def test_other_files_beside_scans_are_no_tie(tmp_path, write):
    write(tmp_path / "a" / "scan.dcm")
    (tmp_path / "a" / "archive.zip").write_bytes(b"PK")
    assert claimant(tmp_path) == "dicom"


def test_an_empty_folder_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        open_images(str(tmp_path), REGISTRY)


@pytest.mark.parametrize("suffix", ["png", "nii.gz", "dcm"])
def test_groups_by_pattern_work_for_every_tree_of_files(tmp_path, write, suffix):
    for patient in ("p1", "p2"):
        write(tmp_path / "tumor" / f"{patient}_scan.{suffix}")
    images = open_images(str(tmp_path), REGISTRY, {"group_pattern": r"p(\d)_"})
    assert set(images.groups) == {"1", "2"}


@pytest.mark.shared_data
@pytest.mark.filterwarnings("ignore:DICOM")
@pytest.mark.parametrize(
    ("location", "plugin", "images"),
    [
        ("bccd_cells_32/bccd_cells_32.npz", "npz", 3704),
        ("brain_mri_253", "csv", 253),
        ("brain_mri_253/images", "folder", 253),
        ("ci_fixtures/mednist_folder", "folder", 58),
        ("ci_fixtures/mias_patches_64", "csv", 66),
        ("ci_fixtures/dicom/series_ct", "dicom", 8),
        ("dicom_dev/dicomdir_no_extension", "dicom", 31),
        ("dicom_dev/dicomdir_no_extension/DICOMDIR", "dicom", None),
        ("dicom_dev/series_ct_torchio", "dicom", 17),
        ("dicom_dev/series_mr_t1_studyforrest", "dicom", 24),
        ("dicom_dev/single/CT_small.dcm", "dicom", 1),
        ("fracture_eeeh", "csv", 276),
        ("ham10000_224_sub", "csv", 1000),
        ("ham10000_28/ham10000_28.npz", "npz", 5984),
        ("headct_hemorrhage", "csv", 200),
        ("mias_patches", "csv", 339),
        ("nifti_dev/monai", "nifti", 47),
        ("nifti_dev/niivue", "nifti", None),
        ("nifti_dev/nibabel/anatomical.nii", "nifti", 25),
        ("pneumonia_28/pneumoniamnist_rebuilt.npz", "npz", 5856),
    ],
)
def test_real_sets_open_by_their_claim_alone(shared_data, location, plugin, images):
    assert claimant(shared_data / location) == plugin
    opened = open_images(str(shared_data / location), REGISTRY)
    assert images is None or len(opened) == images
    for row in (0, len(opened) - 1):
        assert opened.pixels[row].ndim == 3


@pytest.mark.shared_data
@pytest.mark.parametrize(("location", "plugin"), [("dicom_dev", "dicom"), ("nifti_dev", "nifti")])
def test_a_manifest_of_medical_files_hides_them_from_nobody(shared_data, location, plugin):
    assert claimant(shared_data / location) == plugin
