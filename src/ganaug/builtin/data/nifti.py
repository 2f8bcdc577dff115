"""NIfTI volumes, and FreeSurfer's .mgz and .mgh, cut into slices that are decoded when read.

Files are opened by MONAI's NibabelReader and read slice by slice through nibabel's array proxy:
the reader's own ``get_data`` decodes a whole volume, as float64 when it has a slope.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganaug.builtin.data import windows
from ganaug.builtin.data.groups import groups_from_names
from ganaug.builtin.data.nifti_layout import (
    SUFFIXES,
    check_compression,
    damaged,
    read_layout,
)
from ganaug.builtin.data.options import NiftiConfig, StackConfig
from ganaug.builtin.data.stacks import Stack, classes_by_folder, images_of_stacks, select_slices
from ganaug.errors import DataError

if TYPE_CHECKING:
    from ganaug.spec import LabelledImages

__all__ = ["NiftiStack", "claims_nifti", "is_nifti", "open_nifti", "open_stacks"]

#: Values that percentiles are taken from: a regular grid over the whole volume.
_SAMPLE = 2**22


def is_nifti(path: Path) -> bool:
    """Return whether the name of a file says that it is NIfTI, MGZ or MGH."""
    return path.name.lower().endswith(SUFFIXES)


def claims_nifti(location: Path) -> int:
    """Return 10 for a file of these formats, 15 for a folder that holds one, else 0."""
    if location.is_dir():
        return 15 if next(_files(location), None) else 0
    return 10 if is_nifti(location) else 0


def open_nifti(config: NiftiConfig, location: Path) -> LabelledImages:
    """Open a volume, or a folder tree of volumes, as slices (1, H, W) uint16, 0 to 65535.

    The folders right below the location are the classes, in alphabetical order; without them
    there is one class, ``image``. The group of a slice is its volume, by a hash of the file, or
    what `group_pattern` finds in its path. Raises DataError for whatever `NiftiStack` refuses.
    """
    stacks = open_stacks(location, config)
    names = [stack.name for stack in stacks]
    if config.group_pattern:
        groups = groups_from_names(location, names, config.group_pattern)
        for stack, group in zip(stacks, groups, strict=True):
            stack.group = group
    return images_of_stacks(stacks, *classes_by_folder(names))


def open_stacks(location: Path, config: StackConfig) -> list[Stack]:
    """Return the volumes of a file, or of a folder tree in alphabetical order.

    Headers are read and checked; voxels only when a fraction of foreground is asked for.
    Raises DataError when there is none, and for whatever `NiftiStack` refuses.
    """
    if not location.is_dir():
        return [NiftiStack(location, location.name, config)]
    paths = sorted(_files(location))
    if not paths:
        raise DataError(f"{location} holds no volumes; expected files named {', '.join(SUFFIXES)}.")
    return [NiftiStack(path, path.relative_to(location).as_posix(), config) for path in paths]


class NiftiStack(Sequence[Any]):
    """The slices of a volume, seen as a radiologist sees them, from its window to uint16.

    Whatever the order of storage, axes are first turned to the patient's, by the file's affine:
    axis 0 goes to the patient's left, 1 to the back, 2 to the head, as in a DICOM series. So
    axis 2 gives axial slices with the front on top, 1 coronal and 0 sagittal ones with the head
    on top; the patient's right is on the left side of axial and coronal slices, the front on
    that of sagittal ones. Slices are counted along these axes, from 0. Voxels stay as they are:
    nothing is interpolated, oblique axes go to the nearest. Without a usable affine, axes count
    as stored: to the right, the front and the head.

    Slope and intercept are applied before the window. Window ``auto`` is the header's cal_min
    and cal_max if it has them, else the 0.5 and 99.5 percentile of the whole volume, on a grid
    of at most 4 million voxels or so; ``full`` is its lowest and highest value.

    Slices are read one at a time when they lie in the file one after the other, as axial ones
    mostly do; else (other axes, compressed files from head to foot) the volume is kept in memory
    until `close`. Before the first slice, a compressed file is read once to the end for its
    checksum.

    The group of several slices is ``volume-`` and 16 hex digits of the SHA-256 of the file, so
    that a copy under another name is the same group, and another file of the same name is not.

    Raises DataError, in one line that names the file, when it is missing, not NIfTI, truncated,
    or too large (nothing is decoded then); for a size below one, colour or complex voxels, a 4D
    file without ``volume``, more than four dimensions; and on reading for NaN and infinity.
    ConfigError for an unknown window.
    """

    def __init__(self, path: Path, name: str, config: StackConfig) -> None:
        self.name = name
        self.dtype = np.dtype(np.uint16)
        self._path = path
        self._config = config
        windows.limits(config.window)  # an unknown one is refused before any file is read
        self._layout = read_layout(path, config)
        self._read: Callable[[int], NDArray[Any]] | None = None
        self._is_sound = False
        self._window: tuple[float, float] | None = None
        count = self._layout.count
        chosen = select_slices(count, config, self.values)
        self.close()
        # A pattern goes before, so that the file need not be read for a hash.
        self.group = _hash(path) if count > 1 and not config.group_pattern else ""
        self.numbers: Sequence[int] = chosen if count > 1 else ()
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, k: Any) -> Any:
        number = self._chosen[k]
        if self._window is None:
            self._window = self._find_window()
        return windows.apply(self.values(number), *self._window)[None]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels to the patient's left, back and head."""
        return self._layout.turned_shape

    def values(self, number: int) -> NDArray[np.float32]:
        """Return slice `number` (H, W), upright, with slope and intercept applied.

        Raises DataError when it cannot be decoded or holds NaN or infinity.
        """
        try:
            if not self._is_sound:
                check_compression(self._path, self._layout)
                self._is_sound = True
            if self._read is None:
                self._read = self._layout.reader(self._path)
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told below
                slab = self._read(self._layout.stored_number(number)).astype(np.float32)
        except Exception as error:  # gzip, zlib, nibabel and NumPy each raise their own
            raise damaged(self._path, error) from error
        bad = int(np.count_nonzero(~np.isfinite(slab)))
        if bad:
            raise DataError(
                f"{self._path}: slice {number} has {bad} values that are not finite numbers (NaN "
                "or infinity). Replace them first, for instance with numpy.nan_to_num, or leave "
                "the file out."
            )
        return self._layout.upright(slab)

    def close(self) -> None:
        """Close the file, and let go of the volume."""
        self._read = None

    def _find_window(self) -> tuple[float, float]:
        """Return what maps to black and to white."""
        named = windows.limits(self._config.window)
        if named is not None:
            return named
        auto = self._config.window == "auto"
        if auto and self._layout.calibration is not None:
            return self._layout.calibration
        lowest, highest, sample = self._survey()
        low, high = np.percentile(sample, (0.5, 99.5)) if auto else (lowest, highest)
        if low == high:  # nearly all is background, as in a mask of something small
            low, high = lowest, highest
        return float(low), float(high)

    def _survey(self) -> tuple[float, float, NDArray[np.float32]]:
        """Return the lowest and highest value of the volume, and a sample of its values."""
        step = math.ceil(math.sqrt(math.prod(self.shape) / _SAMPLE))
        lowest, highest, sample = math.inf, -math.inf, []
        for number in range(self._layout.count):
            values = self.values(number)
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
            sample.append(values[::step, ::step].ravel())
        return lowest, highest, np.concatenate(sample)


def _hash(path: Path) -> str:
    """Return the group of a file: a hash of its bytes, which are read once, a block at a time."""
    with path.open("rb") as file:
        return f"volume-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _files(folder: Path) -> Iterator[Path]:
    """Yield the volumes anywhere below a folder; hidden ones are left out."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if is_nifti(path) and not hidden and path.is_file():
            yield path
