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


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, and every empty folder, with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }
