"""A policy that stops when a metric on validation rows no longer improves."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from ganaug import Config, History, StoppingPolicy

__all__ = ["Plateau", "PlateauConfig"]


class PlateauConfig(Config):
    """When a metric counts as no longer improving.

    metric: the name of the score. mode: "min" when lower is better, as for kid, else "max".
    patience: training images to go on for without an improvement.
    min_delta: by how much a score must be better than the last improvement to be one itself.
    """

    metric: str = "kid"
    mode: Literal["min", "max"] = "min"
    patience: int = Field(default=50_000, gt=0)
    min_delta: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Plateau(StoppingPolicy):
    """Stops when `patience` images have brought no better score.

    Speaks at evaluations only, so that it never stops shortly before one. Silent while the
    metric is missing, and until a generator that has stages is in its last one, where it begins
    to count; a score that is not a number is no improvement.
    """

    needs_metrics = True

    def __init__(self, config: PlateauConfig) -> None:
        self._config = config
        self.metric_names = (config.metric,)

    def reason_to_stop(self, history: History) -> str | None:
        """Return a reason when the newest record is an evaluation that ends the patience."""
        name, sign = self._config.metric, 1.0 if self._config.mode == "max" else -1.0
        if not history or name not in history[-1].metrics or history[-1].is_growing:
            return None
        best: float | None = None
        improved_at = 0
        for step in history:
            if step.is_growing:
                best, improved_at = None, step.images_seen
                continue
            score = sign * step.metrics.get(name, math.nan)
            if math.isnan(score):
                continue
            if best is None or (score > best and score >= best + self._config.min_delta):
                best, improved_at = score, step.images_seen
        waited = history[-1].images_seen - improved_at
        if waited < self._config.patience:
            return None
        return f"{name} has not improved for {waited:,} images"
