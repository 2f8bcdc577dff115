"""When to stop: progress records, their history, and the policies that read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from ganaug.errors import ConfigError

__all__ = ["AllOf", "AnyOf", "History", "Progress", "StoppingPolicy", "first_reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands after a step.

    images_seen: training images seen so far, repeats of a phase not counted.
    step, epoch: steps done; passes over the training images, rounded down.
    images_in_epoch: training images in a pass; None where a record does not say.
    losses: ``"phase/term"`` to value, the mean over a phase's repeats. logs: ``"name"`` to value;
        a generator that has stages gives ``growing``, 1 until it is wholly in its last one; one
        that grows in size, ``resolution``, the pixels a side that it is trained at, and ``alpha``,
        how far these have faded in, up to 1.
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
    images_in_epoch: int | None = None

    @property
    def resolution(self) -> int | None:
        """Pixels a side that were trained; None where the generator does not grow."""
        found = self.logs.get("resolution")
        return None if found is None else round(found)

    @property
    def is_growing(self) -> bool:
        """Whether a stage is still to come, so that images are not yet what they are to be."""
        return self.logs.get("growing", 0.0) > 0.0

    @property
    def is_fading(self) -> bool:
        """Whether the layers of this resolution are still fading in."""
        return self.logs.get("alpha", 1.0) < 1.0


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

    needs_metrics: bool = False
    metric_names: tuple[str, ...] = ()

    @abstractmethod
    def reason_to_stop(self, history: History) -> str | None:
        """Return the reason as a clause (``"500 images were seen"``), or None to go on.

        An empty history is no reason.
        """


def first_reason(policies: Iterable[StoppingPolicy], history: History) -> str | None:
    """Return the first policy's reason to stop, or None."""
    return next(filter(None, (policy.reason_to_stop(history) for policy in policies)), None)


class _Several(StoppingPolicy):
    """Several policies as one: it reads what they read."""

    def __init__(self, policies: Sequence[StoppingPolicy]) -> None:
        if not policies:
            raise ConfigError(
                f"{type(self).__name__} needs at least one stopping policy; got none."
            )
        self.policies = tuple(policies)
        self.needs_metrics = any(policy.needs_metrics for policy in self.policies)
        names = (name for policy in self.policies for name in policy.metric_names)
        self.metric_names = tuple(dict.fromkeys(names))


@final
class AnyOf(_Several):
    """Stops when one of several policies has a reason, as several policies of a training do.

    Here for use within `AllOf`. Raises ConfigError without policies.
    """

    def reason_to_stop(self, history: History) -> str | None:
        """Return the reason of the first that has one."""
        return first_reason(self.policies, history)


@final
class AllOf(_Several):
    """Stops at the first step at which each of several policies has a reason.

    Some policies speak at some steps only, such as ``plateau`` at evaluations. Raises ConfigError
    without policies.
    """

    def reason_to_stop(self, history: History) -> str | None:
        """Return all reasons, joined by "and"."""
        reasons = []
        for policy in self.policies:
            if (reason := policy.reason_to_stop(history)) is None:
                return None
            reasons.append(reason)
        return " and ".join(reasons)
