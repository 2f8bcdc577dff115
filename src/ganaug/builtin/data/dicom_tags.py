"""The values of tags that matter for pixels, as plain numbers and text."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "first_window",
    "frame_part",
    "is_enhanced",
    "numbers",
    "padding",
    "quietly",
    "scale",
    "text",
    "vector",
]


@contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom's warnings and log, which quote the values of tags, from being shown."""
    logger = logging.getLogger("pydicom")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled


def is_enhanced(dataset: Dataset) -> bool:
    """Return whether each frame has tags of its own."""
    return bool(dataset.get("PerFrameFunctionalGroupsSequence"))


def frame_part(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Return the item of a frame's functional group, or that of all frames, or the data set."""
    each = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for groups in (each[frame : frame + 1], shared[:1]):
        items = groups[0].get(sequence) if groups else None
        if items:
            return cast("Dataset", items[0])
    return dataset


def scale(part: Dataset) -> tuple[float, float]:
    """Return the rescale slope and intercept; 1 and 0 when there are none."""
    slope, intercept = numbers(part, "RescaleSlope"), numbers(part, "RescaleIntercept")
    return (slope[0] if slope else 1.0), (intercept[0] if intercept else 0.0)


def first_window(part: Dataset) -> tuple[float, float] | None:
    """Return the lowest and highest value of the first window; None without a valid one.

    Linear windows are those of PS3.3 C.11.2.1.2, exact ones those of C.11.2.1.3.2; a sigmoid is
    taken for the exact one of the same centre and width.
    """
    centres, widths = numbers(part, "WindowCenter"), numbers(part, "WindowWidth")
    exact = str(part.get("VOILUTFunction") or "LINEAR").strip().upper() != "LINEAR"
    if not centres or not widths:
        return None
    centre, width = (centres[0], widths[0]) if exact else (centres[0] - 0.5, widths[0] - 1.0)
    return (centre - width / 2, centre + width / 2) if width > 0.0 else None


def padding(dataset: Dataset) -> tuple[float, float] | None:
    """Return the lowest and highest stored value that is padding; None when none is declared."""
    value = numbers(dataset, "PixelPaddingValue")
    limit = numbers(dataset, "PixelPaddingRangeLimit") or value
    return (min(value[0], limit[0]), max(value[0], limit[0])) if value else None


def numbers(part: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the numbers of a tag, none when it is empty or missing."""
    value: Any = part.get(keyword)
    if value is None or value == "":
        return ()
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(float(one) for one in values if one is not None and one != "")


def vector(dataset: Dataset, keyword: str, length: int) -> tuple[float, ...] | None:
    """Return the numbers of a tag; None when there are more or fewer than `length`."""
    found = numbers(dataset, keyword)
    return found if len(found) == length else None


def text(dataset: Dataset, keyword: str) -> str:
    """Return a tag as text, empty when it is missing."""
    return str(dataset.get(keyword) or "").strip()
