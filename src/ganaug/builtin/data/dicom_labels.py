"""Labels of DICOM files: one class, the first folders, or a tag that names nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.builtin.data.options import DicomConfig
from ganaug.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from ganaug.builtin.data.dicom_header import Header
    from ganaug.builtin.data.dicom_names import Names

__all__ = ["LABEL_TAGS", "check_label_tag", "labels_of"]

#: Tags that may be labels. Labels are written to runs, so these are those of which none can name
#: a patient, a person, a place or a visit; free text such as SeriesDescription can.
LABEL_TAGS = (
    "BodyPartExamined",
    "ImageLaterality",
    "Laterality",
    "MagneticFieldStrength",
    "Manufacturer",
    "ManufacturerModelName",
    "Modality",
    "PatientPosition",
    "PatientSex",
    "PhotometricInterpretation",
    "ScanningSequence",
    "ViewPosition",
)


def check_label_tag(keyword: str) -> None:
    """Raise ConfigError unless `keyword` is empty or one of `LABEL_TAGS`."""
    if keyword and keyword not in LABEL_TAGS:
        raise ConfigError(
            f"label_tag must be one of {', '.join(LABEL_TAGS)}; got {keyword!r}. Labels are "
            "written to runs, and other tags may name a patient; give a labels.csv for other "
            f"labels.{nearest(keyword, LABEL_TAGS)}"
        )


def labels_of(
    location: Path, root: Path, headers: Sequence[Header], config: DicomConfig, names: Names
) -> dict[Path, str]:
    """Return the label of each file.

    Raises DataError for a file without the tag that `config` names, and for class folders that
    name a patient, since class names are written to runs.
    """
    paths = [header.path for header in headers]
    if config.labels == "folder":
        return _labels_by_folder(location, root, paths, names)
    if not config.label_tag:
        return dict.fromkeys(paths, "image")
    blank = [header.path for header in headers if not header.label]
    if blank:
        raise DataError(
            f"{location}: {len(blank)} of {len(headers)} files have no {config.label_tag} to be "
            f"their label; the first is {blank[0]}."
        )
    return {header.path: header.label for header in headers}


def _labels_by_folder(
    location: Path, root: Path, paths: Sequence[Path], names: Names
) -> dict[Path, str]:
    from ganaug.builtin.data.stacks import classes_by_folder

    labels, classes = classes_by_folder([path.relative_to(root).as_posix() for path in paths])
    hidden = names.classes_hidden(paths) if classes != ("image",) else []
    if hidden:
        raise DataError(
            f"{location}: {len(hidden)} of {len(classes)} folders, the first {hidden[0]}, name a "
            "patient, a visit or a UID, and labels=folder would write them as classes. Put the "
            "files in folders named by class, or use label_tag or a labels.csv."
        )
    return {path: classes[label] for path, label in zip(paths, labels, strict=True)}
