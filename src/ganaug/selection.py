"""Which weights of a training are handed out."""

from __future__ import annotations

import copy
import math
import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganaug.errors import ConfigError
from ganaug.generator import Generator
from ganaug.training import Training

__all__ = ["Best", "Selection", "check_selection", "select"]

Selection = Literal["last", "average", "best"]

# A rollback makes the newest improvements void; it goes back by a few hundred steps, in which
# there are at most a few of them.
_IMPROVEMENTS_KEPT = 4


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Weights that scored better than any before them: a copy."""

    step: int
    images_seen: int
    score: float
    weights: Mapping[str, Tensor]


class Best:
    """Copies of the averaged weights at the best scores so far.

    The newest four improvements are kept, so that the best of what remains is known when a
    rollback makes the last ones void. When a generator's network has grown since, its earlier
    weights fit nowhere and no longer count.

    higher_is_better: of the score.
    """

    def __init__(self, *, higher_is_better: bool) -> None:
        self._sign = 1.0 if higher_is_better else -1.0
        self._candidates: deque[_Candidate] = deque(maxlen=_IMPROVEMENTS_KEPT)

    def consider(self, network: nn.Module, score: float, *, step: int, images_seen: int) -> None:
        """Copy the network's weights if they score better than what is kept; NaN never does."""
        weights = network.state_dict()
        while self._candidates and not _fits(self._candidates[-1].weights, weights):
            self._candidates.pop()
        before = self._candidates[-1].score if self._candidates else -self._sign * math.inf
        if self._sign * score > self._sign * before:
            copied = {name: tensor.detach().clone() for name, tensor in weights.items()}
            self._candidates.append(_Candidate(step, images_seen, score, copied))

    def forget_from(self, step: int) -> None:
        """Forget what was kept at a step or later: a rollback has made it void."""
        while self._candidates and self._candidates[-1].step >= step:
            self._candidates.pop()

    def weights_for(self, network: nn.Module) -> Mapping[str, Tensor] | None:
        """Return the best weights, or None when there are none that fit the network."""
        if self._candidates and _fits(self._candidates[-1].weights, network.state_dict()):
            return self._candidates[-1].weights
        return None

    @property
    def images_seen(self) -> int | None:
        """How many images had been seen at the best score; None when there is none."""
        return self._candidates[-1].images_seen if self._candidates else None

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, as a checkpoint takes it."""
        return {
            "candidates": [
                {
                    "step": kept.step,
                    "images_seen": kept.images_seen,
                    "score": kept.score,
                    "weights": dict(kept.weights),
                }
                for kept in self._candidates
            ]
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._candidates.clear()
        self._candidates.extend(_Candidate(**kept) for kept in state["candidates"])


def check_selection(how: str) -> None:
    """Raise ConfigError unless `select` can do it."""
    if how not in get_args(Selection):
        raise ConfigError(f"select must be one of {', '.join(get_args(Selection))}; got {how!r}.")


def select(training: Training, how: str = "last", best: Best | None = None) -> Generator:
    """Return a copy of the generator with the chosen averaged weights, in eval mode.

    how: "last", the moving average as it is; "average", the mean of it and the snapshots kept;
    "best", the moving average as it was at the best score on validation rows, which `best` kept.
    Warns, and takes the last weights, when the training ended before its first evaluation.

    Raises ConfigError for "best" in a training that nobody scored.
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
    if how == "best":
        _take_best(chosen, best)
    return chosen


def _take_best(generator: Generator, best: Best | None) -> None:
    """Put the best weights into a generator."""
    if best is None:
        raise ConfigError(
            "select='best' needs scores on validation rows, and no metric was computed in this "
            "training. Use 'last' or 'average'."
        )
    found = best.weights_for(generator.network)
    if found is not None:
        generator.network.load_state_dict(found)
        return
    warnings.warn(
        "The training ended before it was evaluated, so that no weights are the best; the last "
        "ones are handed out. Train for longer, or evaluate more often (--eval-every N).",
        stacklevel=3,
    )


def _fits(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Say whether two networks' weights have the same names and shapes."""
    return {name: tensor.shape for name, tensor in weights.items()} == {
        name: tensor.shape for name, tensor in others.items()
    }
