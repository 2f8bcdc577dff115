"""Where a NIfTI file keeps its slices: its header read and checked, no voxel decoded."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganaug.builtin.data.options import StackConfig, VolumeConfig
from ganaug.errors import DataError

__all__ = ["SUFFIXES", "NiftiLayout", "check_compression", "damaged", "read_layout"]

#: What the name of a file that is read here ends with.
SUFFIXES = (".nii", ".nii.gz", ".mgz", ".mgh")

#: Those of them that are not compressed.
_PLAIN = (".nii", ".mgh")

#: Most pixels of a slice and most voxels of a volume; nothing is decoded beyond them.
MAX_PIXELS, MAX_VOXELS = 100_000_000, 2**31

#: Bytes decompressed at a time, and the most that may follow the last voxel.
_CHUNK, _MAX_TRAILING = 2**20, 2**26

_REPAIR = "Repair it or leave it out."


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiLayout:
    """Where a file keeps its slices.

    end: where the last voxel ends, in bytes, decompressed.
    stored: shape of the array in the file. index: of one volume of it, beyond the third axis.
    turn: for each of the first three stored axes, its axis and direction (1 or -1) when turned to
    left, back, head. axis: the turned axis that is cut. calibration: cal_min and cal_max, if set.
    """

    end: int
    stored: tuple[int, ...]
    index: tuple[int, ...]
    turn: NDArray[Any]
    axis: int
    calibration: tuple[float, float] | None

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """The shape of one volume as stored; a 2D file is a volume of one slice."""
        first, second, third = (*self.stored, 1)[:3]
        return first, second, third

    @property
    def stored_axis(self) -> int:
        """The axis of the file's array that is cut."""
        return int(np.flatnonzero(self.turn[:, 0] == self.axis)[0])

    @property
    def turned_shape(self) -> tuple[int, int, int]:
        """The shape of one volume, turned: voxels to left, back and head."""
        order = np.argsort(self.turn[:, 0])
        first, second, third = (self.stored_shape[axis] for axis in order)
        return first, second, third

    @property
    def count(self) -> int:
        """How many slices there are along the axis that is cut."""
        return self.turned_shape[self.axis]

    def stored_number(self, number: int) -> int:
        """Return where slice `number` lies along the stored axis."""
        return self.count - 1 - number if self._is_backwards else number

    def reader(self, path: Path) -> Callable[[int], NDArray[Any]]:
        """Open the file; return what reads a slab of thickness 1, by its stored number.

        Slabs that lie in the file one after the other are read one by one. A compressed file
        that holds them last to first would be decompressed from its start for each, so that it is
        kept in memory as well.
        """
        proxy = _open(path).dataobj
        axis, shape = self.stored_axis, self.stored_shape
        in_order = not self._is_backwards or path.name.lower().endswith(_PLAIN)
        if in_order and all(size == 1 for size in shape[axis + 1 :]):
            return lambda number: self._slab(proxy, axis, number)
        first = self._slab(proxy, 2, 0)
        whole = np.empty(shape, np.float32 if first.dtype.kind == "f" else first.dtype, order="F")
        for number in range(shape[2]):
            whole[:, :, number : number + 1] = self._slab(proxy, 2, number)
        return lambda number: whole.take([number], axis)

    def upright(self, slab: NDArray[Any]) -> NDArray[Any]:
        """Turn a slab of thickness 1 as stored into a slice (H, W)."""
        from nibabel.orientations import apply_orientation

        turned = apply_orientation(slab, self.turn).take(0, self.axis).T
        return np.ascontiguousarray(turned if self.axis == 2 else turned[::-1])

    @property
    def _is_backwards(self) -> bool:
        return bool(self.turn[self.stored_axis, 1] < 0)

    def _slab(self, proxy: Any, axis: int, number: int) -> NDArray[Any]:
        index: list[Any] = [slice(None)] * 3
        index[axis] = slice(number, number + 1)
        shape = list(self.stored_shape)
        shape[axis] = 1
        return np.asarray(proxy[(*index[: len(self.stored)], *self.index)]).reshape(shape)


def read_layout(path: Path, config: StackConfig) -> NiftiLayout:
    """Read and check the header of a file. Raises DataError, in one line, for a bad one."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; expected a NIfTI file or a folder of them.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes). {_REPAIR}")
    image = _open(path)
    stored = tuple(int(size) for size in image.shape)
    _check_voxels(path, stored, image.dataobj)
    layout = NiftiLayout(
        end=_end(stored, image.dataobj),
        stored=stored,
        index=_volume_index(path, stored, config),
        turn=_turn(image.affine),
        axis=config.axis,
        calibration=_calibration(image.header),
    )
    _check_size(path, layout)
    return layout


def check_compression(path: Path, layout: NiftiLayout) -> None:
    """Decompress a file to its end, which holds the checksum of it all; 1 MiB at a time.

    Reading slices stops at the last voxel, so that a damaged file would go unnoticed. Files that
    are not compressed have no checksum, and pass. Raises what gzip raises for a damaged file, and
    ValueError when it goes on far beyond the last voxel.
    """
    if path.name.lower().endswith(_PLAIN):
        return
    count = 0
    with gzip.open(path) as file:
        while size := len(file.read(_CHUNK)):
            count += size
            if count > layout.end + _MAX_TRAILING:
                raise ValueError(f"it goes on beyond its {layout.end:,} bytes")


def _open(path: Path) -> Any:
    """Return the nibabel image of a file, its header read and its voxels not."""
    from monai.data.image_reader import NibabelReader
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import SpatialImage

    try:
        # One open file, so that a compressed one is read on from where it is, not from its start.
        image = NibabelReader(keep_file_open=True).read(path)
    except ImageFileError as error:
        raise DataError(
            f"{path} is not a file that nibabel can read; expected NIfTI ({', '.join(SUFFIXES)}). "
            f"{_REPAIR}"
        ) from error
    except Exception as error:  # a damaged header ends in whatever error it leads to
        raise damaged(path, error) from error
    if not isinstance(image, SpatialImage):
        raise DataError(f"{path} holds no volume but a {type(image).__name__}. Leave it out.")
    return image


def _check_voxels(path: Path, stored: tuple[int, ...], proxy: Any) -> None:
    """Refuse sizes below one, voxels that are not one number, and a file that is too short."""
    if min(stored, default=0) < 1:
        raise DataError(f"{path} has no voxels; its shape is {_by(stored) or 'empty'}. {_REPAIR}")
    if proxy.dtype.kind not in "iuf":
        kind = "complex numbers" if proxy.dtype.kind == "c" else "colours"
        raise DataError(
            f"{path}: its voxels are {kind}; expected one number each. Save it as greyscale "
            "first, or its slices as RGB images."
        )
    needed = _end(stored, proxy)
    if path.name.lower().endswith(_PLAIN) and path.stat().st_size < needed:
        raise DataError(
            f"{path} is truncated: it has {path.stat().st_size:,} bytes, and a volume of "
            f"{_by(stored)} needs {needed:,}. {_REPAIR}"
        )


def _end(stored: tuple[int, ...], proxy: Any) -> int:
    """Return where the last voxel ends, in bytes."""
    return int(proxy.offset) + math.prod(stored) * int(proxy.dtype.itemsize)


def _volume_index(path: Path, stored: tuple[int, ...], config: StackConfig) -> tuple[int, ...]:
    """Return the index of the chosen volume beyond the third axis."""
    extra = stored[3:]
    if len(stored) < 2 or any(size > 1 for size in extra[1:]):
        raise DataError(f"{path} has the shape {_by(stored)}; expected 3D or 4D. {_REPAIR}")
    volumes = extra[0] if extra else 1
    chosen = config.volume if isinstance(config, VolumeConfig) else None
    if chosen is None and volumes > 1:
        raise DataError(
            f"{path} is 4D: {volumes} volumes of {_by(stored[:3])}; expected one. Choose it with "
            f"volume=0 to volume={volumes - 1}, or save one as a 3D file."
        )
    if chosen is not None and chosen >= volumes:
        raise DataError(
            f"{path} has {volumes} volume{'s' if volumes > 1 else ''}; volume={chosen} was asked "
            f"for, and they are counted from 0 to {volumes - 1}."
        )
    return (chosen or 0, *(0 for _ in extra[1:])) if extra else ()


def _turn(affine: NDArray[Any]) -> NDArray[Any]:
    """Return how the stored axes turn to left, back and head, as nibabel states orientations."""
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    try:
        stored = io_orientation(affine)
    except np.linalg.LinAlgError:
        stored = np.full((3, 2), np.nan)
    if np.isnan(stored).any():
        stored = axcodes2ornt("RAS")
    turn: NDArray[Any] = ornt_transform(stored, axcodes2ornt("LPS")).astype(int)
    return turn


def _calibration(header: Any) -> tuple[float, float] | None:
    if "cal_max" not in header:  # MGH has none
        return None
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return (low, high) if -math.inf < low < high < math.inf else None


def _check_size(path: Path, layout: NiftiLayout) -> None:
    voxels = math.prod(layout.stored_shape)
    if voxels > MAX_VOXELS or voxels // layout.count > MAX_PIXELS:
        raise DataError(
            f"{path} is too large: {_by(layout.stored)} voxels. Expected at most {MAX_PIXELS:,} "
            f"a slice and {MAX_VOXELS:,} a volume; make it smaller, or cut it into parts, first."
        )


def damaged(path: Path, error: Exception) -> DataError:
    """Return the error for a file that whatever reads it stumbles over."""
    why = " ".join(str(error).split())
    return DataError(f"{path} cannot be decoded; it is damaged or truncated ({why}). {_REPAIR}")


def _by(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)
