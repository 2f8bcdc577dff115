"""What every study promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from ganaug.benchmark.checks import check_budget, check_study
from ganaug.benchmark.classifiers import build_classifier
from ganaug.benchmark.classify import TrainingSet, predict, train_classifier
from ganaug.benchmark.generators import make_recipe
from ganaug.benchmark.measures import check_measure
from ganaug.errors import ShapeError
from ganaug.registry import Registry
from ganaug.scoring import build_evaluator
from ganaug.spec import ImageSpec
from ganaug.study import Arm, Study
from ganaug.testing.checks import check_table, expect
from ganaug.testing.extractors import as_batch
from ganaug.testing.images import example_images

__all__ = ["CHECKS", "StudySubject"]

CHECKS, _check = check_table()

_SIZE, _STEPS = 32, 3


@dataclass
class StudySubject:
    """A study under test."""

    record: Study

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of its task, or three where it takes what there is."""
        classes = self.record.classes
        return tuple(dict.fromkeys(classes.values())) if classes else ("a", "b", "c")

    def training_set(self) -> TrainingSet:
        """Return a few images of each class, every third of them called synthetic."""
        channels = self.record.channels or 3
        spec = ImageSpec(channels=channels, height=_SIZE, width=_SIZE, class_names=self.class_names)
        images = example_images(spec, n=12 * len(self.class_names))
        return TrainingSet(
            images=as_batch(images),
            labels=torch.from_numpy(images.labels),
            is_synthetic=torch.arange(len(images)) % 3 == 0,
        )


@_check
def plain_data(subject: StudySubject) -> None:
    """It is data alone, as JSON takes it, so that results can say what they follow from."""
    try:
        json.dumps(asdict(subject.record))
    except TypeError as error:
        expect(False, f"it holds something that is no data: {error}")


@_check
def says_what_it_is(subject: StudySubject) -> None:
    """It and its arms have summaries."""
    study = subject.record
    summaries = {study.name: study.summary, **{arm.name: arm.summary for arm in study.arms}}
    nameless = [name for name, summary in summaries.items() if not summary]
    expect(not nameless, f"there is no summary of {', '.join(nameless)}")


@_check
def fields_that_can_be_run(subject: StudySubject) -> None:
    """Its fields, both budgets, and the names in them are valid: classifier, measure, extras, rare.

    Without classes, which of them are rare is left to the images.
    """
    study = subject.record
    expect(
        isinstance(study.classical, Mapping),
        f"classical is {study.classical!r}; expected arguments by name, such as {{'rotation': 15}}",
    )
    check_study(study)
    for budget in (study.small, study.full):
        check_budget(budget, 0)
    _build_classifier(subject)
    check_measure(study.measure, subject.class_names)
    for text in study.extras:
        build_evaluator(text, None, Registry.load())
    repeated = len(set(study.extras)) < len(study.extras)
    expect(not repeated, f"extras has a metric twice: {', '.join(study.extras)}")
    if study.classes is not None:
        unknown = set(study.rare) - set(subject.class_names)
        expect(not unknown, f"rare names classes that its task has not: {', '.join(unknown)}")


def _build_classifier(subject: StudySubject) -> None:
    """Build its classifier, for images of some size and channels where the study has none."""
    study = subject.record
    size, channels = study.size or _SIZE, study.channels or 3
    try:
        build_classifier(study.classifier, channels, size, len(subject.class_names), 0)
    except ShapeError:
        if study.size and study.channels:  # otherwise images may come that it can take
            raise


@_check
def a_generator_that_there_is(subject: StudySubject) -> None:
    """Its generator is installed; settings, conditioning and filters hold in both budgets."""
    study = subject.record
    if any(arm.needs_generator for arm in study.arms):
        for budget in (study.small, study.full):
            make_recipe(study, budget, Registry.load())


@_check
def none_can_be_chosen(subject: StudySubject) -> None:
    """Ratio 0 is among the candidates, so that it can say: do not use synthetic images."""
    expect(0 in subject.record.ratios, f"its ratios are {subject.record.ratios}; add 0")


@_check
def arms_differ(subject: StudySubject) -> None:
    """No two arms do the same."""
    seen: dict[tuple[object, ...], str] = {}
    for arm in subject.record.arms:
        does = tuple(v for k, v in asdict(arm).items() if k not in ("name", "summary"))
        other = seen.setdefault(does, arm.name)
        expect(other == arm.name, f"the arms {other!r} and {arm.name!r} do the same")


@_check
def arms_run(subject: StudySubject) -> None:
    """A classifier can be trained by every arm."""
    for arm in subject.record.arms:
        try:
            _run(subject, arm)
        except Exception as error:
            expect(False, f"the arm {arm.name!r} raised {type(error).__name__}: {error}")


def _run(subject: StudySubject, arm: Arm) -> None:
    train = subject.training_set()
    classes = len(subject.class_names)
    model = build_classifier("small-cnn", train.images.shape[1], _SIZE, classes, 0)
    fitted = train_classifier(
        model,
        arm,
        train,
        (train.images, train.labels),
        steps=_STEPS,
        batch_size=8,
        learning_rate=subject.record.learning_rate,
        classical=subject.record.classical,
        seed=0,
    )
    found = predict(fitted.model, train.images)
    expect(found.shape == (len(train.images), classes), f"predictions have shape {found.shape}")
