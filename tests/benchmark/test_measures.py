"""Measures, against scikit-learn and by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn import metrics

from ganaug.benchmark.against_rest import OneClass, choose_threshold
from ganaug.benchmark.measures import MEASURES, measure, measure_one, weighed_measure
from ganaug.benchmark.outcomes import Cell, Outcome, Predictions
from ganaug.benchmark.prior import choose_weights
from ganaug.errors import ConfigError, DataError

NAMES = ("nv", "mel", "bcc")
# bins of calibration_error stay those of the images, however they are weighed
OF_COPIES = {name for name, about in MEASURES.items() if about.part == "test"} - {
    "calibration_error"
}


def predictions_of(labels, probabilities):
    ids = tuple(map(str, range(len(labels))))
    return Predictions(
        ids=ids,
        groups=ids,
        labels=np.array(labels, dtype=np.int64),
        probabilities=np.array(probabilities, dtype=float),
    )


def outcome_of(test, validation=None, train=None, names=NAMES):
    return Outcome(
        cell=Cell(arm="untreated", fraction=1.0, repeat=0, fold=1),
        class_names=names,
        train=train or test,
        validation=validation or test,
        test=test,
    )


def drawn(n, classes=3, seed=0, ties=True):
    """Predictions that are right more often than not, with probabilities that tie."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    powers = rng.gamma(1.0, size=(n, classes)) + np.eye(classes)[labels]
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    if ties:
        probabilities = np.round(probabilities, 1) + 0.01
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return predictions_of(labels, probabilities)


def binary(labels, scores):
    return predictions_of(labels, [[1 - score, score] for score in scores])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_measures_without_a_threshold_are_those_of_scikit_learn(classes, seed):
    test = drawn(60, classes, seed)
    found = measure(outcome_of(test, names=NAMES[:classes]))
    y, p = test.labels, test.probabilities
    one = np.eye(classes)[y]
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, p.argmax(1)))
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(one, p, average="macro"))
    assert found["auprc"] == pytest.approx(metrics.average_precision_score(one, p))
    assert found["brier"] == pytest.approx(
        ((p - one) ** 2).sum(axis=1).mean() / (2 if classes == 2 else 1)
    )
    for column, name in enumerate(NAMES[:classes]):
        auc = metrics.roc_auc_score(one[:, column], p[:, column])
        assert found[f"auroc:{name}"] == pytest.approx(auc)
        precision = metrics.average_precision_score(one[:, column], p[:, column])
        assert found[f"auprc:{name}"] == pytest.approx(precision)
        brier = metrics.brier_score_loss(one[:, column], p[:, column])
        assert found[f"brier:{name}"] == pytest.approx(brier)


def of_prior(predictions, prior):
    """What the same classifier would say, had it been trained at other frequencies."""
    powers = predictions.probabilities * np.array(prior)
    return dataclasses.replace(
        predictions, probabilities=powers / powers.sum(axis=1, keepdims=True)
    )


def trained_on(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return predictions_of(labels, np.eye(len(counts))[labels])


def test_balanced_accuracy_of_many_classes_is_of_the_most_probable_class_without_the_prior():
    test, validation, train = drawn(60), drawn(60, seed=1), trained_on(90, 9, 30)
    frequencies = np.array([90, 9, 30]) / 129

    def at(predictions, power):
        called = (predictions.probabilities / frequencies**power).argmax(1)
        return metrics.balanced_accuracy_score(predictions.labels, called)

    powers = np.arange(-2, 7) / 4
    on_validation = [at(validation, power) for power in powers]
    assert on_validation.count(max(on_validation)) == 1  # or the middle one would be asked for
    expected = at(test, powers[np.argmax(on_validation)])
    found = measure_one(outcome_of(test, validation, train), "balanced_accuracy")
    assert found == pytest.approx(expected)
    assert found != pytest.approx(at(test, 0))


def test_another_prior_alone_is_no_gain_in_balanced_accuracy():
    test, validation = (drawn(400, seed=seed, ties=False) for seed in (1, 2))
    counts = (100, 50, 10)
    train = trained_on(*counts)
    balanced = outcome_of(test, validation, train)
    untreated = outcome_of(of_prior(test, counts), of_prior(validation, counts), train)
    worse, better = (measure_one(each, "accuracy") for each in (untreated, balanced))
    assert better > worse + 0.1  # the images are of equally frequent classes
    expected = measure_one(balanced, "balanced_accuracy")
    assert measure_one(untreated, "balanced_accuracy") == pytest.approx(expected, abs=0.01)


def test_accuracy_stays_that_of_the_most_probable_class():
    test = drawn(60)
    given = outcome_of(test, train=trained_on(90, 9, 30))
    expected = metrics.accuracy_score(test.labels, test.probabilities.argmax(1))
    assert measure_one(given, "accuracy") == pytest.approx(expected)


def test_the_middle_one_of_equally_good_powers_is_chosen():
    labels = np.array([0, 1, 2])
    weights = choose_weights(labels, np.eye(3), np.array([8, 4, 0]))
    # No power changes what is certain: the middle is 0.5, and no image counts as one.
    assert weights == pytest.approx([1 / 8**0.5, 1 / 4**0.5, 1.0])
    assert choose_weights(labels[:0], np.eye(3)[:0], np.array([8, 4, 1])) is None


def test_a_class_without_validation_images_has_no_say_in_the_power():
    probabilities = np.array([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]])
    weights = choose_weights(np.array([0, 1]), probabilities, np.array([8, 8, 1]))
    assert np.isfinite(weights).all()


def test_balanced_accuracy_of_many_classes_is_unknown_without_validation_images():
    empty = predictions_of([], np.empty((0, 3)))
    given = dataclasses.replace(outcome_of(drawn(30)), validation=empty)
    assert np.isnan(measure_one(given, "balanced_accuracy"))
    assert np.isfinite(measure_one(given, "auroc"))


def test_accuracies_of_training_and_validation_are_of_their_images():
    train, validation, test = (drawn(40, seed=seed) for seed in (1, 2, 3))
    found = measure(outcome_of(test, validation, train))
    for name, part in (("train_accuracy", train), ("validation_accuracy", validation)):
        expected = metrics.accuracy_score(part.labels, part.probabilities.argmax(1))
        assert found[name] == pytest.approx(expected)
    assert len({found["accuracy"], found["train_accuracy"], found["validation_accuracy"]}) == 3


def test_figures_at_a_threshold_are_those_that_validation_images_choose():
    validation = binary([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.5, 0.7])
    # Youden: at 0.5, all of the class and 3 of 4 others: 0.4, midway between 0.5 and 0.3.
    test = binary([1, 1, 1, 1, 0, 0, 0, 0], [0.35, 0.45, 0.9, 0.1, 0.39, 0.41, 0.2, 0.3])
    found = measure(outcome_of(test, validation, names=("no", "yes")))
    assert found["sensitivity:yes"] == pytest.approx(2 / 4)
    assert found["specificity:yes"] == pytest.approx(3 / 4)
    assert found["balanced_accuracy:yes"] == pytest.approx(5 / 8)
    # F1 on validation: 4 / 5 at 0.4, 2 / 3 at 0.65; on test 2 hits of 3 called, of 4.
    assert found["f1:yes"] == pytest.approx(2 * 2 / (3 + 4))
    # Specificity 0.9 of four others is all of them: above 0.6, midway to 0.7.
    assert found["sensitivity_at_specificity:yes"] == pytest.approx(1 / 4)


def test_both_of_two_classes_count_in_the_figure_over_all():
    test, validation = drawn(40, 2, 1), drawn(40, 2, 2)
    found = measure(outcome_of(test, validation, names=("no", "yes")))
    for name in ("sensitivity", "specificity", "f1", "balanced_accuracy", "calibration_error"):
        assert found[name] == pytest.approx((found[f"{name}:no"] + found[f"{name}:yes"]) / 2)


def test_test_images_never_choose_their_own_threshold():
    validation, test = drawn(40, seed=1), drawn(40, seed=2)
    asked = "sensitivity_at_specificity:mel"
    high = test.probabilities.copy()
    high[:, 1] += 1.0  # with a threshold of its own, a shift of the scores would change nothing
    shifted = dataclasses.replace(test, probabilities=high)
    assert measure_one(outcome_of(test, validation), asked) < 1.0
    assert measure_one(outcome_of(shifted, validation), asked) == 1.0
    assert measure_one(outcome_of(shifted, validation), "specificity:mel") == 0.0


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("ties", [True, False])
def test_validation_images_have_the_wanted_specificity_and_no_lower_threshold_has(
    specificity, ties
):
    valid = drawn(200, seed=4, ties=ties)
    truth, scores = valid.labels == 1, valid.probabilities[:, 1]
    threshold = choose_threshold(OneClass(truth, scores), "specificity", specificity)
    assert (scores[~truth] < threshold).mean() >= specificity
    next_lower = scores[scores < threshold].max()
    assert (scores[~truth] < next_lower).mean() < specificity


@pytest.mark.parametrize(("rule", "score"), [("both", "youden"), ("f1", "f1")])
def test_no_threshold_is_better_on_validation_images(rule, score):
    valid = drawn(80, seed=5)
    truth, scores = valid.labels == 2, valid.probabilities[:, 2]

    def worth(threshold):
        called = scores >= threshold
        if score == "f1":
            return metrics.f1_score(truth, called)
        return called[truth].mean() - called[~truth].mean()

    chosen = choose_threshold(OneClass(truth, scores), rule, 0.9)
    assert worth(chosen) == pytest.approx(max(worth(threshold) for threshold in scores))


def test_a_threshold_between_neighbouring_floats_keeps_the_lower_one_out():
    low = 0.5
    high = np.nextafter(low, 1.0)
    valid = OneClass(np.array([False, True]), np.array([low, high]))
    assert low < choose_threshold(valid, "both", 0.9) <= high


def test_calibration_error_is_the_mean_gap_of_bins_of_equally_many_images():
    scores = np.linspace(0.01, 0.99, 20)
    labels = np.zeros(20, dtype=int)
    labels[[3, 12, 16, 17, 18, 19]] = 1
    gaps = [abs(scores[at : at + 2].mean() - labels[at : at + 2].mean()) for at in range(0, 20, 2)]
    order = np.random.default_rng(0).permutation(20)
    test = binary(labels[order], scores[order])
    found = measure_one(outcome_of(test, names=("no", "yes")), "calibration_error:yes")
    assert found == pytest.approx(np.mean(gaps))


def test_calibration_error_does_not_depend_on_the_order_of_equal_probabilities():
    labels = np.array([0, 1] * 10)
    for order in (labels, np.sort(labels)):
        test = binary(order, [0.5] * 20)
        found = measure_one(outcome_of(test, names=("no", "yes")), "calibration_error")
        assert found == pytest.approx(0.0)


def test_calibration_error_weighs_images_in_the_bins_that_they_have():
    test = binary([0, 1, 0, 1], [0.1, 0.2, 0.8, 0.9])  # four images, four bins
    given = outcome_of(test, names=("no", "yes"))
    found = weighed_measure(given, "calibration_error:yes")(np.array([[1.0, 2.0, 0.0, 1.0]]))
    assert found[0] == pytest.approx((0.1 + 2 * 0.8 + 0.1) / 4)


def test_a_class_without_test_images_is_nan_and_left_out_of_means():
    test = predictions_of([0, 0, 1, 1], [[0.6, 0.3, 0.1]] * 2 + [[0.2, 0.7, 0.1]] * 2)
    found = measure(outcome_of(test, drawn(30)))
    for name, about in MEASURES.items():
        assert not np.isnan(found[name]), name
        if about.per_class:
            assert np.isnan(found[f"{name}:bcc"]), name
    assert found["auroc"] == pytest.approx((found["auroc:nv"] + found["auroc:mel"]) / 2)
    assert found["balanced_accuracy"] == 1.0


def test_a_class_without_validation_images_has_no_threshold():
    validation = predictions_of([0, 0, 1], [[0.6, 0.3, 0.1]] * 2 + [[0.2, 0.7, 0.1]])
    found = measure(outcome_of(drawn(30), validation))
    assert np.isnan(found["sensitivity:bcc"])
    assert np.isfinite(found["auroc:bcc"])
    assert np.isfinite(found["sensitivity"])


@pytest.mark.parametrize("name", sorted(OF_COPIES))
@pytest.mark.parametrize("classes", [2, 3])
def test_a_weight_is_as_good_as_copies(name, classes):
    test, validation = drawn(50, classes, 6), drawn(50, classes, 7)
    rng = np.random.default_rng(8)
    weights = rng.integers(0, 4, size=(5, 50)).astype(float)
    weights[0] = 1.0
    given = outcome_of(test, validation, names=NAMES[:classes])
    found = weighed_measure(given, name)(weights)
    for value, copies in zip(found, weights.astype(int), strict=True):
        rows = np.repeat(np.arange(50), copies)
        copied = predictions_of(test.labels[rows], test.probabilities[rows])
        expected = measure_one(dataclasses.replace(given, test=copied), name)
        assert value == pytest.approx(expected, abs=1e-12)


def test_every_measure_is_there_once_and_of_each_class():
    found = measure(outcome_of(drawn(30)))
    assert set(MEASURES) <= set(found)
    of_classes = {name.partition(":")[2] for name in found if ":" in name}
    assert of_classes == set(NAMES)
    assert "accuracy:nv" not in found
    assert all(isinstance(value, float) for value in found.values())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aurocc", "There is no measure 'aurocc'.*Did you mean 'auroc'?"),
        ("auroc:mell", "There is no class 'mell'.*nv, mel, bcc.*Did you mean 'mel'?"),
        ("accuracy:mel", "'accuracy' is of all classes at once"),
    ],
)
def test_an_unknown_measure_is_an_error_that_lists_the_choices(name, message):
    with pytest.raises(ConfigError, match=message):
        measure_one(outcome_of(drawn(30)), name)


def test_probabilities_that_are_not_finite_are_an_error_that_names_the_cell():
    test = drawn(30)
    test.probabilities[3, 1] = np.nan
    with pytest.raises(DataError, match="untreated/1/0/1 are not finite"):
        measure(outcome_of(test))
