"""What policies read of a training's records: the results of generator and discriminator."""

from __future__ import annotations

import math

from ganaug import Progress

__all__ = ["loss_of", "not_finite"]


def loss_of(phase: str, progress: Progress) -> float | None:
    """Return the sum of a phase's terms, penalties included; None when it did not run."""
    prefix = f"{phase}/"
    terms = [value for name, value in progress.losses.items() if name.startswith(prefix)]
    return sum(terms) if terms else None


def not_finite(progress: Progress) -> str | None:
    """Return a clause about the first loss or log that is no finite number, or None."""
    for values in (progress.losses, progress.logs):
        for name, value in values.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
    return None
