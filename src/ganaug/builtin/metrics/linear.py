"""The classifier of metrics that train one: logistic regression on standardised features."""

from __future__ import annotations

from typing import Any

__all__ = ["linear_classifier"]


def linear_classifier(*, strength: float, spread: bool = False) -> Any:
    """Return an unfitted scikit-learn pipeline for features (N, D), its classes weighted equally.

    strength: inverse of the L2 penalty, scikit-learn's C.
    spread: whether it also sees how far each feature is from its mean, so that classes of one
        mean that spread differently are told apart.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    return make_pipeline(
        StandardScaler(),
        *([FunctionTransformer(_with_spread), StandardScaler()] if spread else []),
        LogisticRegression(C=strength, max_iter=1000, class_weight="balanced"),
    )


def _with_spread(values: Any) -> Any:
    import numpy as np

    return np.hstack([values, np.abs(values)])
