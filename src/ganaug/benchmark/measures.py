"""What a classifier is worth, in numbers, per class and over all classes.

Every measure is computed for many weightings of the images at once, since the bootstrap weighs them
a thousand times, and scikit-learn's take one weighting at a time; weights of one are the measure
itself. Operating thresholds are chosen on the validation images, whatever is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganaug.benchmark.against_rest import OneClass, against_rest, choose_threshold
from ganaug.benchmark.prior import choose_weights
from ganaug.benchmark.weighing import Weighed, mean_over, undefined
from ganaug.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from ganaug.benchmark.outcomes import Outcome, Predictions

__all__ = [
    "MEASURES",
    "Measure",
    "check_compared",
    "check_measure",
    "decide",
    "measure",
    "measure_one",
    "weighed_measure",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a measure says, and which way is better.

    part: the images that it is of. per_class: whether there is one of each class, too, as
    ``NAME:CLASS``. highest: what it can be at most; at least it is 0.
    """

    summary: str
    higher_is_better: bool = True
    highest: float = 1.0
    part: str = "test"
    per_class: bool = True


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "accuracy": Measure(
            summary="share of images whose most probable class is the right one",
            per_class=False,
        ),
        "train_accuracy": Measure(
            summary="accuracy on the training images", part="train", per_class=False
        ),
        "validation_accuracy": Measure(
            summary="accuracy on the validation images", part="validation", per_class=False
        ),
        "balanced_accuracy": Measure(
            summary="share of each class's images whose most probable class is the right one, "
            "averaged over classes, once as much of the classes' frequencies in training is taken "
            "out of the probabilities as does best on validation images; of two classes, and of "
            "one class against the rest, the mean of sensitivity and specificity",
        ),
        "auroc": Measure(
            summary="chance that an image of the class is given a higher probability than "
            "another one"
        ),
        "auprc": Measure(summary="average precision: precision, averaged over recall"),
        "f1": Measure(
            summary="harmonic mean of precision and sensitivity, at the threshold where it is "
            "best on validation images"
        ),
        "brier": Measure(
            summary="squared distance of the probabilities from the truth, summed over classes "
            "(Brier 1950); halved for two classes",
            higher_is_better=False,
            highest=2.0,
        ),
        "calibration_error": Measure(
            summary="mean distance between probability and frequency, in ten bins of equally "
            "many images",
            higher_is_better=False,
        ),
        "sensitivity": Measure(
            summary="share of the class's images found, at the threshold where sensitivity and "
            "specificity add up to most on validation images",
        ),
        "specificity": Measure(
            summary="share of the other classes' images left out, at the threshold of sensitivity"
        ),
        "sensitivity_at_specificity": Measure(
            summary="share of the class's images found, at the lowest threshold whose specificity "
            "on validation images is the wanted one"
        ),
    }
)


def measure(outcome: Outcome, *, specificity: float = 0.9) -> dict[str, float]:
    """Return every measure of an outcome by name: over all classes first, then ``NAME:CLASS``.

    specificity: wanted on validation images, for sensitivity_at_specificity; on test images it
    comes out as it comes out.

    Classes are taken one against the rest, and a figure over all of them is the mean over those
    that have test images (and other images among them). Exceptions: "accuracy" goes by the most
    probable class; "balanced_accuracy" of three or more classes does so once the probability of
    class c is divided by the share of c among the real training images to the power of a; "brier"
    is the sum over classes. Two classes are treated alike, so that the figure over both says as
    much of the second as of the first: that of the positive class stands under its own name, such
    as "sensitivity:melanoma".

    Thresholds of "sensitivity", "specificity", "f1", "sensitivity_at_specificity" and
    "balanced_accuracy:CLASS" are chosen on the validation images, for each class; they lie midway
    between two neighbouring validation probabilities. An image is called positive when its
    probability reaches the threshold. The power a, between -0.5 and 1.5, is chosen on them, too:
    the one with the best balanced accuracy (see `ganaug.benchmark.prior`). So a change of the
    classes' frequencies in training, which moves all thresholds, is no gain by itself.

    NaN: the class has no test images or no others, or, where there is a threshold, no validation
    images or no others; for the power, no validation images at all. Raises DataError when
    probabilities are not finite.
    """
    names = [*MEASURES]
    names += [
        f"{name}:{class_name}"
        for name, about in MEASURES.items()
        if about.per_class
        for class_name in outcome.class_names
    ]
    return {name: measure_one(outcome, name, specificity=specificity) for name in names}


def measure_one(outcome: Outcome, name: str, *, specificity: float = 0.9) -> float:
    """Return one measure of an outcome; as `measure` does, and quicker for one."""
    about = check_measure(name, outcome.class_names)
    once = np.ones((1, len(getattr(outcome, about.part))))
    return float(weighed_measure(outcome, name, specificity=specificity)(once)[0])


def decide(outcome: Outcome) -> NDArray[np.int64]:
    """Return the class that each test image is taken for, int64 (N,).

    Of two classes, the rarer in training at its threshold of "sensitivity", and the other one
    below it. Of more, as "balanced_accuracy" has it: the most probable one, once as much of the
    classes' frequencies in training is taken out of the probabilities as does best on validation
    images. The most probable one, where there are none of these.
    """
    valid, test = outcome.validation, outcome.test
    counts = np.bincount(outcome.train.labels, minlength=len(outcome.class_names))
    if len(counts) == 2:
        rarer = int(counts.argmin())
        of_rarer = OneClass(valid.labels == rarer, valid.probabilities[:, rarer])
        threshold = choose_threshold(of_rarer, "both", specificity=0.0)
        if not np.isnan(threshold):
            return np.where(test.probabilities[:, rarer] >= threshold, rarer, 1 - rarer)
    weights = choose_weights(valid.labels, valid.probabilities, counts)
    weighed = test.probabilities if weights is None else test.probabilities * weights
    return np.asarray(weighed.argmax(axis=1), dtype=np.int64)


def check_measure(name: str, class_names: Sequence[str]) -> Measure:
    """Return what is known of ``NAME`` or ``NAME:CLASS``.

    Raises ConfigError when there is no such measure or class.
    """
    base, colon, class_name = name.partition(":")
    if base not in MEASURES:
        raise ConfigError(
            f"There is no measure {base!r}; choose from {', '.join(MEASURES)}."
            f"{nearest(base, MEASURES)}"
        )
    if not colon:
        return MEASURES[base]
    if not MEASURES[base].per_class:
        raise ConfigError(f"{base!r} is of all classes at once; got {name!r}.")
    if class_name not in class_names:
        raise ConfigError(
            f"There is no class {class_name!r} for the measure {name!r}; "
            f"choose from {', '.join(class_names)}.{nearest(class_name, class_names)}"
        )
    return MEASURES[base]


def check_compared(name: str) -> None:
    """Raise ConfigError for a measure that arms cannot be compared by, as it is of other images."""
    about = MEASURES.get(name.partition(":")[0])
    if about is not None and about.part != "test":
        raise ConfigError(
            f"{name!r} is not of test images, and arms are compared on those; choose from "
            f"{', '.join(each for each, its in MEASURES.items() if its.part == 'test')}."
        )


def weighed_measure(outcome: Outcome, name: str, *, specificity: float = 0.9) -> Weighed:
    """Return the measure as a function of the weights of the images that it is of.

    The function takes float64 (B, N), N images weighed in B ways, and returns float64 (B,): the
    measure of N images in each of which as many stand as it weighs. Thresholds, the power of
    "balanced_accuracy" and bins do not depend on the weights. Raises ConfigError for an unknown
    measure.
    """
    about = check_measure(name, outcome.class_names)
    base, _, class_name = name.partition(":")
    predictions: Predictions = getattr(outcome, about.part)
    for part in (predictions, outcome.validation):
        if not np.isfinite(part.probabilities).all():
            raise DataError(
                f"Predictions of cell {outcome.cell.key} are not finite; its classifier has "
                "diverged. Lower the learning rate."
            )
    if class_name:
        return _of_class(outcome, base, outcome.class_names.index(class_name), specificity)
    if base.endswith("accuracy") and base != "balanced_accuracy":
        right = predictions.probabilities.argmax(axis=1) == predictions.labels
        return mean_over(right, np.ones(len(right), dtype=bool))
    columns = range(len(outcome.class_names))
    if base == "balanced_accuracy" and len(columns) > 2:
        return _balanced_accuracy(outcome)
    if base == "brier":
        return _brier(predictions.probabilities, predictions.labels)
    return _mean([_of_class(outcome, base, column, specificity) for column in columns])


def _mean(functions: Sequence[Weighed]) -> Weighed:
    """Return the mean of those that are known."""

    def mean(weights: Floats) -> Floats:
        values = np.stack([function(weights) for function in functions])
        known = np.isfinite(values)
        with np.errstate(invalid="ignore"):  # where none is known, 0 / 0 is the NaN that we want
            return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))

    return mean


def _balanced_accuracy(outcome: Outcome) -> Weighed:
    """Return the mean share that is found of three or more classes."""
    if not len(outcome.validation):
        return undefined
    labels, right = outcome.test.labels, decide(outcome) == outcome.test.labels
    columns = range(len(outcome.class_names))
    return _mean([mean_over(right, labels == column) for column in columns])


def _brier(probabilities: Floats, labels: NDArray[np.int64]) -> Weighed:
    """Return the squared distance from the truth; halved for two classes, as scikit-learn does."""
    classes = probabilities.shape[1]
    distance = ((probabilities - np.eye(classes)[labels]) ** 2).sum(axis=1)
    return mean_over(distance / 2 if classes == 2 else distance, np.ones(len(labels), dtype=bool))


def _of_class(outcome: Outcome, base: str, column: int, specificity: float) -> Weighed:
    """Return a measure of one class against the rest."""
    test, valid = outcome.test, outcome.validation
    return against_rest(
        base,
        OneClass(test.labels == column, test.probabilities[:, column]),
        OneClass(valid.labels == column, valid.probabilities[:, column]),
        specificity,
    )
