"""scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np

from ganaug.spec import LabelledImages

__all__ = ["open_digits"]


def open_digits() -> LabelledImages:
    """Return 1,797 images of the digits 0 to 9, uint8 (N, 1, 8, 8).

    Their 17 grey values, 0 to 16, are spread over 0 to 255, so that files of them can be seen.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    return LabelledImages(
        pixels=np.round(digits.images[:, None] * (255 / 16)).astype(np.uint8),
        labels=digits.target,
        class_names=tuple(str(name) for name in digits.target_names),
        value_range=(0.0, 255.0),
    )
