"""What every stopping policy promises."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ganaug.config import Config
from ganaug.plugins import StoppingPolicyPlugin
from ganaug.stopping import History, Progress, StoppingPolicy
from ganaug.testing.checks import check_table, config_round_trip, expect, expect_kind

__all__ = ["CHECKS", "PolicySubject"]

CHECKS, _check = check_table()
_check(config_round_trip)


#: Training images a step: enough for policies that look at the last ten thousand, or wait for more.
_IMAGES = 2_500


@dataclass
class PolicySubject:
    """A stopping policy under test. settings: fields of its config."""

    record: StoppingPolicyPlugin
    settings: dict[str, Any]

    @cached_property
    def config(self) -> Config:
        """The config that it is built with."""
        return self.record.config.from_fields(self.settings)

    def build(self) -> StoppingPolicy:
        """Build it."""
        policy = self.record.build(self.config)
        expect_kind(policy, StoppingPolicy, "build")
        return policy

    def histories(self) -> dict[str, History]:
        """Return histories with the scores that it reads."""
        return histories(self.build().metric_names)


def histories(metric_names: Sequence[str] = ()) -> dict[str, History]:
    """Return histories of several trainings by what is wrong with them.

    metric_names: of the scores that evaluations have, beside ``kid``.
    """
    found = {
        "a healthy training": _history([(0.7, 0.7, 0.5 + 0.1 * (step % 3)) for step in range(60)]),
        "a collapsed training": _history([(1e-6, 12.0, 1.0)] * 60),
        "a training that no longer improves": _history([(0.7, 0.7, 0.5)] * 60, kid=0.1),
        "a training without scores": _history([(0.7, 0.7, None)] * 60),
        "a training that diverged": _history([(0.7, 0.7, 0.5)] * 5 + [(math.nan, math.inf, 0.5)]),
        "one step": _history([(0.7, 0.7, 0.5)]),
    }
    return {name: _scored(history, metric_names) for name, history in found.items()}


def _scored(history: History, metric_names: Sequence[str]) -> History:
    """Give scores further names."""
    return History(
        replace(progress, metrics=dict.fromkeys(["kid", *metric_names], progress.metrics["kid"]))
        if progress.metrics
        else progress
        for progress in history
    )


def _history(
    steps: Sequence[tuple[float, float, float | None]], kid: float | None = None
) -> History:
    history = History()
    for number, (discriminator, generator, accuracy) in enumerate(steps, start=1):
        history.record(
            Progress(
                images_seen=_IMAGES * number,
                step=number,
                epoch=number // 10,
                losses={
                    "discriminator/adversarial": discriminator,
                    "generator/adversarial": generator,
                },
                logs={} if accuracy is None else {"d_accuracy": accuracy},
                metrics={} if accuracy is None or number % 10 else {"kid": kid or 1 / number},
                seconds=0.1 * number,
            )
        )
    return history


@_check
def silent_before_the_first_step(subject: PolicySubject) -> None:
    """An empty history is no reason to stop."""
    reason = subject.build().reason_to_stop(History())
    expect(reason is None, f"before the first step it said {reason!r}")


@_check
def gives_reasons_in_words(subject: PolicySubject) -> None:
    """It answers None, or a sentence that says why."""
    for name, history in subject.histories().items():
        reason = subject.build().reason_to_stop(history)
        fits = reason is None or (isinstance(reason, str) and bool(reason.strip()))
        expect(fits, f"of {name} it said {reason!r}; expected None or a text")


@_check
def pure(subject: PolicySubject) -> None:
    """The same history has the same answer, whoever asked before, and is not changed."""
    asked = subject.build()
    for name, history in subject.histories().items():
        before = copy.deepcopy(list(history))
        fresh = subject.build().reason_to_stop(history)
        for _ in range(3):
            answer = asked.reason_to_stop(history)
            expect(
                answer == fresh,
                f"of {name} it said {answer!r}, and {fresh!r} when newly built: a policy keeps "
                "nothing between questions",
            )
        # As text: not-a-numbers of two copies are not equal.
        expect(repr(list(history)) == repr(before), f"it changed the history of {name}")


@_check
def says_that_it_reads_scores(subject: PolicySubject) -> None:
    """Where scores change its answer, it has needs_metrics, so that somebody computes them."""
    policy = subject.build()
    for name, history in subject.histories().items():
        unscored = History(replace(progress, metrics={}) for progress in history)
        reads = policy.reason_to_stop(history) != policy.reason_to_stop(unscored)
        expect(
            policy.needs_metrics or not reads,
            f"of {name} it answers otherwise when there are no scores; set needs_metrics = True",
        )


@_check
def travels_to_workers(subject: PolicySubject) -> None:
    """It can be pickled."""
    policy = pickle.loads(pickle.dumps(subject.build()))
    history = subject.histories()["a collapsed training"]
    expect(
        policy.reason_to_stop(history) == subject.build().reason_to_stop(history),
        "after pickling it answers otherwise",
    )
