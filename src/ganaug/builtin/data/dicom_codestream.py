"""The size that a compressed frame itself declares, read before a codec makes room for it.

A few bytes of JPEG can unpack to gigabytes, whatever Rows and Columns of the file say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganaug.builtin.data.dicom_tags import quietly
from ganaug.errors import DataError

if TYPE_CHECKING:
    from ganaug.builtin.data.dicom_header import Header

__all__ = ["check_codestream", "codestream_size"]

#: Second byte of the markers that begin a frame of JPEG (ITU T.81, B.1.1.3) and JPEG-LS (T.87).
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})

#: Second byte of the JPEG markers without a length: restarts, start, end and a temporary one.
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})

_JPEG = b"\xff\xd8"
_JPEG_2000 = b"\xff\x4f\xff\x51"  # start of the codestream, then its SIZ segment
_RLE_HEADER = 64
_RLE = "1.2.840.10008.1.2.5"


def check_codestream(header: Header, frame: int = 0) -> None:
    """Refuse a frame whose codestream is cut off or declares another size than the header.

    A frame of RLE, which declares none, may have twice as many bytes as its pixels need: more is
    never necessary, and none unpacks to more than 64 times its own size. Frames that are not
    compressed pass. Raises DataError, which does not name the file.
    """
    if header.pixels_at is None:
        return
    stream = _frame_of(header, frame)
    if header.syntax == _RLE:
        _check_rle(header, stream)
        return
    found = codestream_size(stream)
    if found is None:
        raise DataError(
            f"frame {frame} is truncated or damaged: its first bytes are no JPEG or JPEG 2000. "
            "Copy the file again, or leave it out."
        )
    expected = (header.rows, header.columns, header.samples)
    if found != expected:
        header_says, stream_says = (
            "{} rows x {} columns x {} samples".format(*size) for size in (expected, found)
        )
        raise DataError(
            f"the header says {header_says}, but the compressed frame {frame} says {stream_says}. "
            "Leave the file out, or correct its header."
        )


def codestream_size(stream: bytes) -> tuple[int, int, int] | None:
    """Return rows, columns and samples of a JPEG, JPEG-LS or JPEG 2000 codestream.

    None when its first markers are missing or damaged.
    """
    if stream.startswith(_JPEG):
        return _jpeg_size(stream)
    at = _start_of_jpeg_2000(stream)
    if stream[at : at + 4] != _JPEG_2000 or len(stream) < at + 42:
        return None
    # ISO/IEC 15444-1 A.5.1, from byte 8: Xsiz, Ysiz, XOsiz, YOsiz; Csiz after four more.
    right, bottom, left, top = (_number(stream, at + 8 + 4 * k, 4) for k in range(4))
    return bottom - top, right - left, _number(stream, at + 40, 2)


def _frame_of(header: Header, frame: int) -> bytes:
    from pydicom.encaps import get_frame

    try:
        with quietly(), header.path.open("rb") as file:
            file.seek(header.pixels_at or 0)
            return get_frame(file, frame, number_of_frames=header.frames)
    except Exception:  # lengths and offsets that lead nowhere fail in any way
        raise DataError(
            f"frame {frame} of {header.frames} is missing: the pixels are truncated or damaged. "
            "Copy the file again, or leave it out."
        ) from None


def _check_rle(header: Header, stream: bytes) -> None:
    needed = header.rows * header.columns * header.samples * -(-header.bits_allocated // 8)
    most = _RLE_HEADER + 2 * (needed + _RLE_HEADER)
    if len(stream) > most:
        raise DataError(
            f"the header says {needed:,} bytes a frame, for which RLE needs at most {most:,}; "
            f"found {len(stream):,}. Leave the file out, or correct its header."
        )


def _jpeg_size(stream: bytes) -> tuple[int, int, int] | None:
    at = len(_JPEG)
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker in _FRAMES:
            return _number(stream, at + 5, 2), _number(stream, at + 7, 2), stream[at + 9]
        if marker == 0xFF:  # fill bytes may come before a marker
            at += 1
        else:
            at += 2 if marker in _BARE else 2 + _number(stream, at + 2, 2)
    return None


def _start_of_jpeg_2000(stream: bytes) -> int:
    """Return where the codestream begins: at once, or in a box of a JP2 file."""
    if stream[4:8] != b"jP  ":
        return 0
    at = 0
    while at + 8 <= len(stream) and stream[at + 4 : at + 8] != b"jp2c":
        at += max(8, _number(stream, at, 4))
    return at + (16 if _number(stream, at, 4) == 1 else 8)


def _number(stream: bytes, at: int, size: int) -> int:
    return int.from_bytes(stream[at : at + size], "big")
