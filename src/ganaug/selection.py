"""Which weights of a training are handed out."""

from __future__ import annotations

import copy
import math
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganaug.errors import ConfigError
from ganaug.generator import Generator
from ganaug.stopping import History
from ganaug.training import Training

__all__ = ["Best", "Choice", "Ending", "Selection", "check_selection", "describe", "select"]

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


@dataclass(frozen=True, slots=True)
class Ending:
    """What was recorded of a training, and why it ended, as a clause."""

    history: History
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which weights of a training are handed out.

    part: of the run, as the user knows it. weights: "last", "average" or "best". images_seen:
    when they were as they are; the last of what is averaged. averaged: images seen at each copy
    in the average. compared: how many scores the best is the best of. scores: of these weights,
    on validation rows; empty where nothing was scored. trained_images, trained_steps, stopped:
    how long the training went on, and why it ended.
    """

    part: str
    weights: Selection
    images_seen: int
    averaged: tuple[int, ...] = ()
    compared: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    trained_images: int
    trained_steps: int
    stopped: str

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return {**asdict(self), "averaged": list(self.averaged), "scores": dict(self.scores)}

    def __str__(self) -> str:
        """Say in words which weights they are, and what they score."""
        how = {
            "last": f"the last, after {self.images_seen:,} images",
            "average": f"the average of {len(self.averaged)}, from {min(self.averaged or [0]):,} "
            f"to {self.images_seen:,} images",
            "best": f"the best of {self.compared} scored, after {self.images_seen:,} of "
            f"{self.trained_images:,} images",
        }[self.weights]
        score = next((f" ({name} {value:.3g})" for name, value in self.scores.items()), "")
        return how + score


class Best:
    """Copies of the averaged weights at the best scores so far.

    The newest four improvements are kept, so that the best of what remains is known when a
    rollback makes the last ones void. When a generator is in another stage since, by its shapes, by
    what it says, or by the resolution it is trained at, earlier weights and scores no longer count.

    higher_is_better: of the score.
    """

    def __init__(self, *, higher_is_better: bool) -> None:
        self._sign = 1.0 if higher_is_better else -1.0
        self._candidates: deque[_Candidate] = deque(maxlen=_IMPROVEMENTS_KEPT)
        self._compared: list[int] = []  # steps that were scored
        self._stage: tuple[int | None, bool] = None, False

    def consider(self, network: nn.Module, score: float, *, step: int, images_seen: int) -> None:
        """Copy the network's weights if they score better than what is kept; NaN never does."""
        weights = network.state_dict()
        if self._candidates and not _fits(self._candidates[-1].weights, weights):
            self._forget_all()
        if math.isfinite(score):
            self._compared.append(step)
        before = self._candidates[-1].score if self._candidates else -self._sign * math.inf
        if self._sign * score > self._sign * before:
            copied = {name: tensor.detach().clone() for name, tensor in weights.items()}
            self._candidates.append(_Candidate(step, images_seen, score, copied))

    def forget_from(self, step: int) -> None:
        """Forget what was kept at a step or later: a rollback has made it void."""
        while self._candidates and self._candidates[-1].step >= step:
            self._candidates.pop()
        while self._compared and self._compared[-1] >= step:
            self._compared.pop()

    def enter(self, resolution: int | None, is_growing: bool) -> None:
        """Take note of the stage, as `Progress` has it; what others scored no longer counts.

        A network that has the layers of all its stages from the start looks the same in each.
        """
        if (resolution, is_growing) != self._stage:
            self._forget_all()
        self._stage = resolution, is_growing

    def _forget_all(self) -> None:
        self._candidates.clear()
        self._compared.clear()

    def weights_for(self, network: nn.Module) -> Mapping[str, Tensor] | None:
        """Return the best weights, or None when there are none that fit the network."""
        if self._candidates and _fits(self._candidates[-1].weights, network.state_dict()):
            return self._candidates[-1].weights
        return None

    @property
    def images_seen(self) -> int | None:
        """How many images had been seen at the best score; None when there is none."""
        return self._candidates[-1].images_seen if self._candidates else None

    @property
    def compared(self) -> int:
        """How many scores the best is the best of."""
        return len(self._compared)

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
            ],
            "compared": list(self._compared),
            "stage": list(self._stage),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._candidates.clear()
        self._candidates.extend(_Candidate(**kept) for kept in state["candidates"])
        # Earlier versions had neither.
        self._compared = list(state.get("compared", [kept.step for kept in self._candidates]))
        resolution, is_growing = state.get("stage", (state.get("resolution"), False))
        self._stage = resolution, is_growing


def check_selection(how: str) -> None:
    """Raise ConfigError unless `select` can do it."""
    if how not in get_args(Selection):
        raise ConfigError(f"select must be one of {', '.join(get_args(Selection))}; got {how!r}.")


def select(training: Training, how: str = "last", best: Best | None = None) -> Generator:
    """Return a copy of the generator with the chosen averaged weights, in eval mode.

    how: "last", the moving average as it is; "average", the mean of its parameters and those of
    the snapshots kept, with its own buffers, as a schedule may be in them; "best", the moving
    average as it was at the best score on validation rows, which `best` kept.
    Warns, and takes the last weights, when the training ended before its first evaluation.

    Raises ConfigError for "best" in a training that nobody scored.
    """
    check_selection(how)
    chosen = copy.deepcopy(training.ema)
    if how == "average":
        _take_mean(chosen.network, [snapshot.weights for snapshot in training.snapshots])
    if how == "best":
        _take_best(chosen, best)
    return chosen


def describe(
    training: Training, how: Selection, best: Best | None, ending: Ending, *, part: str
) -> Choice:
    """Return which weights `select` takes from a training that has ended.

    Their scores are those that the history has of them, if it has any.
    """
    history, seen = ending.history, training.images_seen
    averaged: tuple[int, ...] = ()
    if how == "average":
        averaged = (*(snapshot.images_seen for snapshot in training.snapshots), seen)
    if how == "best":
        found = best is not None and best.weights_for(training.ema.network) is not None
        how, seen = ("best", best.images_seen or 0) if best and found else ("last", seen)
    scored = {record.images_seen: record.metrics for record in history}
    return Choice(
        part=part,
        weights=how,
        images_seen=seen,
        averaged=averaged,
        compared=best.compared if best and how == "best" else 0,
        scores={} if how == "average" else dict(scored.get(seen, {})),
        trained_images=training.images_seen,
        trained_steps=training.step,
        stopped=ending.reason,
    )


@torch.no_grad()
def _take_mean(network: nn.Module, others: Sequence[Mapping[str, Tensor]]) -> None:
    """Put the mean of a network's parameters and other weights of it into the network."""
    for name, parameter in network.named_parameters():
        each = [weights[name].to(parameter.device) for weights in others]
        parameter.copy_(torch.stack([w.float() for w in [*each, parameter]]).mean(0))


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
        "The training ended before it was evaluated, or evaluated in its last stage, so that no "
        "weights are the best; the last ones are handed out. Train for longer, or evaluate more "
        "often (--eval-every N).",
        stacklevel=3,
    )


def _fits(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Say whether two networks' weights have the same names and shapes."""
    return {name: tensor.shape for name, tensor in weights.items()} == {
        name: tensor.shape for name, tensor in others.items()
    }
