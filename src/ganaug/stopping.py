"""When to stop: progress records, their history, and the policies that read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

__all__ = ["History", "Progress", "StoppingPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands after a step.

    images_seen: training images seen so far, repeats of a phase not counted.
    step, epoch: steps done; passes over the training images, rounded down.
    losses: ``"phase/term"`` to value, the mean over a phase's repeats. logs: ``"name"`` to value.
    metrics: scores on validation rows, where somebody computed them.
    seconds: time spent in training, over all sessions.
    """

    images_seen: int
    step: int
    epoch: int
    losses: Mapping[str, float]
    logs: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class History(list[Progress]):
    """The progress records of one training, oldest first."""

    def record(self, progress: Progress) -> None:
        """Append a record, in place of those that a rollback made void."""
        while self and self[-1].step >= progress.step:
            self.pop()
        self.append(progress)

    def last_images(self, images: int) -> History:
        """Return the records of the last so many images, or none when there are fewer."""
        if not self or self[-1].images_seen < images:
            return History()
        start = self[-1].images_seen - images
        first = len(self)
        while first > 0 and self[first - 1].images_seen > start:
            first -= 1
        return History(self[first:])


class StoppingPolicy(ABC):
    """Reads a history and says whether to stop. Pure: it keeps nothing between calls.

    needs_metrics: whether it reads `Progress.metrics`. Where a policy does, validation rows are
        cut from the training rows and the averaged weights are scored on them during training.
    metric_names: the scores that it reads, by their name in `Progress.metrics`. One that is not
        computed is then an error before training, rather than a policy that never stops.
    """

    needs_metrics: ClassVar[bool] = False
    metric_names: tuple[str, ...] = ()

    @abstractmethod
    def reason_to_stop(self, history: History) -> str | None:
        """Return the reason as a clause (``"500 images were seen"``), or None to go on.

        An empty history is no reason.
        """


def first_reason(policies: Iterable[StoppingPolicy], history: History) -> str | None:
    """Return the first policy's reason to stop, or None."""
    return next(filter(None, (policy.reason_to_stop(history) for policy in policies)), None)
