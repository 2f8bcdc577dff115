"""How a classifier does on validation images in the middle of its training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganaug.benchmark.weighing import area_under_roc

__all__ = ["Checked", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How a classifier did on validation images after so many steps.

    score: area under the ROC curve of each class against the rest, averaged over the classes that
    have validation images, and others beside them; NaN where none has. loss: cross-entropy, every
    class counting the same. training_loss: the mean over the steps since the check before.
    """

    step: int
    score: float
    loss: float
    training_loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """What is larger for a better check: the score, then the loss.

        A rare class may never be the most probable one where the arm does not balance, so that by
        accuracy all checks of it would be alike; the loss alone grows with over-confidence while
        the order of images gets better. The area asks for no threshold, and those that measure an
        arm are chosen on the validation images later.
        """
        return 0.0 if math.isnan(self.score) else self.score, -self.loss


def check(logits: Tensor, labels: Tensor, *, step: int, training_loss: float) -> Checked:
    """Return how a classifier does, by logits (N, classes) and labels, int64 (N,)."""
    losses = cross_entropy(logits, labels, reduction="none").double()
    return Checked(
        step=step,
        score=_mean_auroc(logits.double().cpu(), labels.cpu()),
        loss=_class_mean(losses, labels),
        training_loss=training_loss,
    )


def _mean_auroc(logits: Tensor, labels: Tensor) -> float:
    """Return the mean over classes; by log odds, since near 1 probabilities are all one number."""
    areas = []
    for column in range(logits.shape[1]):
        others = torch.arange(logits.shape[1]) != column
        odds = logits[:, column] - logits[:, others].logsumexp(dim=1)
        area = area_under_roc((labels == column).numpy(), odds.numpy())
        areas.append(float(area(np.ones((1, len(labels))))[0]))
    known = [area for area in areas if not math.isnan(area)]
    return sum(known) / len(known) if known else math.nan


def _class_mean(values: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the mean of each."""
    counts = labels.bincount()
    sums = torch.zeros_like(counts, dtype=values.dtype).index_add_(0, labels, values)
    present = counts > 0
    return float((sums[present] / counts[present]).mean())
