"""The images of a DICOM series or file, decoded one frame at a time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganaug.builtin.data import windows
from ganaug.builtin.data.dicom_header import Header
from ganaug.builtin.data.dicom_reader import read_frame, read_voi
from ganaug.builtin.data.options import StackConfig
from ganaug.builtin.data.stacks import select_slices
from ganaug.errors import ConfigError

__all__ = ["DicomStack", "Frame"]


@dataclass(frozen=True, slots=True)
class Frame:
    """Frame `index` (from 0) of a file, and its `number` in the volume."""

    header: Header
    index: int
    number: int


class DicomStack:
    """Frames of one series, or of one file, as images of one window.

    Grey images are uint16 (1, H, W) from the lowest value of the window to the highest, upright
    for MONOCHROME1 (there, the lowest is white), padding black; those of 8 bits without a window
    stay uint8 (1, H, W). Colour is RGB (3, H, W) and has no window.

    series: all frames of the volume, from which an automatic window is taken. frames: those of
    them that are images, before the slices of `config` are selected. A series of one frame is a
    single image. label, group: of all images.
    Raises ConfigError for a preset of CT on another modality.
    """

    def __init__(
        self,
        name: str,
        series: Sequence[Frame],
        frames: Sequence[Frame],
        config: StackConfig,
        *,
        label: str = "image",
        group: str = "",
    ) -> None:
        self.name = name
        self.label = label
        self._series = tuple(series)
        self._first = first = frames[0].header
        self.group = group
        self._window = config.window
        self._limits = windows.limits(config.window)
        if config.window in windows.PRESETS and first.modality not in {"CT", ""}:
            raise ConfigError(
                f"The window {config.window} is in Hounsfield units, for CT; {first.path} is "
                f"{first.modality}. Use window=auto, full or CENTRE,WIDTH."
            )
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if self._is_eight_bit() else np.uint16)
        self._frames = self._select(frames, config) if len(series) > 1 else tuple(frames)
        self.numbers: Sequence[int] = (
            tuple(f.number for f in self._frames) if len(series) > 1 else ()
        )

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, k: int) -> NDArray[Any]:
        """Return image k, decoded. Raises DataError, which names the file, when that fails."""
        header, index = self._frames[k].header, self._frames[k].index
        values, padding = read_frame(header, index)
        if header.is_colour:
            return values
        image = self._to_depth(header, values)
        if header.photometric == "MONOCHROME1":
            image = np.iinfo(image.dtype).max - image
        if padding is not None:
            image[padding] = 0
        return image

    def close(self) -> None:
        """Nothing is kept: every frame is read from its file."""

    def _to_depth(self, header: Header, values: NDArray[Any]) -> NDArray[Any]:
        if self.dtype == np.uint8:
            return values.astype(np.uint8)
        if self._window == "auto" and header.has_voi_lut and self._own_window is None:
            shown, highest = read_voi(header, values)
            return windows.apply(shown, 0.0, highest)
        low, high = self._limits or self._own_window or self._value_limits
        return windows.apply(values, low, high)

    def _is_eight_bit(self) -> bool:
        """Whether images stay as they are stored: 8-bit colour, or plain 8-bit grey."""
        first = self._first
        if first.is_colour:
            return first.bits_allocated == 8
        plain = (
            not (first.signed or first.has_modality_lut or first.has_voi_lut)
            and first.bits_allocated == first.bits_stored == 8
            and all(f.header.scales == ((1.0, 0.0),) for f in self._series)
        )
        return plain and self._window == "auto" and self._own_window is None

    @functools.cached_property
    def _own_window(self) -> tuple[float, float] | None:
        """The median of the windows that the series' files declare; None unless "auto"."""
        found = [window for frame in self._series if (window := _window_of(frame)) is not None]
        if not found or self._window != "auto":
            return None
        low, high = np.median(np.array(found), axis=0).tolist()
        return low, high

    @functools.cached_property
    def _value_limits(self) -> tuple[float, float]:
        """The lowest and highest value of the series, padding apart; decodes all of it once."""
        lows, highs = [], []
        for frame in self._series:
            values, padding = read_frame(frame.header, frame.index)
            kept = values if padding is None else values[~padding]
            if kept.size:
                lows.append(float(kept.min()))
                highs.append(float(kept.max()))
        return (min(lows), max(highs)) if lows else (0.0, 0.0)

    def _select(self, frames: Sequence[Frame], config: StackConfig) -> tuple[Frame, ...]:
        if config.axis != 2:
            raise ConfigError(
                f"DICOM series are cut into their own slices, axis 2; got axis={config.axis}. "
                "Convert the series to NIfTI to cut it otherwise."
            )

        def read(k: int) -> NDArray[Any]:
            values, padding = read_frame(self._series[k].header, self._series[k].index)
            flat = values.astype(np.float32).mean(axis=0)
            if self._first.photometric == "MONOCHROME1":
                flat = -flat
            if padding is not None and not padding.all():
                flat[padding[0]] = flat[~padding[0]].min()
            return flat

        chosen = set(select_slices(len(self._series), config, read))
        return tuple(frame for frame in frames if frame.number in chosen)


def _window_of(frame: Frame) -> tuple[float, float] | None:
    declared = frame.header.windows
    return declared[min(frame.index, len(declared) - 1)]
