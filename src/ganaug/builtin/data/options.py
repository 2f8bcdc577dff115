"""What can be chosen about files: groups, columns, windows, and which slices are images."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ganaug.config import Config

__all__ = ["CsvConfig", "DicomConfig", "GroupConfig", "NiftiConfig", "StackConfig", "VolumeConfig"]


class GroupConfig(Config):
    r"""How the names of files become groups, such as patients.

    group_pattern: a regular expression that is searched in each file's path below the location;
        its first capture group, or all that it matches, is the group: ``mdb(\d+)_``.
    """

    group_pattern: str | None = None

    @field_validator("group_pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression, but {error}") from error
        return pattern


class StackConfig(GroupConfig):
    """How files of slices become images.

    window: what maps to black and white. ``auto`` takes the file's own window, or its lowest and
        highest value (NIfTI: its 0.5 and 99.5 percentile); ``full`` its lowest and highest value;
        else a preset such as ``brain``, ``bone`` or ``lung``, or ``CENTRE,WIDTH``.
    axis: which axis of a volume is cut: 0, 1 or 2, which is the axial one.
    first, last: the slices from first up to but without last, counted from 0.
    every: keep every k-th slice of them.
    foreground: then keep the slices with at least this fraction of foreground, 0 to 1.
    allow_burned_in: take files that declare burned-in annotation, which may name a patient.
    """

    window: str = "auto"
    axis: int = Field(default=2, ge=0, le=2)
    first: int = Field(default=0, ge=0)
    last: int | None = Field(default=None, ge=1)
    every: int = Field(default=1, ge=1)
    foreground: float = Field(default=0.0, ge=0.0, le=1.0)
    allow_burned_in: bool = False

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.last is not None and self.last <= self.first:
            raise ValueError(
                f"last is not part of the range, so it must be above first ({self.first}); "
                f"got {self.last}"
            )
        return self


class VolumeConfig(StackConfig):
    """Which volume of a file becomes images.

    volume: which volume of a 4D NIfTI file, counted from 0; without it a 4D file is refused.
    """

    volume: int | None = Field(default=None, ge=0)


class NiftiConfig(VolumeConfig):
    """How NIfTI volumes become images."""


class CsvConfig(VolumeConfig):
    """How a table of files becomes images; windows and slices are for its medical files.

    file_column, label_column: names of the columns that must be there.
    group_column: may be missing while it has its usual name, ``group``; group_pattern goes
        before it.
    group_from: what DICOM rows of one group share when neither group_pattern nor the group column
        gives one: ``series``, ``study`` or ``patient``.
    group_key: a file whose bytes key the hashes of patients; without it, one made for this user.
    root: the folder that files are relative to and must lie in; the table's own unless given.
    """

    file_column: str = "file"
    label_column: str = "label"
    group_column: str = "group"
    group_from: Literal["series", "study", "patient"] = "series"
    group_key: str = ""
    root: str | None = None


class DicomConfig(StackConfig):
    """How DICOM files and series become images.

    labels: ``none`` is one class, ``image``; ``folder`` takes the first folder below the location.
    label_tag: a DICOM keyword whose value is the label, such as ``BodyPartExamined``; only
        tags that name nobody are taken, which the error for any other one lists.
    group_from: what images of one group share: ``series``, ``study``, ``patient`` or ``folder``.
    group_key: a file whose bytes key the hashes of patients; without it, one made for this user.
    """

    labels: Literal["none", "folder"] = "none"
    label_tag: str = ""
    group_from: Literal["series", "study", "patient", "folder"] = "series"
    group_key: str = ""

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> Self:
        if self.label_tag and self.labels != "none":
            raise ValueError("labels and label_tag both name the label; give one of them")
        return self
