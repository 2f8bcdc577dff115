"""Image sets on disk, and what is on disk afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

#: What makes a fitting take a second.
TINY = ("--set", "width=8", "--images", "64", "--precision", "32-true")


def write_images(folder: Path, n: int, *, side: int = 16, mode: str = "L", seed: int = 0) -> None:
    """Write n noisy images into a folder."""
    rng = np.random.default_rng([seed, *folder.name.encode()])
    shape = (side, side) if mode == "L" else (side, side, 3)
    folder.mkdir(parents=True)
    for number in range(n):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def write_volumes(folder: Path, n: int) -> None:
    """Write n NIfTI volumes of each of two classes, the first and last two slices blank."""
    import nibabel

    rng = np.random.default_rng(0)
    for name in [f"{label}{number}" for label in "ab" for number in range(n)]:
        values = np.zeros((36, 36, 10), np.int16)
        coarse = rng.integers(0, 1000, (6, 6, 6))
        values[..., 2:8] = coarse.repeat(6, 0).repeat(6, 1) + rng.integers(0, 50, (36, 36, 6))
        (folder / name[0]).mkdir(parents=True, exist_ok=True)
        path = folder / name[0] / f"{name}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, and every empty folder, with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }
