"""The built-in sources of images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ganaug.builtin.data.options import CsvConfig, DicomConfig, GroupConfig, NiftiConfig
from ganaug.config import Config
from ganaug.errors import DataError
from ganaug.hookspecs import hookimpl
from ganaug.plugins import DatasetPlugin
from ganaug.spec import LabelledImages

__all__ = ["ganaug_datasets"]

#: Most bytes that are read of a manifest to know its columns.
_HEADER_BYTES = 4096


def _open_folder(config: GroupConfig, location: Path) -> LabelledImages:
    from ganaug.builtin.data.folder import open_folder

    return open_folder(location, config.group_pattern)


def _open_csv(config: CsvConfig, location: Path) -> LabelledImages:
    from ganaug.builtin.data.labels_csv import open_csv

    return open_csv(_table_in(location) or location, config)


def _table_in(location: Path) -> Path | None:
    """Return the table of a folder that holds one: the user's, or what ganaug writes."""
    labels, manifest = location / "labels.csv", location / "manifest.csv"
    if labels.is_file():
        return labels
    return manifest if manifest.is_file() and _lists_images(manifest) else None


def _lists_images(manifest: Path) -> bool:
    """Tell whether a manifest is one of labelled images; others list other things."""
    with manifest.open("rb") as file:
        header = file.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    return {"file", "label"} <= set(header.strip().split(","))


def _open_npz(config: Config, location: Path) -> LabelledImages:
    from ganaug.builtin.data.npz import open_npz

    return open_npz(location)


def _open_dicom(config: DicomConfig, location: Path) -> LabelledImages:
    from ganaug.builtin.data.dicom import open_dicom

    return open_dicom(config, location)


def _claims_dicom(location: Path) -> int:
    from ganaug.builtin.data.dicom import claims_dicom

    return claims_dicom(location)


def _open_nifti(config: NiftiConfig, location: Path) -> LabelledImages:
    from ganaug.builtin.data.nifti import open_nifti

    return open_nifti(config, location)


def _claims_nifti(location: Path) -> int:
    from ganaug.builtin.data.nifti import claims_nifti

    return claims_nifti(location)


def _open_digits(config: Config, location: Path) -> LabelledImages:
    from ganaug.builtin.data.digits import open_digits

    if str(location) != "digits":
        raise DataError(f"scikit-learn's digits are at no place but digits; got {location}.")
    return open_digits()


def _claims_folder(location: Path) -> int:
    """Return 15 for a folder with pictures, as DICOM and NIfTI do: a mixed one is a tie.

    Any other folder is 10: it is opened for its error, unless somebody else understands it.
    """
    from ganaug.builtin.data.files import has_images

    if not location.is_dir():
        return 0
    return 15 if has_images(location) else 10


def _claims_csv(location: Path) -> int:
    if location.is_dir():
        return 20 if _table_in(location) else 0
    return 10 if location.suffix.lower() == ".csv" else 0


@hookimpl
def ganaug_datasets() -> Iterable[DatasetPlugin]:
    """Yield class folders, tables, .npz archives, medical files and scikit-learn's digits."""
    yield DatasetPlugin(
        name="folder",
        summary="A folder of class folders of images, or one of images, which are one class.",
        config=GroupConfig,
        open=_open_folder,
        claims=_claims_folder,
    )
    yield DatasetPlugin(
        name="csv",
        summary="A labels.csv of images, DICOM or NIfTI, columns file and label, or its folder.",
        config=CsvConfig,
        open=_open_csv,
        claims=_claims_csv,
    )
    yield DatasetPlugin(
        name="npz",
        summary="An .npz of images and labels, or in MedMNIST's layout.",
        config=Config,
        open=_open_npz,
        claims=lambda location: 10 if location.suffix.lower() == ".npz" else 0,
    )
    yield DatasetPlugin(
        name="dicom",
        summary="A DICOM file, a tree of them or a DICOMDIR; series become slices.",
        config=DicomConfig,
        open=_open_dicom,
        claims=_claims_dicom,
    )
    yield DatasetPlugin(
        name="nifti",
        summary="A NIfTI volume (.nii, .nii.gz, .mgz) or a folder of them, as slices.",
        config=NiftiConfig,
        open=_open_nifti,
        claims=_claims_nifti,
    )
    yield DatasetPlugin(
        name="digits",
        summary="scikit-learn's 1,797 handwritten digits; needs no file.",
        config=Config,
        open=_open_digits,
        claims=lambda location: 10 if str(location) == "digits" and not location.exists() else 0,
    )
