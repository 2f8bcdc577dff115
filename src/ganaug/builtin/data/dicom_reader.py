"""A reader of DICOM frames for MONAI's `LoadImage`, on pydicom.

MONAI's own PydicomReader transposes, orders by InstanceNumber and drops slices without one, and
knows neither MONOCHROME1 nor windows; this one reads one frame, as it is meant to be seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.data.image_reader import ImageReader
from numpy.typing import NDArray

from ganaug.builtin.data import windows
from ganaug.builtin.data.dicom_checks import codec_advice
from ganaug.builtin.data.dicom_codestream import check_codestream
from ganaug.builtin.data.dicom_header import Header, read_dataset, read_header
from ganaug.builtin.data.dicom_tags import quietly
from ganaug.builtin.data.loading import image_loader
from ganaug.errors import DataError

__all__ = ["DicomReader", "read_frame", "read_stored", "read_voi"]


class DicomReader(ImageReader):
    """Read one frame of a DICOM file: ``LoadImage(dtype=None)(path, reader=DicomReader())``.

    Given to the call, not to the constructor of `LoadImage`, its DataError comes through. Grey
    frames are float32 (H, W), rescaled by the frame's own slope and intercept (or modality look-up
    table); colour ones RGB (H, W, 3), uint8 or uint16. Rows stay rows.

    frame: which one, from 0. header: of the file, when it has been read before.
    """

    def __init__(self, frame: int = 0, header: Header | None = None) -> None:
        self._frame = frame
        self._header = header

    def verify_suffix(self, filename: Any) -> bool:
        """Return True: DICOM files need no suffix, so the content decides in `read`."""
        return True

    def read(self, data: Any, **kwargs: Any) -> tuple[Header, NDArray[Any]]:
        """Return the header and the stored values of the frame; `data` is a path, or a row of one.

        Raises DataError, which names the file, as `read_header` does, and when it cannot be
        decoded.
        """
        path = Path(data[0] if isinstance(data, (tuple, list)) else data)
        header = self._header or read_header(path)
        return header, read_stored(header, self._frame)

    def get_data(self, img: tuple[Header, NDArray[Any]]) -> tuple[NDArray[Any], dict[str, Any]]:
        """Return the values of what `read` returned, and what MONAI's metadata hold of it.

        They are its shape, where its channels are, and under ``padding`` a bool array (H, W) of
        what the file declares to be no image.
        """
        header, stored = img
        colour = header.is_colour
        values = _colours(header, stored) if colour else _rescale(header, stored, self._frame)
        meta: dict[str, Any] = {
            "spatial_shape": values.shape[:2],
            "original_channel_dim": -1 if colour else float("nan"),
            "padding": _padding(header, stored),
        }
        return values, meta


def read_frame(header: Header, frame: int = 0) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the modality values of a frame, before any window, and where it is padding.

    Values, through `LoadImage`: float32 (1, H, W) for grey, such as Hounsfield units; RGB
    (3, H, W) of uint8 or uint16. Padding: bool (1, H, W), None when the file declares none.
    Raises DataError, which names the file, when it cannot be decoded or holds NaN or infinity.
    """
    image = image_loader()(header.path, reader=DicomReader(frame, header))
    values: NDArray[Any] = image.numpy()
    if header.is_colour and values.dtype != np.uint8:
        values = values.astype(np.uint16)  # which MONAI's tensors hold as int32
    if not np.isfinite(values).all():
        raise DataError(
            f"{header.path}: frame {frame} holds values that are not finite numbers. Repair the "
            "file or leave it out."
        )
    padding = image.meta["padding"]
    return values, None if header.padding is None or header.is_colour else np.asarray(padding)[None]


def read_stored(header: Header, frame: int = 0) -> NDArray[Any]:
    """Decode one frame: (H, W) or RGB (H, W, 3), in its own dtype and this machine's byte order.

    Raises DataError, which names the file, when that fails, and before decoding when a compressed
    frame declares another size than the header.
    """
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import UID

    try:
        check_codestream(header, frame)
        with quietly():
            source = header.path if header.is_streamed else read_dataset(header.path)
            stored = pixel_array(source, index=frame)
    except DataError as error:
        raise DataError(f"{header.path}: {error}") from None
    except Exception:  # codecs raise whatever they like, in words that help nobody
        advice = (
            codec_advice(header.syntax) or "Copy the file again, decompress it, or leave it out."
        )
        raise DataError(
            f"{header.path}: frame {frame} cannot be decoded: it is damaged, or of a kind that no "
            f"installed codec reads (transfer syntax {UID(header.syntax).name}). {advice}"
        ) from None
    return np.ascontiguousarray(stored.astype(stored.dtype.newbyteorder("="), copy=False))


def read_voi(header: Header, values: NDArray[np.float32]) -> tuple[NDArray[Any], float]:
    """Apply a file's VOI look-up table to its values; return the result and its highest value.

    Raises DataError, which names the file, when the table is damaged.
    """
    from pydicom.pixels.processing import apply_voi

    try:
        dataset = read_dataset(header.path)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi(values.round().astype(np.int32), dataset), float(2**bits - 1)
    except Exception as error:  # a damaged table fails in any way
        raise DataError(
            f"{header.path}: the VOI look-up table is damaged ({type(error).__name__}). Give "
            "window=full or CENTRE,WIDTH."
        ) from None


def _padding(header: Header, stored: NDArray[Any]) -> NDArray[np.bool_]:
    low, high = header.padding or (np.inf, -np.inf)
    return (stored >= low) & (stored <= high)


def _rescale(header: Header, stored: NDArray[Any], frame: int) -> NDArray[np.float32]:
    if header.has_modality_lut:
        from pydicom.pixels.processing import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, read_dataset(header.path)), np.float32)
    slope, intercept = header.scales[min(frame, len(header.scales) - 1)]
    with np.errstate(over="ignore", invalid="ignore"):  # `read_frame` refuses what is not finite
        return (stored * slope + intercept).astype(np.float32)


def _colours(header: Header, stored: NDArray[Any]) -> NDArray[Any]:
    """Return RGB at the dtype's full depth; 16-bit palettes are 8-bit ones written twice."""
    if header.photometric == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        palette = apply_color_lut(stored, read_dataset(header.path))[..., :3]
        return (palette >> 8).astype(np.uint8) if palette.dtype == np.uint16 else palette
    highest = 2**header.bits_stored - 1
    if stored.dtype in (np.uint8, np.uint16) and highest == np.iinfo(stored.dtype).max:
        return stored
    return windows.apply(stored, 0.0, float(highest))
