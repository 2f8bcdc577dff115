"""Files become series, and series become volumes in the order of their slices.

Slices are ordered by position along the normal of their plane, never by InstanceNumber, which
follows the scanner's order of acquisition, restarts, or is missing.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from ganaug.builtin.data.dicom_header import Header
from ganaug.builtin.data.dicom_stack import Frame

__all__ = ["volumes_of"]

#: Planes whose direction cosines differ by less are the same: files round them to 4 digits or so.
SAME_PLANE = 1e-3

#: A gap this many times the usual distance between slices means that some are missing.
GAP = 1.5

#: Degrees between the normal and the line through the slices from which a volume is sheared.
SHEARED_DEGREES = 0.5

#: Modalities whose series are slices of a volume, so that positions are to be expected.
_SLICED = frozenset({"", "CT", "MR", "NM", "PT"})

#: Millimetres below which two slices are at one position.
SAME_POSITION = 1e-3

_UNPLACED = "slices without a position, each an image by itself; the first"
_NO_ORDER = "no positions, so order and gaps are not checked and each slice is an image; the first"
_PLANES = "several planes or sizes, each a volume of its own; the first"
_SAME_PLACE = "several slices at one position (echoes, phases or copies), all kept; the first"
_MISSING = f"missing slices (a gap is over {GAP} times the usual), used without them; the first"
_TILTED = "a gantry tilt, whose slices are used as acquired, not resampled; the first"


def volumes_of(headers: Sequence[Header]) -> list[list[Frame]]:
    """Return the frames of each volume, in order; a list of one frame is an image by itself.

    The files of a series that share plane and size are a volume, from the lowest position along
    the normal to the highest; so a localizer is a volume of its own. A file of several frames is
    one in the order of its frames. A file without a position stands for itself.

    Warns, once for all series and naming the first, of missing slices, of several planes, of a
    gantry tilt, of slices without a position, and of series of several slices (of CT, MR, NM or
    PT) without any: the images stay as they were acquired.
    """
    by_series: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_series[header.series or str(header.path)].append(header)
    told: dict[str, list[Header]] = defaultdict(list)
    volumes = [
        volume for series in by_series.values() for volume in _volumes_of_series(series, told)
    ]
    for what, found in told.items():
        warnings.warn(f"DICOM: {len(found)} series with {what}: {found[0].path}.", stacklevel=2)
    return volumes


def _volumes_of_series(
    series: Sequence[Header], told: dict[str, list[Header]]
) -> Iterable[list[Frame]]:
    for header in series:
        if header.frames > 1 or header.position is None or header.orientation is None:
            yield [Frame(header, k, k) for k in range(header.frames)]
    placed = [h for h in series if h.frames == 1 and h.position and h.orientation]
    planes = _planes(placed)
    singles = sum(header.frames == 1 for header in series)
    if placed and len(placed) < singles:
        told[_UNPLACED].append(series[0])
    elif not placed and singles > 1 and series[0].modality in _SLICED:
        told[_NO_ORDER].append(series[0])
    if len(planes) > 1:
        told[_PLANES].append(series[0])
    for plane in planes:
        ordered, positions = _ordered(plane)
        _check_geometry(ordered, positions, told)
        yield [Frame(header, 0, number) for number, header in enumerate(ordered)]


def _planes(headers: Iterable[Header]) -> list[list[Header]]:
    """Return the files by plane, size and kind, in the order in which they were first seen."""
    planes: list[list[Header]] = []
    for header in headers:
        plane = next((plane for plane in planes if _alike(plane[0], header)), None)
        if plane is None:
            planes.append([header])
        else:
            plane.append(header)
    return planes


def _alike(one: Header, other: Header) -> bool:
    a, b = ((h.rows, h.columns, h.samples, h.photometric, h.bits_allocated) for h in (one, other))
    directions = np.subtract(one.orientation or (), other.orientation or ())
    return a == b and bool(np.abs(directions).max() < SAME_PLANE)


def _ordered(plane: list[Header]) -> tuple[list[Header], list[float]]:
    """Return the slices from the lowest position along the normal, in mm, and the positions."""
    normal = _normal(plane[0])
    along = {h.path: float(np.dot(h.position or (), normal)) for h in plane}
    ordered = sorted(plane, key=lambda h: (round(along[h.path], 3), h.instance, str(h.path)))
    return ordered, [along[h.path] for h in ordered]


def _normal(header: Header) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    directions = np.asarray(header.orientation, dtype=np.float64)
    normal = np.cross(directions[:3], directions[3:])
    length = float(np.linalg.norm(normal))
    return np.asarray(normal / length if length else normal)


def _check_geometry(
    ordered: Sequence[Header], positions: Sequence[float], told: dict[str, list[Header]]
) -> None:
    steps = np.diff(positions)
    apart = steps[steps > SAME_POSITION]
    if len(apart) < len(steps):
        told[_SAME_PLACE].append(ordered[0])
    if not len(apart):
        return
    usual = float(np.median(apart))
    if (apart > GAP * usual).any():
        told[_MISSING].append(ordered[0])
    if ordered[0].tilt or _shear_degrees(ordered) > SHEARED_DEGREES:
        told[_TILTED].append(ordered[0])


def _shear_degrees(ordered: Sequence[Header]) -> float:
    """Return the angle between the normal and the line from the first slice to the last."""
    line = np.subtract(ordered[-1].position or (), ordered[0].position or ())
    cosine = float(np.dot(line, _normal(ordered[0])) / np.linalg.norm(line))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
