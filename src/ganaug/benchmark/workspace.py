"""What a process needs to compute the cells of a benchmark, made once."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganaug.benchmark.amounts import amounts, candidates, generated_classes, most
from ganaug.benchmark.choosing import choose_ratio
from ganaug.benchmark.classifiers import build_classifier
from ganaug.benchmark.classify import TrainingSet, predict, train_classifier
from ganaug.benchmark.generators import Drawn, Request, draw, make_recipe, provide
from ganaug.benchmark.outcomes import Cell, Outcome, Predictions
from ganaug.benchmark.protocol import Fold, Protocol
from ganaug.benchmark.task import Task
from ganaug.hardware import find_device
from ganaug.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn

    from ganaug.benchmark.choosing import Choice
    from ganaug.benchmark.experiment import Experiment
    from ganaug.spec import LabelledImages
    from ganaug.study import Arm

__all__ = ["Workspace"]

# What seeds are for; those of the protocol come first.
_GENERATOR, _CLASSIFIER, _CHOICE = 10, 11, 12

#: Trainings without synthetic images that are remembered: arms with ratio 0 are one of them.
_REMEMBERED = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trained:
    """A classifier's training: what it predicts, float64 (n, classes), and how it went.

    model: in main memory until it is asked about training and test images, None from then on.
    """

    model: nn.Module | None
    validation: NDArray[np.float64]
    train: NDArray[np.float64] | None = None
    test: NDArray[np.float64] | None = None
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """The rows of a cell: a fold, and its training rows at the cell's fraction."""

    cell: Cell
    fold: Fold
    rows: NDArray[np.int64]

    @property
    def held_out(self) -> NDArray[np.int64]:
        return np.concatenate([self.fold.validation, self.fold.test])


class Workspace:
    """Images, folds and what was trained and drawn last, of one experiment, in this process.

    images: all rows, of the classes of the task.
    """

    def __init__(self, experiment: Experiment, images: LabelledImages) -> None:
        self.experiment, study = experiment, experiment.study
        self.registry = Registry.load()
        self.task = Task(images, study)
        self.protocol = Protocol(
            images, study, experiment.budget, experiment.seed, clusters=experiment.clusters
        )
        self._drawn: tuple[str, Drawn] | None = None
        self._known: dict[tuple[Any, ...], _Trained] = {}

    def run(self, cell: Cell) -> Outcome:
        """Return the outcome of a cell; its ratio is what validation images choose."""
        study = self.experiment.study
        arm = next(arm for arm in study.arms if arm.name == cell.arm)
        fold = self.protocol.folds[cell.repeat, cell.fold]
        part = _Part(cell=cell, fold=fold, rows=self.protocol.training(fold, cell.fraction))
        drawn = self._draw(part) if arm.needs_generator else None
        added = {ratio: self._added(arm, part, ratio, drawn) for ratio in candidates(arm, study)}
        trained = self._train_all(arm, part, added, drawn)
        choice = choose_ratio(
            {ratio: self._outcome(part, each) for ratio, each in trained.items()},
            study.measure,
            specificity=study.specificity,
            seed=self._seed(_CHOICE, cell),
        )
        chosen = self._complete(part, trained[choice.ratio])
        different = {id(each): each for each in trained.values()}.values()
        details = {
            **_record(choice),
            "synthetic": {
                self.task.images.class_names[i]: n for i, n in added[choice.ratio].items()
            },
            "steps": chosen.steps,
            "seconds": sum(each.seconds for each in different),
        }
        if drawn is not None:
            details["generator"] = dict(drawn.details)
        return replace(self._outcome(part, chosen), details=details)

    # --- synthetic images -------------------------------------------------------------------

    def _draw(self, part: _Part) -> Drawn:
        """Return the images of the part's generator; those of the last part are at hand."""
        experiment, cell = self.experiment, part.cell
        seed = self._seed(_GENERATOR, cell)
        request = Request(
            images=self.task.images,
            rows=part.rows,
            held_out=part.held_out,
            classes=generated_classes(self.task.images, experiment.study),
            recipe=make_recipe(experiment.study, experiment.budget, self.registry, seed),
            registry=self.registry,
            source=experiment.source_name,
            fields=experiment.fields,
            digest=experiment.digest,
            device=experiment.device,
        )
        run = provide(request, experiment.out / "generators")
        if self._drawn is None or self._drawn[0] != run.path.name:
            self._drawn = None  # the old ones need not be in memory beside the new ones
            counts = most(experiment.study, self.task.images, part.rows)
            drawn = draw(run, self.task.images, counts, self.registry)
            self._drawn = run.path.name, drawn
        return self._drawn[1]

    def _added(
        self, arm: Arm, part: _Part, ratio: float | None, drawn: Drawn | None
    ) -> dict[int, int]:
        """Return how many synthetic images there are for the arm, by class index."""
        if drawn is None:
            return {}
        wanted = amounts(arm, self.experiment.study, self.task.images, part.rows, ratio)
        there = {index: min(n, len(drawn.pixels[index])) for index, n in wanted.items()}
        return {index: n for index, n in there.items() if n}

    def _training_set(
        self, part: _Part, added: Mapping[int, int], drawn: Drawn | None
    ) -> TrainingSet:
        rows = torch.from_numpy(part.rows)
        images, labels = [self.task.tensor[rows]], [self.task.labels[rows]]
        for index, n in added.items():
            assert drawn is not None
            images.append(self.task.prepare(drawn.pixels[index][:n], drawn.value_range))
            labels.append(torch.full((n,), index))
        every = torch.cat(labels)
        return TrainingSet(
            images=torch.cat(images),
            labels=every,
            is_synthetic=torch.arange(len(every)) >= len(rows),
        )

    # --- classifiers ------------------------------------------------------------------------

    def _train_all(
        self,
        arm: Arm,
        part: _Part,
        added: Mapping[float | None, Mapping[int, int]],
        drawn: Drawn | None,
    ) -> dict[float | None, _Trained]:
        """Train a classifier a ratio, but one only where ratios come to the same images."""
        known: dict[tuple[tuple[int, int], ...], _Trained] = {}
        for images in added.values():
            key = tuple(sorted(images.items()))
            if key not in known:
                known[key] = self._train(arm, part, images, drawn)
        return {ratio: known[tuple(sorted(images.items()))] for ratio, images in added.items()}

    def _train(
        self, arm: Arm, part: _Part, added: Mapping[int, int], drawn: Drawn | None
    ) -> _Trained:
        """Train a classifier; without synthetic images, it may be one of another arm."""
        if added or arm.synthetic == "only":
            return self._fit(arm, part, added, drawn)
        plain = replace(arm, name="", summary="", synthetic="none")
        cell = part.cell
        key = (plain, cell.fraction, cell.repeat, cell.fold)
        if key not in self._known:
            fitted = self._fit(replace(plain, name=arm.name), part, {}, None)
            self._known[key] = self._complete(part, fitted)
            while len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
        return self._known[key]

    def _fit(
        self, arm: Arm, part: _Part, added: Mapping[int, int], drawn: Drawn | None
    ) -> _Trained:
        experiment, task, seed = self.experiment, self.task, self._seed(_CLASSIFIER, part.cell)
        classes = len(task.images.class_names)
        model = build_classifier(experiment.classifier, task.channels, task.size, classes, seed)
        validation = torch.from_numpy(part.fold.validation)
        began = time.perf_counter()
        fitted = train_classifier(
            model.to(find_device(experiment.device)),
            arm,
            self._training_set(part, added, drawn),
            (task.tensor[validation], task.labels[validation]),
            steps=experiment.budget.steps,
            batch_size=experiment.budget.batch_size,
            learning_rate=experiment.study.learning_rate,
            classical=experiment.study.classical,
            seed=seed,
        )
        seconds = time.perf_counter() - began
        validated = predict(fitted.model, task.tensor[validation])
        return _Trained(
            model=fitted.model.cpu(), validation=validated, steps=fitted.steps, seconds=seconds
        )

    def _complete(self, part: _Part, trained: _Trained) -> _Trained:
        """Return the training with predictions of all parts; only what was chosen makes them."""
        if trained.model is None:
            return trained
        model = trained.model.to(find_device(self.experiment.device))
        train, test = (
            predict(model, self.task.tensor[torch.from_numpy(rows)])
            for rows in (part.rows, part.fold.test)
        )
        return replace(trained, model=None, train=train, test=test)

    def _outcome(self, part: _Part, trained: _Trained) -> Outcome:
        return Outcome(
            cell=part.cell,
            class_names=self.task.images.class_names,
            train=self._predictions(part.rows, trained.train),
            validation=self._predictions(part.fold.validation, trained.validation),
            test=self._predictions(part.fold.test, trained.test),
        )

    def _predictions(
        self, rows: NDArray[np.int64], probabilities: NDArray[np.float64] | None
    ) -> Predictions:
        """Return what is said of rows; NaN where nothing was asked."""
        images = self.task.images
        if probabilities is None:
            probabilities = np.full((len(rows), len(images.class_names)), np.nan)
        return Predictions(
            ids=tuple(images.ids[row] for row in rows.tolist()),
            groups=tuple(self.protocol.groups[row] for row in rows.tolist()),
            labels=images.labels[rows],
            probabilities=probabilities,
        )

    def _seed(self, purpose: int, cell: Cell) -> int:
        """Return a seed that varies with repeat and fold, and is the same for every arm."""
        entropy = [self.experiment.seed, cell.repeat, purpose, cell.fold]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 16)


def _record(choice: Choice) -> dict[str, Any]:
    """Return the choice as JSON takes it: numbers by ratio, None for what is not known."""
    ratios, error = (
        {
            f"{ratio:g}": None if math.isnan(value) else value
            for ratio, value in values.items()
            if ratio is not None
        }
        for values in (choice.scores, choice.errors)
    )
    return {"ratio": choice.ratio, "ratios": ratios, "error": error}
