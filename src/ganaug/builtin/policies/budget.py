"""Policies that stop when a budget is spent."""

from __future__ import annotations

from pydantic import Field

from ganaug import Config, History, StoppingPolicy

__all__ = [
    "MaxBatches",
    "MaxBatchesConfig",
    "MaxEpochs",
    "MaxEpochsConfig",
    "MaxImages",
    "MaxImagesConfig",
    "MaxSeconds",
    "MaxSecondsConfig",
]


class MaxImagesConfig(Config):
    """How many training images to see."""

    images: int = Field(gt=0)


class MaxImages(StoppingPolicy):
    """Stops once so many training images were seen, repeats of a phase not counted."""

    def __init__(self, config: MaxImagesConfig) -> None:
        self._config = config

    def reason_to_stop(self, history: History) -> str | None:
        """Return a reason when the newest record has seen enough images."""
        if history and history[-1].images_seen >= self._config.images:
            return f"{history[-1].images_seen:,} images were seen, of {self._config.images:,}"
        return None


class MaxSecondsConfig(Config):
    """How long to train, in seconds over all sessions."""

    seconds: float = Field(gt=0, allow_inf_nan=False)


class MaxSeconds(StoppingPolicy):
    """Stops after so many seconds of training, over all sessions."""

    def __init__(self, config: MaxSecondsConfig) -> None:
        self._config = config

    def reason_to_stop(self, history: History) -> str | None:
        """Return a reason when the newest record has trained long enough."""
        if history and history[-1].seconds >= self._config.seconds:
            return f"{history[-1].seconds:.1f} seconds were spent, of {self._config.seconds:g}"
        return None


class MaxEpochsConfig(Config):
    """How often to see all training images."""

    epochs: int = Field(gt=0)


class MaxEpochs(StoppingPolicy):
    """Stops after so many passes over the training images, from the first step on."""

    def __init__(self, config: MaxEpochsConfig) -> None:
        self._config = config

    def reason_to_stop(self, history: History) -> str | None:
        """Return a reason when the newest record ends the last pass."""
        if history and history[-1].epoch >= self._config.epochs:
            return f"{history[-1].epoch:,} of {self._config.epochs:,} epochs are over"
        return None


class MaxBatchesConfig(Config):
    """How many steps to train, a batch of images each (of each repeat of a phase)."""

    batches: int = Field(gt=0)


class MaxBatches(StoppingPolicy):
    """Stops after so many steps; repeats of a phase draw batches of their own, not counted."""

    def __init__(self, config: MaxBatchesConfig) -> None:
        self._config = config

    def reason_to_stop(self, history: History) -> str | None:
        """Return a reason when the newest record is that step or a later one."""
        if history and history[-1].step >= self._config.batches:
            return f"{history[-1].step:,} batches were seen, of {self._config.batches:,}"
        return None
