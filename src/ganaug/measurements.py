"""What each image measures: size, depth, values and hashes, from one pass over a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import DataError
from ganaug.hashes import ImageHashes, channel_statistics, hash_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.spec import LabelledImages

__all__ = ["Measurements", "measure_images"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurements:
    """Numbers of N images, a row an image; NaN where an image holds no finite value.

    heights, widths, channels: int64 (N,), pixels and counts. dtypes: (N,), such as ``"uint8"``.
    lowest, highest: float64 (N,), of the finite values, as they are.
    means: float64 (N,), the mean of all channels; channel_means: float64 (N, 3), red, green and
    blue, NaN for images of other than three channels. Means are in the units of the set's value
    range; see `ganaug.hashes.channel_statistics`. constant: bool (N,), every channel holds one
    value. nonfinite: bool (N,), holds NaN or infinity. colourless: bool (N,), several channels,
    all equal. hashes: of the N images.
    """

    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    channels: NDArray[np.int64]
    dtypes: tuple[str, ...]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    means: NDArray[np.float64]
    channel_means: NDArray[np.float64]
    constant: NDArray[np.bool_]
    nonfinite: NDArray[np.bool_]
    colourless: NDArray[np.bool_]
    hashes: ImageHashes

    def __len__(self) -> int:
        return len(self.heights)


def measure_images(images: LabelledImages) -> Measurements:
    """Read every image once, one at a time, and return what each measures.

    Raises DataError when one cannot be decoded, or is not of the shape (C, H, W).
    """
    meter = _Meter(images)
    hashes = hash_images(replace(images, pixels=meter))
    return Measurements(
        dtypes=tuple(meter.dtypes),
        hashes=hashes,
        channel_means=np.array(meter.channel_means, dtype=np.float64).reshape(-1, 3),
        **{name: np.array(column) for name, column in meter.columns.items()},
    )


class _Meter(Sequence[Any]):
    """Measures each image as it is read, from first to last, by somebody else."""

    def __init__(self, images: LabelledImages) -> None:
        self._images = images
        self.dtypes: list[str] = []
        self.channel_means: list[Any] = []
        self.columns: dict[str, list[Any]] = {
            name: []
            for name in (
                *("heights", "widths", "channels", "lowest", "highest", "means"),
                *("constant", "nonfinite", "colourless"),
            )
        }

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        image = np.asarray(self._images.pixels[index])
        if image.ndim != 3 or 0 in image.shape:
            raise DataError(
                f"Image {self._images.ids[index]}: expected the shape (C, H, W); got {image.shape}."
            )
        self._record(image)
        return image

    def _record(self, image: NDArray[Any]) -> None:
        values: Any = image
        nonfinite = image.dtype.kind == "f" and not np.isfinite(image).all()
        if nonfinite:
            values = np.ma.masked_invalid(image)
        lows, highs = values.min(axis=(1, 2)), values.max(axis=(1, 2))
        channel_means, _ = channel_statistics(image, self._images.value_range)
        self.dtypes.append(str(image.dtype))
        self.channel_means.append(
            np.ma.filled(channel_means, np.nan) if len(image) == 3 else [np.nan] * 3
        )
        numbers = {
            "lowest": lows.min(),
            "highest": highs.max(),
            "means": channel_means.mean(),
        }
        facts = {
            "heights": image.shape[1],
            "widths": image.shape[2],
            "channels": len(image),
            "constant": bool(np.ma.filled(lows == highs, False).all()),
            "nonfinite": nonfinite,
            "colourless": len(image) > 1 and all(np.array_equal(image[0], c) for c in image[1:]),
            **{name: _number(value) for name, value in numbers.items()},
        }
        for name, fact in facts.items():
            self.columns[name].append(fact)


def _number(value: Any) -> float:
    return float("nan") if value is np.ma.masked else float(value)
