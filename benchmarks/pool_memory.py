"""Memory of a pool of 100,000 synthetic 64x64x3 images: anonymous memory it adds (RssAnon).

The pool is filled from a small generator, 256 images at a time, and then read at random; Linux.

    python benchmarks/pool_memory.py [--images 100000]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ganaug import LabelledImages, SyntheticAugmenter


def anonymous_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("This benchmark reads RssAnon from /proc/self/status; Linux only.")


def fit(images: LabelledImages, n: int) -> SyntheticAugmenter:
    """Return an augmenter with a pool of n images."""
    return SyntheticAugmenter(
        "dcgan",
        config={"width": 4},
        sampling_strategy={"rare": n + 10},
        total_images=64,
        random_state=0,
    ).fit(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    n = parser.parse_args().images
    rng = np.random.default_rng(0)
    images = LabelledImages(
        pixels=rng.integers(0, 256, (40, 3, 64, 64), dtype=np.uint8),
        labels=np.arange(40) // 30,
        class_names=("common", "rare"),
        value_range=(0.0, 255.0),
    )
    # A small one first, so that what training and drawing themselves need is not counted.
    fit(images, 600)
    before = anonymous_megabytes()
    augmenter = fit(images, n)
    batch, labels = np.zeros((256, 3, 64, 64), dtype=np.uint8), np.ones(256, dtype=np.int64)
    for _ in range(n // 256 + 1):
        augmenter(batch, labels)
    added = anonymous_megabytes() - before
    print(f"{n:,} images of 64x64x3, {n * 64 * 64 * 3 / 2**20:,.0f} MB on disk")
    print(f"anonymous memory added: {added:.0f} MB (wanted: under 300)")


if __name__ == "__main__":
    main()
