"""A policy that breaks off the training of a GAN: losses that are flat, or that collapse."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from ganaug import Config, History, Progress, StoppingPolicy
from ganaug.builtin.policies.results import discriminator_won, loss_of, mean, not_finite

__all__ = ["LoopBreaker", "LoopBreakerConfig"]

_SPANS = 3  # of results, one after the other, that a plateau must last
_JUDGEMENTS = 20  # in a span of results


class LoopBreakerConfig(Config):
    """When the training of a GAN is broken off.

    images: training images in a span, over which the results of each step are averaged.
    tolerance: the share by which the mean losses of generator and discriminator may differ
        between the last three spans to be flat; 0 for no look at that.
    accuracy: mean ``d_accuracy`` at or above which the discriminator has won.
    loss: mean discriminator loss at or below which it has.
    max_epochs: passes over the training images after which to stop; None for any number.
    end_batch: batches after which an epoch ends early, for `max_epochs`; None for none.
    """

    images: int = Field(default=10_000, gt=0)
    tolerance: float = Field(default=0.01, ge=0, lt=1)
    accuracy: float = Field(default=0.999, gt=0.5, le=1)
    loss: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    max_epochs: int | None = Field(default=None, gt=0)
    end_batch: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_batch is not None and self.max_epochs is None:
            raise ValueError("end_batch says when an epoch ends; say how many with max_epochs")
        return self


class LoopBreaker(StoppingPolicy):
    """Stops a GAN whose losses have collapsed, are flat, or have had their epochs.

    The loop breaker of the AE+GAN study of skin lesions: it looks at the mean of the last
    results of generator and discriminator, and leaves the loops over epochs and batches at once;
    here these are one loop, and an epoch is `end_batch` batches or a pass over the images,
    whichever ends first.

    Reads losses named ``generator/...`` and ``discriminator/...``, summed over their terms at
    each step, and ``logs["d_accuracy"]``; it is silent on what a generator does not report, and
    on flat losses where it does not report both. It does not read ``critic/...``: the loss of a
    Wasserstein critic estimates a distance, with no value at which the critic has won, and one
    that is flat may be that of a stage about to end. What a critic trains is ended by `max_epochs`
    here, or by scores (``plateau``). Results begin, and epochs are counted, with
    the first step that has either: an autoencoder that is trained before is left alone. Means
    are looked at twenty times a span of results, from the first whole one on; a value that is not
    finite, and the epochs, at each step.
    """

    def __init__(self, config: LoopBreakerConfig) -> None:
        self._config = config

    def reason_to_stop(self, history: History) -> str | None:
        """Return a reason when the latest results have one."""
        if not history:
            return None
        if reason := not_finite(history[-1]):
            return reason
        if not _has_results(history[-1]):
            return None
        # Whether a step has results does not go back and forth, so that halving finds the first.
        first = bisect_left(history, True, key=_has_results)
        return self._epochs_over(history, first) or self._judge(history, first)

    def _epochs_over(self, history: History, first: int) -> str | None:
        """Return a reason when the last epoch since the first results is over."""
        epochs, end_batch = self._config.max_epochs, self._config.end_batch
        if epochs is None:
            return None
        newest, before = history[-1], history[first - 1] if first else None
        steps = newest.step - (before.step if before else 0)
        if end_batch is not None and steps >= epochs * end_batch:
            return f"{epochs:,} epochs of {end_batch:,} batches are over"
        if newest.images_in_epoch:  # results may begin in the middle of a pass
            seen = newest.images_seen - (before.images_seen if before else 0)
            passes = seen // newest.images_in_epoch
        else:
            passes = newest.epoch - (before.epoch if before else 0)
        return f"{passes:,} of {epochs:,} epochs are over" if passes >= epochs else None

    def _judge(self, history: History, first: int) -> str | None:
        """Return a reason when it is time to look at the means, and they have one."""
        every = max(self._config.images // _JUDGEMENTS, 1)
        before = history[-2].images_seen if len(history) > 1 else 0
        if history[-1].images_seen // every == before // every:
            return None
        spans = self._spans(history, first)
        if not spans:
            return None
        return self._collapse(spans[0]) or (self._plateau(spans) if len(spans) == _SPANS else None)

    def _spans(self, history: History, first: int) -> list[Sequence[Progress]]:
        """Return the last spans of results, the newest first; those that are whole."""
        began = history[first - 1].images_seen if first else 0
        until, images = history[-1].images_seen, self._config.images
        spans: list[Sequence[Progress]] = []
        end = len(history)
        for number in range(1, min((until - began) // images, _SPANS) + 1):
            start = bisect_right(
                history,
                until - number * images,
                lo=first,
                hi=end,
                key=lambda step: step.images_seen,
            )
            spans.append(history[start:end])
            end = start
        return spans

    def _collapse(self, span: Sequence[Progress]) -> str | None:
        """Return a reason when the discriminator has won."""
        config = self._config
        won = discriminator_won(span, accuracy=config.accuracy, loss=config.loss)
        if won is None:
            return None
        return f"the discriminator has won: {won} over the last {config.images:,} images"

    def _plateau(self, spans: Sequence[Sequence[Progress]]) -> str | None:
        """Return a reason when neither mean loss differs between the spans."""
        tolerance = self._config.tolerance
        found = []
        for phase in ("generator", "discriminator") if tolerance else ():
            means = [mean(loss_of(phase, step) for step in span) for span in spans]
            known = [value for value in means if value is not None]
            newest = known[0] if len(known) == len(means) else None
            if newest is None or max(abs(m - newest) for m in known) > tolerance * abs(newest):
                return None
            found.append(f"the {phase}'s at {newest:.3g}")
        if not found:
            return None
        return (
            f"the mean losses are flat, {' and '.join(found)}, within {100 * tolerance:.3g} % "
            f"over the last {_SPANS * self._config.images:,} images"
        )


def _has_results(progress: Progress) -> bool:
    """Say whether generator or discriminator was trained in a step."""
    return any(name.startswith(("generator/", "discriminator/")) for name in progress.losses)
