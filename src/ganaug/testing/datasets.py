"""What every source of images promises."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganaug.config import Config
from ganaug.errors import GanaugError
from ganaug.plugins import DatasetPlugin
from ganaug.spec import DTYPE_RANGES, LabelledImages
from ganaug.splits import SPLITS
from ganaug.testing.checks import check_table, config_round_trip, expect, expect_kind, failing

__all__ = ["CHECKS", "DatasetSubject"]

#: What the other process runs: pickled images come in, the first decoded ones go out.
_DECODE = """
import json, pickle, sys
sys.path[:] = json.loads(sys.argv[1])
out, sys.stdout = sys.stdout.buffer, sys.stderr  # plugins may print when they are imported
import numpy as np
images = pickle.load(sys.stdin.buffer)
pickle.dump([np.asarray(images.pixels[row]) for row in range(int(sys.argv[2]))], out)
"""

CHECKS, _check = check_table()
_check(config_round_trip)


@dataclass
class DatasetSubject:
    """A dataset plugin under test. location: something that it can open."""

    record: DatasetPlugin
    settings: dict[str, Any]
    location: Path

    @cached_property
    def config(self) -> Config:
        """The config that it opens with."""
        return self.record.config.from_fields(self.settings)

    def open(self) -> LabelledImages:
        """Open the location anew."""
        images = self.record.open(self.config, self.location)
        expect_kind(images, LabelledImages, "open")
        return images


@_check
def claims_in_whole_numbers(subject: DatasetSubject) -> None:
    """How sure it is of a location is a whole number, 0 for what is not its own."""
    nowhere = subject.location / "there is nothing here"
    for location in (subject.location, nowhere):
        found = subject.record.claims(location)
        fits = isinstance(found, int) and not isinstance(found, bool) and found >= 0
        expect(fits, f"for {location} it claims {found!r}; expected a whole number from 0")
        theirs = location != nowhere or found == 0
        expect(theirs, f"for {location} it claims {found}; expected 0, as that is nobody's")


@_check
def refuses_what_is_not_there(subject: DatasetSubject) -> None:
    """A location that does not exist is refused with an error of ganaug's."""
    with failing(GanaugError, "a location that does not exist was opened"):
        subject.record.open(subject.config, subject.location / "there is nothing here")


@_check
def values_in_range(subject: DatasetSubject) -> None:
    """Pixels are (C, H, W), uint8, uint16 or float32, and within its value range."""
    images = subject.open()
    low, high = images.value_range
    expect(len(images) > 0, f"{subject.location} has no images; check it on one that has some")
    for row in range(min(len(images), 64)):
        pixels = np.asarray(images.pixels[row])
        expect(pixels.ndim == 3, f"image {images.ids[row]!r} has shape {pixels.shape}")
        expect(
            pixels.dtype in DTYPE_RANGES,
            f"image {images.ids[row]!r} has dtype {pixels.dtype}; expected "
            f"{', '.join(map(str, DTYPE_RANGES))}",
        )
        least, most = float(pixels.min()), float(pixels.max())
        expect(
            low <= least <= most <= high,
            f"image {images.ids[row]!r} has values in [{least:g}, {most:g}]; the value range is "
            f"[{low:g}, {high:g}]",
        )


@_check
def rows_have_names(subject: DatasetSubject) -> None:
    """Every row has a name of its own; groups are texts, splits training, validation or holdout."""
    images = subject.open()
    expect(len(set(images.ids)) == len(images), "two rows have the same id")
    groups = images.groups or ()
    expect(all(isinstance(group, str) for group in groups), "some groups are no texts")
    for split in images.splits or ():
        expect(split in SPLITS, f"a row has the split {split!r}; expected {', '.join(SPLITS)}")


@_check
def opens_the_same_again(subject: DatasetSubject) -> None:
    """Opened twice, rows come in the same order with the same pixels, labels and groups."""
    first, second = subject.open(), subject.open()
    for name in ("ids", "class_names", "groups", "splits"):
        expect(getattr(first, name) == getattr(second, name), f"opened again, it has other {name}")
    expect(np.array_equal(first.labels, second.labels), "opened again, it has other labels")
    for row in range(min(len(first), 16)):
        same = np.array_equal(np.asarray(first.pixels[row]), np.asarray(second.pixels[row]))
        expect(same, f"opened again, image {first.ids[row]!r} has other pixels")


@_check
def travels_to_workers(subject: DatasetSubject) -> None:
    """What it opens can be pickled, and decodes the same images in another process."""
    images = subject.open()
    for row, again in enumerate(_decoded_elsewhere(images, min(len(images), 4))):
        same = np.array_equal(np.asarray(images.pixels[row]), again)
        expect(same, f"in another process, image {images.ids[row]!r} has other pixels")


def _decoded_elsewhere(images: LabelledImages, n: int) -> list[NDArray[Any]]:
    """Return the first n images as a new process decodes them, which imports what it needs."""
    done = subprocess.run(
        [sys.executable, "-c", _DECODE, json.dumps(sys.path), str(n)],
        input=pickle.dumps(images),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        expect(False, f"another process could not decode what it opens; it said: {said[-1]}")
    found: list[NDArray[Any]] = pickle.loads(done.stdout)
    return found
