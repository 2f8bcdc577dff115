"""A small task whose generators train in a second, for tests of experiments."""

from __future__ import annotations

from conftest import make_images
from torch import nn

from ganaug.study import ARMS, Budget, Study

BUDGET = Budget(folds=2, repeats=1, steps=4, batch_size=8, generator_images=32)

STUDY = Study(
    name="blobs",
    summary="",
    arms=tuple(ARMS[name] for name in ("classical", "classical+synthetic")),
    classes={"a": "common", "b": "common", "c": "rare", "d": "rarer"},
    settings={"width": "4", "latent_dim": "8"},
    ratios=(0.0, 0.5, 1.0),
)


def blobs(n=80):
    """Images of 16 pixels: half of them "common", a quarter "rare", a quarter "rarer"."""
    return make_images(n, size=16, classes=4)


def linear(channels, size, classes):
    """Return a classifier that takes no time."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))
