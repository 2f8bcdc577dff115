"""Built-in stopping policies."""

from __future__ import annotations

from collections.abc import Iterable

from ganaug import StoppingPolicyPlugin, hookimpl
from ganaug.builtin.policies.budget import (
    MaxBatches,
    MaxBatchesConfig,
    MaxEpochs,
    MaxEpochsConfig,
    MaxImages,
    MaxImagesConfig,
    MaxSeconds,
    MaxSecondsConfig,
)
from ganaug.builtin.policies.divergence import Divergence, DivergenceConfig
from ganaug.builtin.policies.loop_breaker import LoopBreaker, LoopBreakerConfig
from ganaug.builtin.policies.plateau import Plateau, PlateauConfig

__all__ = ["ganaug_stopping_policies"]


@hookimpl
def ganaug_stopping_policies() -> Iterable[StoppingPolicyPlugin]:
    """Yield budgets, then policies that look at how the training goes."""
    yield from _budgets()
    yield StoppingPolicyPlugin(
        name="divergence",
        summary="Stop when the discriminator has won, or a loss is not finite.",
        config=DivergenceConfig,
        build=Divergence,
    )
    yield StoppingPolicyPlugin(
        name="loop-breaker",
        summary="Stop when a GAN's losses are flat or collapse, or after so many epochs.",
        config=LoopBreakerConfig,
        build=LoopBreaker,
    )
    yield StoppingPolicyPlugin(
        name="plateau",
        summary="Stop when a metric on validation rows no longer improves.",
        config=PlateauConfig,
        build=Plateau,
    )


def _budgets() -> Iterable[StoppingPolicyPlugin]:
    yield StoppingPolicyPlugin(
        name="max-images",
        summary="Stop once so many training images were seen.",
        config=MaxImagesConfig,
        build=MaxImages,
    )
    yield StoppingPolicyPlugin(
        name="max-batches",
        summary="Stop after so many steps, a batch each.",
        config=MaxBatchesConfig,
        build=MaxBatches,
    )
    yield StoppingPolicyPlugin(
        name="max-epochs",
        summary="Stop after so many passes over the training images.",
        config=MaxEpochsConfig,
        build=MaxEpochs,
    )
    yield StoppingPolicyPlugin(
        name="max-seconds",
        summary="Stop after so many seconds of training.",
        config=MaxSecondsConfig,
        build=MaxSeconds,
    )
