"""A policy that stops when the discriminator has won."""

from __future__ import annotations

from pydantic import Field

from ganaug import Config, History, StoppingPolicy
from ganaug.builtin.policies.results import discriminator_won, not_finite

__all__ = ["Divergence", "DivergenceConfig"]


class DivergenceConfig(Config):
    """When the discriminator counts as the winner.

    images: how many of the latest training images are looked at.
    accuracy: mean ``d_accuracy`` at or above which real and fake are told apart too well.
    loss: mean discriminator loss at or below which it has nothing left to learn.
    """

    images: int = Field(default=10_000, gt=0)
    accuracy: float = Field(default=0.995, gt=0.5, le=1)
    loss: float = Field(default=1e-3, ge=0, allow_inf_nan=False)


class Divergence(StoppingPolicy):
    """Stops when the discriminator tells real from fake with no effort, or a value is not finite.

    A generator that faces such a discriminator gets no useful gradient (Arjovsky and Bottou
    2017, theorem 2.4). Reads ``logs["d_accuracy"]`` and losses named ``discriminator/...``; a
    step's loss is their sum, as penalties add to what the discriminator pays. Silent on a
    criterion that a generator does not report, and until `images` images were seen; only
    non-finite values stop at once. Losses named ``critic/...`` are not read: that of a Wasserstein
    critic estimates a distance, and goes to zero when the generator is good.
    """

    def __init__(self, config: DivergenceConfig) -> None:
        self._config = config

    def reason_to_stop(self, history: History) -> str | None:
        """Return a reason when the latest records show a collapse."""
        if not history:
            return None
        if reason := not_finite(history[-1]):
            return reason
        recent = history.last_images(self._config.images)
        config = self._config
        won = discriminator_won(recent, accuracy=config.accuracy, loss=config.loss)
        if won is None:
            return None
        return f"the discriminator has won: {won} over the last {config.images:,} images"
