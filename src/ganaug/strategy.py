"""How many images to add to which class: imbalanced-learn's ``sampling_strategy``, exactly."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganaug.errors import ConfigError, DataError, nearest

__all__ = ["SamplingStrategy", "counts_to_add"]

#: The words that imbalanced-learn takes for over-sampling.
_WORDS = ("auto", "minority", "not minority", "not majority", "all")

SamplingStrategy = (
    float | str | Mapping[Any, int] | Callable[[NDArray[np.int64]], Mapping[Any, int]]
)


def counts_to_add(
    strategy: SamplingStrategy, labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> dict[int, int]:
    """Return how many images to add, by class index.

    strategy: a float (two classes: rare to common afterwards), "auto", "minority",
        "not minority", "not majority", "all", a dict of final counts by class name or index, or
        a callable of the labels that returns such a dict.
    labels: int64 (N,), indices into `class_names`.

    Raises ConfigError for a strategy that over-sampling cannot follow, DataError for labels of
    one class, unless a dict says how many are wanted.
    """
    from imblearn.utils import check_sampling_strategy

    if callable(strategy):
        strategy = strategy(labels)
    by_index = _by_index(strategy, class_names) if isinstance(strategy, Mapping) else strategy
    present = np.unique(labels)
    if len(present) < 2:
        if isinstance(by_index, dict):
            return _for_one_class(by_index, labels)
        if not len(present):
            raise DataError("Balancing needs images of two classes or more; there are no images.")
        found, twice = class_names[int(present[0])], 2 * len(labels)
        option = shlex.quote(json.dumps({found: twice}, ensure_ascii=False))
        raise DataError(
            f"Balancing needs images of two classes or more; got {found!r} only. To grow one "
            f"class, give its final count, such as --sampling-strategy {option} "
            f"(sampling_strategy={ {found: twice}!r})."
        )
    if isinstance(by_index, str) and by_index not in _WORDS:
        raise ConfigError(
            f"sampling_strategy={by_index!r}: expected one of {', '.join(_WORDS)}, a float, or "
            f"final counts by class.{nearest(by_index, _WORDS)}"
        )
    try:
        counts = check_sampling_strategy(by_index, labels, "over-sampling")
    except (ValueError, TypeError) as error:
        raise ConfigError(f"sampling_strategy={strategy!r}: {error}") from error
    return {int(label): int(count) for label, count in counts.items()}


def _by_index(strategy: Mapping[Any, int], class_names: tuple[str, ...]) -> dict[int, int]:
    """Turn class names among the keys into indices."""
    from ganaug.spec import class_indices

    by_index: dict[int, int] = {}
    for key, count in strategy.items():
        if not isinstance(key, str | int | np.integer):
            raise ConfigError(f"sampling_strategy names {key!r}; expected class names or indices.")
        index = class_indices([key], class_names)[0] if isinstance(key, str) else int(key)
        if not 0 <= index < len(class_names):
            raise ConfigError(
                f"sampling_strategy names class {key}; expected 0 to {len(class_names) - 1}, or "
                f"a name among {', '.join(class_names)}."
            )
        if isinstance(count, bool) or not isinstance(count, int | np.integer):
            raise ConfigError(
                f"sampling_strategy: the final count of class {key!r} must be a whole number; "
                f"got {count!r}."
            )
        by_index[index] = int(count)
    return by_index


def _for_one_class(strategy: dict[int, int], labels: NDArray[np.int64]) -> dict[int, int]:
    added = {}
    for label, count in strategy.items():
        present = int((labels == label).sum())
        if count < present or not present:
            raise ConfigError(
                f"sampling_strategy: class {label} has {present} images, which cannot grow to "
                f"{count}."
            )
        added[label] = count - present
    return added
