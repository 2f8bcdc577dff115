"""Small images to try plugins on: blobs whose place and brightness follow from the class."""

from __future__ import annotations

import numpy as np

from ganaug.spec import ImageSpec, LabelledImages

__all__ = ["example_images"]


def example_images(spec: ImageSpec, *, n: int = 32, seed: int = 0) -> LabelledImages:
    """Return n images of a spec, uint8, no two alike, classes in turn, two to a group."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % spec.num_classes
    y, x = np.mgrid[: spec.height, : spec.width]
    y, x = y / spec.height, x / spec.width
    place = (labels + 1) / (spec.num_classes + 1)
    across = (place + rng.normal(0, 0.05, n))[:, None, None]
    down = rng.normal(0.5, 0.05, n)[:, None, None]
    blobs = np.exp(-16 * ((x - across) ** 2 + (y - down) ** 2))[:, None]
    tint = rng.uniform(0.5, 1, (n, spec.channels, 1, 1))
    noise = rng.uniform(0, 0.15, (n, *spec.shape))
    pixels = (255 * (blobs * tint * 0.85 + noise)).clip(0, 255).round().astype(np.uint8)
    return LabelledImages(
        pixels=pixels,
        labels=labels,
        class_names=spec.class_names,
        value_range=(0.0, 255.0),
        groups=tuple(f"group{row // (2 * spec.num_classes)}" for row in range(n)),
    )
