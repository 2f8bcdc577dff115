"""What policies read of a training's records: the results of generator and discriminator."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from ganaug import Progress

__all__ = ["discriminator_won", "loss_of", "mean", "not_finite"]


def loss_of(phase: str, progress: Progress) -> float | None:
    """Return the sum of a phase's terms, penalties included; None when it did not run."""
    prefix = f"{phase}/"
    terms = [value for name, value in progress.losses.items() if name.startswith(prefix)]
    return sum(terms) if terms else None


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known; None when none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def discriminator_won(steps: Sequence[Progress], *, accuracy: float, loss: float) -> str | None:
    """Return the clause "its mean ... is ..." when real and fake are told apart with no effort.

    accuracy: mean ``d_accuracy`` of the steps from which on they are. loss: mean size of the
    discriminator's loss up to which they are. None where neither is reported.
    """
    right = mean(step.logs.get("d_accuracy") for step in steps)
    if right is not None and right >= accuracy:
        return f"its mean accuracy is {right:.4g}"
    losses = (loss_of("discriminator", step) for step in steps)
    # A critic's loss is below zero when all is well.
    paid = mean(None if value is None else abs(value) for value in losses)
    if paid is not None and paid <= loss:
        return f"its mean loss is {paid:.3g}"
    return None


def not_finite(progress: Progress) -> str | None:
    """Return a clause about the first loss or log that is no finite number, or None."""
    for values in (progress.losses, progress.logs):
        for name, value in values.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
    return None
