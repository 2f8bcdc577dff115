"""Studies and budgets, checked before anything is computed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from ganaug.study import Budget, Study

__all__ = ["check_budget", "check_study"]


def check_budget(budget: Budget, seed: int) -> None:
    """Raise ConfigError for a number that means nothing; folds are checked with the images."""
    # Batch normalisation needs two images.
    for name, least in (("steps", 1), ("batch_size", 2), ("generator_images", 1)):
        if getattr(budget, name) < least:
            raise ConfigError(f"{name} must be at least {least}; got {getattr(budget, name)}.")
    if seed < 0:
        raise ConfigError(f"The seed cannot be negative; got {seed}.")
    if not budget.fractions or len(set(budget.fractions)) < len(budget.fractions):
        raise ConfigError(f"Expected fractions, each once; got {list(budget.fractions)}.")
    for fraction in budget.fractions:
        if not 0.0 < fraction <= 1.0:
            raise ConfigError(f"A fraction must be above 0 and at most 1; got {fraction}.")


def check_study(study: Study) -> None:
    """Raise ConfigError for what can be seen to be wrong without images."""
    from ganaug.benchmark.augment import ClassicalAugmentation
    from ganaug.benchmark.measures import check_compared

    for ratio in study.ratios:
        if not (math.isfinite(ratio) and ratio >= 0.0):
            raise ConfigError(f"Study {study.name!r}: ratios cannot be negative; got {ratio}.")
    if not 0.0 < study.specificity < 1.0:
        raise ConfigError(
            f"Study {study.name!r}: specificity is between 0 and 1; got {study.specificity}."
        )
    if not study.learning_rate > 0.0:
        raise ConfigError(
            f"Study {study.name!r}: learning_rate must be above 0; got {study.learning_rate}."
        )
    for arm in study.arms:
        if not (math.isfinite(arm.mixup) and arm.mixup >= 0.0):
            raise ConfigError(f"Arm {arm.name!r}: mixup cannot be negative; got {arm.mixup}.")
    check_compared(study.measure)
    needing = [arm.name for arm in study.arms if arm.needs_generator]
    if needing and not study.generator:
        raise ConfigError(
            f"Arm {needing[0]!r} needs a generator, and study {study.name!r} has none. Name one "
            "(--generator NAME, the study's generator), or leave the arm out."
        )
    ClassicalAugmentation(study.classical)
