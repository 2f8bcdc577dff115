"""Policies that stop when a budget is spent."""

from __future__ import annotations

from pydantic import Field

from ganaug import Config, History, StoppingPolicy

__all__ = ["MaxImages", "MaxImagesConfig", "MaxSeconds", "MaxSecondsConfig"]


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
