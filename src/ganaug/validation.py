"""Evaluation during training: scores of the averaged weights on validation rows."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ganaug.errors import ConfigError, DataError, TooFewImagesError
from ganaug.evaluator import Evaluator
from ganaug.pixels import from_signed, to_signed
from ganaug.randomness import seeded
from ganaug.scoring import build_evaluator
from ganaug.selection import Best
from ganaug.shared_features import SharedExtractor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.evaluator import Role
    from ganaug.generator import Generator
    from ganaug.registry import Registry
    from ganaug.spec import LabelledImages
    from ganaug.stopping import History, Progress
    from ganaug.training import Training

    _Batch = tuple[Tensor, Tensor]

__all__ = [
    "DEFAULT_EVAL_EVERY",
    "DEFAULT_EXTRACTOR",
    "DEFAULT_METRICS",
    "Plan",
    "Validation",
    "sample_batches",
]

#: What is scored, and how often in training images. A constant, not a share of the training's
#: length: training N images and then N more must equal training 2N.
DEFAULT_METRICS = ("kid",)
DEFAULT_EXTRACTOR = "random-conv"
DEFAULT_EVAL_EVERY = 5_000

#: The most images of each role in an evaluation, which bounds what it costs.
_MOST_IMAGES = 256
_BATCH = 64

_SYNTHETIC: Role = "synthetic"

#: The share of the training time that evaluations may take before somebody is told.
_MOST_SHARE = 0.1


@torch.no_grad()
def sample_batches(
    generator: Generator, labels: NDArray[np.int64], *, seed: int
) -> list[Tensor] | None:
    """Draw an image for each label: float32 (n, C, H, W) on the CPU, batches of up to 64.

    The same seed gives the same latents, whatever the weights are. None when a pixel is not a
    finite number.
    """
    rng = torch.Generator().manual_seed(seed)
    device = next((p.device for p in generator.network.parameters()), torch.device("cpu"))
    batches = []
    with seeded(seed, device):
        for chunk in torch.from_numpy(labels).split(_BATCH):
            drawn = generator.sample(chunk.to(device), rng=rng).float().cpu()
            if not torch.isfinite(drawn).all():
                return None
            batches.append(drawn)
    return batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is scored during the trainings of a run, and when.

    metrics: ``NAME`` or ``NAME:FIELD=VALUE,...``. extractor: the feature space that they share.
    every: images between evaluations, which take place at the first step at or past each multiple.
    keep_best: whether to keep the weights with the best score, the first metric's first one.
    tell: takes a line for the user, such as a metric that fails in the course of training.
    """

    metrics: tuple[str, ...]
    extractor: SharedExtractor
    registry: Registry
    every: int
    keep_best: bool
    tell: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Metric:
    """A metric as it was asked for, and the names of its scores."""

    text: str
    evaluator: Evaluator
    names: tuple[str, ...]


class Validation:
    """Scores one training on validation rows, at fixed numbers of training images.

    As many images are drawn as there are validation rows, of the same classes and at most 256,
    from the same latents each time: evaluations differ by the weights alone. They follow from
    images, plan and seed, never from the time that anything takes.

    rows: validation images, loaded at the generator's size. training: those that it learns from,
        a few of which metrics see in the role "train". name: of the training, for messages.

    best: the weights kept, or None. seconds, evaluations: spent and done since this was made.

    Raises, before anything is trained, TooFewImagesError for too few rows, ConfigError for
    metrics that cannot be computed together or compared, and what metrics raise.
    """

    def __init__(
        self, rows: LabelledImages, training: LabelledImages, plan: Plan, *, name: str, seed: int
    ) -> None:
        self.seconds, self.evaluations = 0.0, 0
        self._plan, self._name, self._seed = plan, name, seed
        self._told: set[str] = set()
        self._began: tuple[int, float] | None = None
        evaluators = [build_evaluator(m, plan.extractor, plan.registry) for m in plan.metrics]
        for text, evaluator in zip(plan.metrics, evaluators, strict=True):
            self._check_enough(len(rows), text, evaluator.minimum_images)
        rng = np.random.default_rng(seed)
        self._n = min(len(rows), _MOST_IMAGES)
        chosen = rows.subset(np.sort(rng.permutation(len(rows))[: self._n]))
        order = rng.permutation(len(training))
        self._labels = chosen.labels
        self._dtype, self._value_range = np.asarray(rows.pixels).dtype, rows.value_range
        self._real: dict[Role, list[_Batch]] = {
            "train": _in_batches(training.subset(order[: self._n])),
            "holdout": _in_batches(chosen),
        }
        # Real images in place of synthetic ones: what cannot be scored is found before training.
        stand_in = _in_batches(training.subset(np.resize(order[::-1], self._n)))
        plan.extractor.keep([images for batches in self._real.values() for images, _ in batches])
        self._metrics = [
            self._rehearse(text, evaluator, stand_in)
            for text, evaluator in zip(plan.metrics, evaluators, strict=True)
        ]
        self._check_names()
        self.best = self._make_best() if plan.keep_best else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the scores have in `Progress.metrics`."""
        return tuple(name for metric in self._metrics for name in metric.names)

    def update(self, training: Training, history: History) -> None:
        """Score the averaged weights if it is time, and put the scores into the newest record.

        history: of the training, up to the step that it just did.
        """
        newest, before = history[-1], history[-2] if len(history) > 1 else None
        images_before = before.images_seen if before else 0
        if self.best is not None:
            self.best.forget_from(newest.step)
            self.best.enter(newest.resolution, newest.is_growing)
        if self._began is None:
            self._began = images_before, before.seconds if before else 0.0
        if newest.images_seen // self._plan.every == images_before // self._plan.every:
            return
        started = time.perf_counter()
        scores = self.score(training.ema)
        history[-1] = replace(newest, metrics=scores)
        name = self._metrics[0].names[0]
        if self.best is not None and name in scores:
            network, seen = training.ema.network, newest.images_seen
            self.best.consider(network, scores[name], step=newest.step, images_seen=seen)
        self.seconds += time.perf_counter() - started
        self.evaluations += 1
        if self.evaluations == 1:
            self._check_cost(newest)

    def state_dict(self) -> dict[str, Any]:
        """Return what going on needs beside the training's own state."""
        return {"best": None if self.best is None else self.best.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        if self.best is not None and state["best"] is not None:
            self.best.load_state_dict(state["best"])

    # --- scoring ----------------------------------------------------------------------------

    def score(self, generator: Generator) -> dict[str, float]:
        """Return the scores of a generator; a metric that cannot be computed is left out."""
        drawn = sample_batches(generator, self._labels, seed=self._seed)
        if drawn is None:
            self._tell_once("images with pixels that are not finite numbers have no scores")
            return {}
        labels = torch.from_numpy(self._labels).split(_BATCH)
        synthetic = [(self._as_pixels(x), y) for x, y in zip(drawn, labels, strict=True)]
        batches = [images for images, _ in synthetic]
        self._plan.extractor.keep(batches)
        scores: dict[str, float] = {}
        for metric in self._metrics:
            try:
                found = self._compute(metric.evaluator, synthetic)
            except DataError as error:  # a generator that has collapsed is no reason to stop
                self._tell_once(f"{metric.text} has no score at some evaluations: {error}")
                continue
            scores.update({name: value for name, value in found.items() if math.isfinite(value)})
        self._plan.extractor.forget(batches)
        return scores

    def _compute(self, evaluator: Evaluator, synthetic: Sequence[_Batch]) -> dict[str, float]:
        evaluator.reset()
        with seeded(self._seed):
            for role, batches in [*self._real.items(), (_SYNTHETIC, synthetic)]:
                for images, labels in batches:
                    evaluator.update(images, role=role, labels=labels)
            scores = {name: float(value) for name, value in evaluator.compute().items()}
        evaluator.reset()
        return scores

    def _as_pixels(self, images: Tensor) -> Tensor:
        """Round images to the dtype that they are handed out in, which real ones were, too."""
        pixels = from_signed(images, dtype=self._dtype, value_range=self._value_range)
        return to_signed(pixels, self._value_range)

    # --- checks -----------------------------------------------------------------------------

    def _check_enough(self, n: int, metric: str, least: int) -> None:
        if n < max(least, 1):
            raise TooFewImagesError(
                f"The metric {metric!r} needs at least {max(least, 1)} validation images; there "
                f"{'is' if n == 1 else 'are'} {n} of {self._name}. Give more images, or a split "
                "with more validation rows, or do without scores during training."
            )

    def _rehearse(self, text: str, evaluator: Evaluator, stand_in: list[_Batch]) -> _Metric:
        """Compute a metric once, to learn the names of its scores. Raises what it raises."""
        try:
            return _Metric(text, evaluator, tuple(self._compute(evaluator, stand_in)))
        except TooFewImagesError as error:
            raise TooFewImagesError(
                f"There are {self._n} validation images of {self._name}, too few for the metric "
                f"{text!r}: {error}"
            ) from error

    def _check_names(self) -> None:
        for name, times in Counter(self.names).items():
            if times > 1:
                raise ConfigError(
                    f"{times} of the metrics {', '.join(self._plan.metrics)} are called {name!r}; "
                    "give only one of them."
                )

    def _make_best(self) -> Best:
        first = self._metrics[0]
        higher = first.evaluator.higher_is_better
        if higher is None:
            raise ConfigError(
                f"select='best' needs a metric of which one end is better, and neither is of "
                f"{first.text!r}. Name another one first, such as kid."
            )
        return Best(higher_is_better=higher)

    def _check_cost(self, newest: Progress) -> None:
        """Tell the user when evaluations take more than a tenth of the training time."""
        began = self._began or (0, 0.0)
        images, seconds = newest.images_seen - began[0], newest.seconds - began[1]
        every = self._plan.every
        between = seconds / max(images, 1) * every
        if between <= 0 or self.seconds <= _MOST_SHARE * between:
            return
        enough = every * self.seconds / (_MOST_SHARE * between)
        unit = 10 ** max(int(math.log10(enough)) - 1, 0)
        enough = math.ceil(enough / unit) * unit
        self._tell_once(
            f"an evaluation takes {self.seconds:.2g} s, and {every:,} training images "
            f"{between:.2g} s. For less than a tenth of the time, evaluate every {enough:,} "
            f"images (--eval-every {enough})"
        )

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._plan.tell(f"{self._name}: {text.rstrip('.')}.")


def _in_batches(images: LabelledImages) -> list[_Batch]:
    """Return images in memory as (float32 (n, C, H, W) in [-1, 1], int64 (n,)), n up to 64."""
    signed = to_signed(np.asarray(images.pixels), images.value_range)
    labels = torch.from_numpy(images.labels)
    return list(zip(signed.split(_BATCH), labels.split(_BATCH), strict=True))
