"""Which weights of a training are handed out."""

from __future__ import annotations

import copy
from typing import Literal, get_args

import torch

from ganaug.errors import ConfigError
from ganaug.generator import Generator
from ganaug.training import Training

__all__ = ["Selection", "check_selection", "select"]

Selection = Literal["last", "average", "best"]


def check_selection(how: str) -> None:
    """Raise ConfigError unless `select` can do it."""
    if how not in get_args(Selection):
        raise ConfigError(f"select must be one of {', '.join(get_args(Selection))}; got {how!r}.")
    if how == "best":
        raise ConfigError(
            "select='best' needs scores on validation rows, and no metric is recorded in this "
            "training. Use 'last' or 'average'."
        )


def select(training: Training, how: str = "last") -> Generator:
    """Return a copy of the generator with the chosen averaged weights, in eval mode.

    how: "last", the moving average as it is; "average", the mean of it and the snapshots kept.
    """
    check_selection(how)
    chosen = copy.deepcopy(training.ema)
    if how == "average":
        weights = [*(s.weights for s in training.snapshots), chosen.network.state_dict()]
        mean = {
            name: torch.stack([w[name].float() for w in weights]).mean(0).to(value.dtype)
            for name, value in weights[-1].items()
        }
        chosen.network.load_state_dict(mean)
    return chosen
