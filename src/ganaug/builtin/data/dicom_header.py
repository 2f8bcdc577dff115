"""What is read of a DICOM file before its pixels: enough to refuse it, sort it and window it.

Nothing that names a patient leaves this module: the patient's id becomes a keyed hash here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.builtin.data.dicom_checks import (
    DEFLATED,
    PIXELS,
    check_counts,
    check_inflated,
    check_pixels,
    is_cut_off,
)
from ganaug.builtin.data.dicom_groups import hash_patient, hash_uid
from ganaug.builtin.data.dicom_names import hidden_parts
from ganaug.builtin.data.dicom_tags import (
    first_window,
    frame_part,
    is_enhanced,
    numbers,
    padding,
    quietly,
    scale,
    text,
    vector,
)
from ganaug.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Header", "read_dataset", "read_header"]

_DEFERRED = 64 * 1024  # bytes from which a value is left in the file until it is asked for
_TRANSFORMATIONS = "PixelValueTransformationSequence"

#: SOP classes of ultrasound and of secondary captures, whose pixels often show names.
_OFTEN_BURNED_IN = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("3", "3.1", "6", "6.1", "6.2", "7", "7.1", "7.2", "7.3", "7.4")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The facts about one file. Positions are in mm, in the patient's coordinates.

    scales: slope and intercept of the file, or of each frame. windows: lowest and highest value
    of the file's own VOI window, or of each frame's; None where there is none. pixels_at: byte at
    which compressed frames begin; None for others. hidden: parts of the path that name a patient
    or a UID, with what to write instead.
    """

    path: Path
    syntax: str
    photometric: str
    modality: str
    frames: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    scales: tuple[tuple[float, float], ...]
    windows: tuple[tuple[float, float] | None, ...]
    padding: tuple[float, float] | None
    has_modality_lut: bool
    has_voi_lut: bool
    series: str
    group: str
    label: str
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    tilt: float
    instance: int
    burned_in: bool
    maybe_burned_in: bool
    is_streamed: bool
    pixels_at: int | None
    hidden: dict[str, str] = field(hash=False)

    @property
    def is_colour(self) -> bool:
        """Whether pixels are RGB once decoded."""
        return self.samples > 1 or self.photometric == "PALETTE COLOR"


def read_header(
    path: Path, *, group_from: str = "series", key: Callable[[], bytes] = bytes, label_tag: str = ""
) -> Header:
    """Read and check a file's header; pixels are not decoded.

    group_from: "series", "study", "patient" (hashed with `key`) or "" for no group. key: called
    when something is to be hashed.
    Raises DataError, which names the file, when it is no DICOM file, holds no pixels, more than
    2 GiB of them or fewer than its header promises, or needs a codec that is not installed;
    NoImageError, which is one, for a report or another kind of object without pixels.
    """
    try:
        dataset = read_dataset(path)
        with quietly():
            check_counts(dataset)
            header = _header(path, dataset, label_tag, _group(dataset, group_from, key), key)
            check_pixels(header, dataset)
        return header
    except ConfigError:  # of the key
        raise
    except DataError as error:
        raise type(error)(f"{path}: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; expected a DICOM file.") from None
    except Exception as error:  # from None: pydicom's messages quote the values of tags
        raise DataError(
            f"{path}: the DICOM header is damaged ({type(error).__name__}). Repair the file or "
            "leave it out."
        ) from None


def read_dataset(path: Path) -> Dataset:
    """Read the elements of a file; large values, the pixels among them, stay in the file.

    A file without meta information is taken for what its first bytes look like. Raises DataError
    when it is no DICOM file, is cut off in its compressed pixels, or is a deflated one that is cut
    off or unpacks to more than 2 GiB.
    """
    from pydicom import dcmread
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with quietly():
        with path.open("rb") as file:
            preamble = file.read(132)
        deflated = False
        if preamble[128:] == b"DICM":
            syntax = read_file_meta_info(path).get("TransferSyntaxUID", "")
            deflated = syntax == DEFLATED
        if deflated:
            check_inflated(path)
        dataset = dcmread(path, force=True, defer_size=None if deflated else _DEFERRED)
    if not any(keyword in dataset for keyword in PIXELS) and is_cut_off(path):
        raise DataError("the pixels are truncated. Copy the file again, or leave it out.")
    if not len(dataset) and preamble[128:] == b"DICM":
        raise DataError("the file is truncated in its header. Copy it again, or leave it out.")
    if not len(dataset):
        raise DataError("the file is empty or no DICOM file. Leave it out.")
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = UID(ImplicitVRLittleEndian if implicit else explicit)
    return dataset


def _header(
    path: Path, dataset: Dataset, label_tag: str, group: str, key: Callable[[], bytes]
) -> Header:
    frames = int(dataset.get("NumberOfFrames") or 1)
    parts = range(frames) if is_enhanced(dataset) else range(1)
    bits = int(dataset.BitsAllocated)
    sop_class = str(dataset.get("SOPClassUID") or "")
    declared = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    modality = str(dataset.get("Modality") or "").strip().upper()
    return Header(
        path=path,
        syntax=str(dataset.file_meta.TransferSyntaxUID),
        photometric=str(dataset.get("PhotometricInterpretation") or "").strip().upper(),
        modality=modality,
        frames=frames,
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        bits_allocated=bits,
        bits_stored=int(dataset.get("BitsStored") or bits),
        signed=bool(dataset.get("PixelRepresentation")),
        scales=tuple(scale(frame_part(dataset, k, _TRANSFORMATIONS)) for k in parts),
        windows=tuple(first_window(frame_part(dataset, k, "FrameVOILUTSequence")) for k in parts),
        padding=padding(dataset),
        has_modality_lut=bool(dataset.get("ModalityLUTSequence")),
        has_voi_lut=bool(dataset.get("VOILUTSequence")),
        series=hash_uid("series", uid) if (uid := text(dataset, "SeriesInstanceUID")) else "",
        group=group,
        label=text(dataset, label_tag) if label_tag else "",
        orientation=vector(dataset, "ImageOrientationPatient", 6),
        position=vector(dataset, "ImagePositionPatient", 3),
        tilt=(numbers(dataset, "GantryDetectorTilt") or (0.0,))[0],
        instance=int(dataset.get("InstanceNumber") or 0),
        burned_in=declared == "YES",
        maybe_burned_in=declared != "NO" and (modality == "US" or sop_class in _OFTEN_BURNED_IN),
        is_streamed=len(dataset.file_meta) > 1 and dataset.file_meta.TransferSyntaxUID != DEFLATED,
        pixels_at=_start_of_frames(dataset),
        hidden=hidden_parts(path, dataset, key),
    )


def _group(dataset: Dataset, group_from: str, key: Callable[[], bytes]) -> str:
    if group_from == "patient":
        patient = text(dataset, "PatientID")
        if not patient:
            raise DataError("there is no PatientID to group by. Use group_from=series or study.")
        return hash_patient(patient, key())
    if group_from in {"series", "study"}:
        uid = text(dataset, f"{group_from.capitalize()}InstanceUID")
        return hash_uid(group_from, uid) if uid else ""
    return ""


def _start_of_frames(dataset: Dataset) -> int | None:
    """Return where in the file compressed frames begin; None when frames are not compressed."""
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return None
    start = getattr(dataset.get_item("PixelData", keep_deferred=True), "value_tell", None)
    return None if start is None else int(start)
