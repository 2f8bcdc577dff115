"""The classifier of metrics that train one: logistic regression on standardised features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["tell_apart"]


def tell_apart(
    learn: NDArray[Any],
    labels: NDArray[Any],
    test: NDArray[Any],
    *,
    strength: float,
    spread: bool = False,
) -> NDArray[Any]:
    """Learn the labels (N,) of features (N, D), each class weighing the same; label others (M, D).

    strength: inverse of the L2 penalty, scikit-learn's C.
    spread: whether it also sees how far each feature is from its mean, so that classes of one
        mean that spread differently are told apart.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    from threadpoolctl import threadpool_limits

    classifier = make_pipeline(
        StandardScaler(),
        *([FunctionTransformer(_with_spread), StandardScaler()] if spread else []),
        LogisticRegression(C=strength, max_iter=1000, class_weight="balanced"),
    )
    with threadpool_limits(1):  # several wait for each other at each small step: 7 times as long
        found: NDArray[Any] = classifier.fit(learn, labels).predict(test)
    return found


def _with_spread(values: Any) -> Any:
    import numpy as np

    return np.hstack([values, np.abs(values)])
