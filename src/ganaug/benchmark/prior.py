"""The most probable class, were all classes equally frequent: a threshold for many classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXPONENTS", "choose_weights"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: How much of the training frequencies may be taken out: all (1), none (0), or put in once more,
#: where rare classes were given more images than common ones have.
EXPONENTS = tuple(step / 4 for step in range(-2, 7))


def choose_weights(labels: Ints, probabilities: Floats, counts: Ints) -> Floats | None:
    """Choose what each class's probability is multiplied by before the largest is looked for.

    labels, probabilities: of validation images, (N,) and (N, classes). counts: real training
    images, (classes,); a class without any counts as one. Returns float64 (classes,), None without
    validation images.

    A classifier of the untreated images answers with common classes, one of balanced images does
    not, and that alone tells them apart in balanced accuracy. Dividing by the training frequencies
    to the power of `a` undoes it: a = 1 is the logit adjustment of Menon et al. (2021), right for
    a calibrated classifier of the untreated images, and a = 0 is right for a balanced one. Of
    `EXPONENTS`, the one with the best balanced accuracy on validation images is chosen, the middle
    one of equals. It is one number, and not one a class, since a rare class has few validation
    images, whose noise one number follows less.
    """
    if not len(labels):
        return None
    shares = (
        1 / np.bincount(labels, minlength=len(counts))[labels]
    )  # of its class, that an image is
    choices = _weights(counts)
    values = []
    for weights in choices:
        right = (probabilities * weights).argmax(axis=1) == labels
        values.append(float(shares[right].sum()))
    equals = [place for place, value in enumerate(values) if value >= max(values) - 1e-9]
    return choices[equals[(len(equals) - 1) // 2]]


def _weights(counts: Ints) -> list[Floats]:
    """Return the weights of each exponent."""
    rarity = counts.clip(min=1).min() / counts.clip(min=1)
    return [np.asarray(rarity**exponent, dtype=np.float64) for exponent in EXPONENTS]
