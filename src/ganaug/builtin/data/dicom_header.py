"""What is read of a DICOM file before its pixels: enough to refuse it, sort it and window it.

Nothing that names a patient leaves this module: the patient's id becomes a keyed hash here.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.builtin.data.dicom_groups import hash_patient, hash_uid
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
from ganaug.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["MAX_BYTES", "Header", "codec_advice", "read_dataset", "read_header"]

#: Most bytes of all decoded frames of a file: rows x columns x frames x samples x bytes.
MAX_BYTES = 2 * 2**30

#: How pixels may be meant; YBR is decoded to RGB.
PHOTOMETRIC = frozenset(
    {
        *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"),
        *("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
    }
)

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DEFERRED = 64 * 1024  # bytes from which a value is left in the file until it is asked for
_TRANSFORMATIONS = "PixelValueTransformationSequence"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_EIGHT_BIT = frozenset({"gdcm", "pillow"})  # what decodes JPEG Extended of 8 bits alone
_CODECS = ("gdcm", "jpeg_ls", "openjpeg", "pylibjpeg")  # the modules of ganaug[dicom]

#: SOP classes of ultrasound and of secondary captures, whose pixels often show names.
_OFTEN_BURNED_IN = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("3", "3.1", "6", "6.1", "6.2", "7", "7.1", "7.2", "7.3", "7.4")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The facts about one file. Positions are in mm, in the patient's coordinates.

    scales: slope and intercept of the file, or of each frame. windows: lowest and highest value
    of the file's own VOI window, or of each frame's; None where there is none.
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

    @property
    def is_colour(self) -> bool:
        """Whether pixels are RGB once decoded."""
        return self.samples > 1 or self.photometric == "PALETTE COLOR"


def read_header(
    path: Path, *, group_from: str = "series", key: bytes = b"", label_tag: str = ""
) -> Header:
    """Read and check a file's header; pixels are not decoded.

    group_from: "series", "study", "patient" (hashed with `key`) or "" for no group.
    Raises DataError, which names the file, when it is no DICOM file, holds no pixels, more than
    2 GiB of them or fewer than its header promises, or needs a codec that is not installed.
    """
    try:
        dataset = read_dataset(path)
        with quietly():
            header = _header(path, dataset, label_tag, _group(dataset, group_from, key))
            _check_pixels(header, dataset)
        return header
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
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
    when it is no DICOM file, or a deflated one that unpacks to more than 2 GiB.
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
            deflated = syntax == _DEFLATED
        if deflated:
            _check_inflated(path)
        dataset = dcmread(path, force=True, defer_size=None if deflated else _DEFERRED)
    if not len(dataset):
        raise DataError("the file is empty or no DICOM file. Leave it out.")
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = UID(ImplicitVRLittleEndian if implicit else explicit)
    return dataset


def codec_advice(syntax: str) -> str:
    """Return what to install for a compressed transfer syntax; empty when all of it is there."""
    from pydicom.uid import UID

    missing = [name for name in _CODECS if find_spec(name) is None]
    if not missing or not UID(syntax).is_compressed or syntax == _DEFLATED:
        return ""
    return "Codecs come with: pip install 'ganaug[dicom]'."


def _header(path: Path, dataset: Dataset, label_tag: str, group: str) -> Header:
    if not any(keyword in dataset for keyword in _PIXELS):
        raise DataError("the file holds no pixels. Leave it out.")
    missing = [name for name in ("Rows", "Columns", "BitsAllocated") if not dataset.get(name)]
    if missing:
        raise DataError(f"the header has no {missing[0]}, so the pixels cannot be read.")
    frames = max(1, int(dataset.get("NumberOfFrames") or 1))
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
        scales=tuple(
            scale(frame_part(dataset, k, "PixelValueTransformationSequence")) for k in parts
        ),
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
        is_streamed=len(dataset.file_meta) > 1 and dataset.file_meta.TransferSyntaxUID != _DEFLATED,
    )


def _group(dataset: Dataset, group_from: str, key: bytes) -> str:
    if group_from == "patient":
        patient = text(dataset, "PatientID")
        if not patient:
            raise DataError("there is no PatientID to group by. Use group_from=series or study.")
        return hash_patient(patient, key)
    if group_from in {"series", "study"}:
        uid = text(dataset, f"{group_from.capitalize()}InstanceUID")
        return hash_uid(group_from, uid) if uid else ""
    return ""


def _check_pixels(header: Header, dataset: Dataset) -> None:
    """Refuse what cannot be decoded, before anything is."""
    pixels = header.rows * header.columns * header.frames * header.samples
    size = -(-pixels * header.bits_allocated // 8)
    if max(size, pixels) > MAX_BYTES:
        raise DataError(
            f"{header.rows} rows x {header.columns} columns x {header.frames} frames x "
            f"{header.samples} samples would take {max(size, pixels) / 2**30:,.1f} GiB; expected "
            f"at most {MAX_BYTES // 2**30}. Split the file."
        )
    if header.photometric not in PHOTOMETRIC:
        raise DataError(
            f"the photometric interpretation is {header.photometric or 'missing'}; expected one "
            f"of {', '.join(sorted(PHOTOMETRIC))}."
        )
    _check_codec(header)
    element = next(
        dataset.get_item(name, keep_deferred=True) for name in _PIXELS if name in dataset
    )
    start, length = getattr(element, "value_tell", None), getattr(element, "length", None)
    if start is None or length is None or length == 0xFFFFFFFF:
        return  # deflated, or compressed frames, whose sizes only the codec knows
    found = min(length, header.path.stat().st_size - start)
    expected = size * 2 // 3 if header.photometric == "YBR_FULL_422" else size
    if header.is_streamed and found < expected:
        raise DataError(
            f"the pixels are truncated: expected {expected:,} bytes, found {found:,}. Copy the "
            "file again, or leave it out."
        )


def _check_codec(header: Header) -> None:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    name = UID(header.syntax).name
    try:
        decoder = get_decoder(header.syntax)
    except NotImplementedError:
        raise DataError(f"its transfer syntax, {name}, is not supported for images.") from None
    if not UID(header.syntax).is_encapsulated:
        return
    plugins = set(decoder.available_plugins)
    if header.syntax == _JPEG_EXTENDED and header.bits_stored > 8 and plugins <= _EIGHT_BIT:
        raise DataError(
            f"its transfer syntax, {name}, with {header.bits_stored} bits has no codec in "
            "ganaug[dicom]. Decompress it first, for instance with dcmdjpeg of DCMTK."
        )
    if not plugins:
        raise DataError(
            f"no codec is installed for its transfer syntax, {name}. {codec_advice(header.syntax)}"
        )


def _check_inflated(path: Path) -> None:
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(path)
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        rest = file.read(2**20)
        while rest and total <= MAX_BYTES:
            total += len(inflater.decompress(rest, 2**24))
            rest = inflater.unconsumed_tail or file.read(2**20)
    if total > MAX_BYTES:
        raise DataError(f"it unpacks to more than {MAX_BYTES // 2**30} GiB. Split the file.")
