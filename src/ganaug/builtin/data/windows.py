"""Windows: which values of a medical image map to black and to white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganaug.errors import ConfigError, nearest

__all__ = ["AUTOMATIC", "PRESETS", "apply", "limits"]

#: Windows that follow from the file or series itself.
AUTOMATIC = ("auto", "full")

#: Centre and width of the usual windows of CT, in Hounsfield units.
PRESETS = {
    "abdomen": (50.0, 400.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
    "liver": (30.0, 150.0),
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "soft-tissue": (40.0, 400.0),
    "spine": (50.0, 250.0),
    "stroke": (40.0, 40.0),
    "subdural": (75.0, 215.0),
    "temporal-bone": (600.0, 2800.0),
}


def limits(window: str) -> tuple[float, float] | None:
    """Return the lowest and highest value of a preset or ``CENTRE,WIDTH``.

    None for ``auto`` and ``full``, which follow from the file. Raises ConfigError for anything
    else, and for a width that is not above zero.
    """
    if window in AUTOMATIC:
        return None
    if window in PRESETS:
        centre, width = PRESETS[window]
    else:
        centre, width = _parse(window)
    return centre - width / 2, centre + width / 2


def apply(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint16]:
    """Map values of any shape to uint16: `low` and below to 0, `high` and above to 65535.

    values: finite numbers. When `high` is not above `low`, as in an image of one value, everything
    is 0.
    """
    if not low < high:
        return np.zeros(values.shape, np.uint16)
    from monai.transforms.intensity.array import ScaleIntensityRange

    scale = ScaleIntensityRange(a_min=low, a_max=high, b_min=0.0, b_max=65535.0, clip=True)
    # In float64, because a file may declare a window that float32 cannot hold.
    return np.asarray(scale(values.astype(np.float64))).round().astype(np.uint16)


def _parse(window: str) -> tuple[float, float]:
    parts = window.split(",")
    try:
        centre, width = (float(part) for part in parts)
    except ValueError:
        names = (*AUTOMATIC, *PRESETS)
        raise ConfigError(
            f"window must be {', '.join(AUTOMATIC)}, CENTRE,WIDTH (such as 40,80) or one of "
            f"{', '.join(PRESETS)}; got {window!r}.{nearest(window, names)}"
        ) from None
    if not (np.isfinite(centre) and 0 < width < np.inf):
        raise ConfigError(
            f"window CENTRE,WIDTH must be finite, with a width above zero; got {window!r}."
        )
    return centre, width
