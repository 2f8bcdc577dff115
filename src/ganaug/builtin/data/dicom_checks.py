"""What a DICOM file must be before its pixels are decoded: an image, whole, and not too large."""

from __future__ import annotations

import mmap
import re
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.builtin.data.dicom_codestream import check_codestream
from ganaug.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

    from ganaug.builtin.data.dicom_header import Header

__all__ = [
    "DEFLATED",
    "MAX_BYTES",
    "PIXELS",
    "NoImageError",
    "check_counts",
    "check_inflated",
    "check_pixels",
    "codec_advice",
    "is_cut_off",
]

#: Most bytes of all decoded frames of a file: rows x columns x frames x samples x bytes.
MAX_BYTES = 2 * 2**30

#: How pixels may be meant; YBR is decoded to RGB.
PHOTOMETRIC = frozenset(
    {
        *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"),
        *("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
    }
)

#: The keywords that pixels may have.
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

#: The transfer syntax of a file whose elements are deflated as a whole.
DEFLATED = "1.2.840.10008.1.2.1.99"

_BITS = (1, 8, 16, 32, 64)
_UNDEFINED = 0xFFFFFFFF  # the length of pixels that come in compressed frames
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_EIGHT_BIT = frozenset({"gdcm", "pillow"})  # what decodes JPEG Extended of 8 bits alone
_CODECS = ("gdcm", "jpeg_ls", "openjpeg", "pylibjpeg")  # the modules of ganaug[dicom]

#: SOP classes without pixels (PS3.4 B.5): spectra, waveforms, presentation states, raw data,
#: registrations, surfaces, measurements, reports and key objects, documents, protocols, and of
#: radiotherapy all but images and doses.
_WITHOUT_PIXELS = re.compile(
    r"1\.2\.840\.10008\.5\.1\.4\.1\.1\."
    r"(4\.2|66(\.[12356])?|67|131|(9|11|68|78|79|80|88|90|91|104|200)\..+|481\.(?![12]$)\d+)"
)


class NoImageError(DataError):
    """A sound DICOM file of a kind that holds no pixels, such as a report or a contour."""


def check_counts(dataset: Dataset) -> None:
    """Refuse a header without pixels, or whose counts cannot be.

    Raises NoImageError for a SOP class without pixels, DataError otherwise.
    """
    from pydicom.uid import UID

    sop_class = str(dataset.get("SOPClassUID") or "")
    if not any(keyword in dataset for keyword in PIXELS):
        if _WITHOUT_PIXELS.fullmatch(sop_class):
            raise NoImageError(f"it is a {UID(sop_class).name} object, no image. Leave it out.")
        why = ": it is truncated, or they were taken out" if "SamplesPerPixel" in dataset else ""
        raise DataError(f"the file holds no pixels{why}. Copy it again, or leave it out.")
    missing = [name for name in ("Rows", "Columns", "BitsAllocated") if not dataset.get(name)]
    if missing:
        raise DataError(
            f"the header has no {missing[0]}, so the pixels cannot be read. Repair the header, or "
            "leave the file out."
        )
    allowed = ", ".join(map(str, _BITS[:-1])) + f" or {_BITS[-1]}"
    frames = int(dataset.get("NumberOfFrames") or 1)
    for name, fits, expected in (
        ("BitsAllocated", int(dataset.BitsAllocated) in _BITS, allowed),
        ("NumberOfFrames", frames > 0, "1 or more"),
    ):
        if not fits:
            raise DataError(
                f"the header's {name} is {int(dataset[name].value)}; expected {expected}. Repair "
                "the header, or leave the file out."
            )


def check_pixels(header: Header, dataset: Dataset) -> None:
    """Refuse, with a DataError, what cannot be decoded, before anything is."""
    size = _check_size(header)
    if header.photometric not in PHOTOMETRIC:
        raise DataError(
            f"the photometric interpretation is {header.photometric or 'missing'}; expected one "
            f"of {', '.join(sorted(PHOTOMETRIC))}."
        )
    _check_codec(header)
    check_codestream(header)
    element = next(dataset.get_item(name, keep_deferred=True) for name in PIXELS if name in dataset)
    start, length = getattr(element, "value_tell", None), getattr(element, "length", None)
    if start is None or length is None or length == _UNDEFINED:
        return  # deflated, or compressed frames, whose sizes only the codec knows
    found = min(length, header.path.stat().st_size - start)
    expected = size * 2 // 3 if header.photometric == "YBR_FULL_422" else size
    if header.is_streamed and found < expected:
        raise DataError(
            f"the pixels are truncated: expected {expected:,} bytes, found {found:,}. Copy the "
            "file again, or leave it out."
        )


def codec_advice(syntax: str) -> str:
    """Return what to install for a compressed transfer syntax; empty when all of it is there."""
    from pydicom.uid import UID

    missing = [name for name in _CODECS if find_spec(name) is None]
    if not missing or not UID(syntax).is_compressed or syntax == DEFLATED:
        return ""
    return "Codecs come with: pip install 'ganaug[dicom]'."


def is_cut_off(path: Path) -> bool:
    """Return whether compressed pixels begin in a file that pydicom finds none in."""
    if not path.stat().st_size:
        return False
    begins = (
        b"\xe0\x7f\x10\x00" + kind + b"\0\0" + _UNDEFINED.to_bytes(4) for kind in (b"OB", b"OW")
    )
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(begin) >= 0 for begin in begins)


def check_inflated(path: Path) -> None:
    """Refuse, with a DataError, a deflated file that is cut off or unpacks to over 2 GiB."""
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
    if not inflater.eof:
        raise DataError("the file is truncated. Copy it again, or leave it out.")


def _check_size(header: Header) -> int:
    """Return how many bytes the decoded frames take."""
    pixels = header.rows * header.columns * header.frames * header.samples
    size = -(-pixels * header.bits_allocated // 8)
    if max(size, pixels) > MAX_BYTES:
        raise DataError(
            f"{header.rows} rows x {header.columns} columns x {header.frames} frames x "
            f"{header.samples} samples would take {max(size, pixels) / 2**30:,.1f} GiB; expected "
            f"at most {MAX_BYTES // 2**30}. Split the file."
        )
    return size


def _check_codec(header: Header) -> None:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    name = UID(header.syntax).name
    try:
        decoder = get_decoder(header.syntax)
    except NotImplementedError:  # how pydicom says that no decoder is for it
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
