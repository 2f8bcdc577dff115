"""Arrays and tensors in, arrays and tensors out: what `fit_resample` speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.spec import DTYPE_RANGES, LabelledImages
from ganaug.strategy import SamplingStrategy

__all__ = ["append", "images_from_arrays", "strategy_by_index"]


def images_from_arrays(
    X: Any,  # noqa: N803  # scikit-learn's name
    labels: NDArray[np.int64],
    names: Sequence[str],
    value_range: tuple[float, float] | None,
) -> LabelledImages:
    """Take arrays or tensors (N, C, H, W) as labelled images. Raises ShapeError or DataError."""
    if np.ndim(X) != 4:
        raise ShapeError(f"X must have shape (N, C, H, W); got {tuple(np.shape(X))}.")
    if labels.ndim != 1:
        raise ShapeError(f"y must have shape (N,), a label an image; got {labels.shape}.")
    if not len(X):
        raise DataError("X holds no images.")
    if len(X) != len(labels):
        raise DataError(f"X has {len(X)} images but y has {len(labels)} labels.")
    pixels = X.detach().cpu().numpy() if isinstance(X, Tensor) else np.asarray(X)
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in DTYPE_RANGES:
        raise DataError(f"X must be uint8, uint16 or float; got {pixels.dtype}.")
    return LabelledImages(
        pixels=pixels,
        labels=labels,
        class_names=tuple(names),
        value_range=value_range or DTYPE_RANGES[pixels.dtype],
    )


def strategy_by_index(
    strategy: SamplingStrategy, y: NDArray[Any], values: list[Any]
) -> SamplingStrategy:
    """Let a strategy that speaks of labels speak of their indices."""
    if callable(strategy):
        strategy = strategy(y)
    if not isinstance(strategy, Mapping):
        return strategy
    unknown = [key for key in strategy if key not in values]
    if unknown:
        listed = ", ".join(map(repr, values))
        raise ConfigError(f"sampling_strategy names {unknown[0]!r}; the labels in y are {listed}.")
    return {values.index(key): count for key, count in strategy.items()}


def append(column: Any, added: NDArray[Any] | None) -> Any:
    """Append rows, keeping kind, dtype and device."""
    if isinstance(column, Tensor):
        if added is None:
            return column
        return torch.cat([column, torch.from_numpy(added).to(column.device, column.dtype)])
    column = np.asarray(column)
    return column if added is None else np.concatenate([column, added.astype(column.dtype)])
