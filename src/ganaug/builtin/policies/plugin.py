"""Built-in stopping policies."""

from __future__ import annotations

from collections.abc import Iterable

from ganaug import StoppingPolicyPlugin, hookimpl
from ganaug.builtin.policies.budget import (
    MaxImages,
    MaxImagesConfig,
    MaxSeconds,
    MaxSecondsConfig,
)
from ganaug.builtin.policies.divergence import Divergence, DivergenceConfig
from ganaug.builtin.policies.plateau import Plateau, PlateauConfig

__all__ = ["ganaug_stopping_policies"]


@hookimpl
def ganaug_stopping_policies() -> Iterable[StoppingPolicyPlugin]:
    """Yield ``max-images``, ``max-seconds``, ``divergence`` and ``plateau``."""
    yield StoppingPolicyPlugin(
        name="max-images",
        summary="Stop once so many training images were seen.",
        config=MaxImagesConfig,
        build=MaxImages,
    )
    yield StoppingPolicyPlugin(
        name="max-seconds",
        summary="Stop after so many seconds of training.",
        config=MaxSecondsConfig,
        build=MaxSeconds,
    )
    yield StoppingPolicyPlugin(
        name="divergence",
        summary="Stop when the discriminator has won, or a loss is not finite.",
        config=DivergenceConfig,
        build=Divergence,
    )
    yield StoppingPolicyPlugin(
        name="plateau",
        summary="Stop when a metric on validation rows no longer improves.",
        config=PlateauConfig,
        build=Plateau,
    )
