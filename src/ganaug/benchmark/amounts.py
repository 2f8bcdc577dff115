"""How many synthetic images an arm gets of which class, and of which classes there are any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ganaug.benchmark.task import rare_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.spec import LabelledImages
    from ganaug.study import Arm, Study

__all__ = ["amounts", "candidates", "generated_classes", "most"]


def candidates(arm: Arm, study: Study) -> tuple[float | None, ...]:
    """Return the ratios that an arm chooses from, ascending, 0 among them; None: no choice."""
    if arm.synthetic in ("none", "only"):
        return (None,)
    return tuple(sorted({0.0, *study.ratios}))


def generated_classes(images: LabelledImages, study: Study) -> tuple[int, ...]:
    """Return the indices of the classes that the study's generators are trained on, ascending.

    They are the rare ones, or all where an arm shows a classifier synthetic images alone: were
    one class real there, it would be told from others by that. All arms share the generators.
    """
    if any(arm.synthetic in ("only", "before") for arm in study.arms):
        return tuple(range(len(images.class_names)))
    return rare_classes(images, study)


def amounts(
    arm: Arm, study: Study, images: LabelledImages, rows: NDArray[np.int64], ratio: float | None
) -> dict[int, int]:
    """Return how many synthetic images an arm gets by class index, for a ratio of `candidates`.

    rows: the real training images. Beside these, rare classes get a part of what they lack of the
    largest class (``ratio_of="gap"``), or of their own number ("class"). Before them, there is
    nothing real, so that all classes lack everything: with ratio 1, each gets as many as the
    largest has ("gap"), or as itself has ("class"). Instead of them, each class gets as many as
    it has (the classification accuracy score of Ravuri and Vinyals 2019).
    """
    counts = np.bincount(images.labels[rows], minlength=len(images.class_names))
    if arm.synthetic == "none":
        return {}
    if arm.synthetic == "only" or ratio is None:
        return {index: int(n) for index, n in enumerate(counts)}
    real = counts if arm.synthetic == "beside" else np.zeros_like(counts)
    base = counts if study.ratio_of == "class" else counts.max() - real
    beside = arm.synthetic == "beside"
    classes = rare_classes(images, study) if beside else range(len(counts))
    return {index: round(ratio * int(base[index])) for index in classes}


def most(study: Study, images: LabelledImages, rows: NDArray[np.int64]) -> Mapping[int, int]:
    """Return the most images of each generated class that any arm and ratio of the study needs."""
    needed = dict.fromkeys(generated_classes(images, study), 0)
    for arm in study.arms:
        for ratio in candidates(arm, study):
            for index, n in amounts(arm, study, images, rows, ratio).items():
                needed[index] = max(needed[index], n)
    return needed
