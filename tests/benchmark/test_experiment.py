import os
import pickle
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.experiments import BUDGET, STUDY, blobs, linear
from ganaug.benchmark import experiment as experiment_module
from ganaug.benchmark import workspace
from ganaug.benchmark.classify import Fitted
from ganaug.benchmark.experiment import Experiment
from ganaug.benchmark.outcomes import Cell
from ganaug.errors import ConfigError, DataError, RunError, ShapeError, UnknownPluginError
from ganaug.study import ARMS, Study


def make_experiment(out, images=None, **changes):
    options = {"study": STUDY, "budget": BUDGET, "classifier": linear, "device": "cpu", **changes}
    return Experiment.of(blobs() if images is None else images, out=out, **options)


def scaled(channels, size, classes, *, factor):
    """Return a classifier with an argument of its own."""
    model = linear(channels, size, classes)
    model[1].weight.data *= factor
    return model


def cell_of(arm, fold=0, repeat=0, fraction=1.0):
    return Cell(arm=arm, fraction=fraction, repeat=repeat, fold=fold)


def study_of(*names, **changes):
    return replace(STUDY, arms=tuple(ARMS[name] for name in names), **changes)


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Let nothing be known of earlier experiments, as in a new process."""
    monkeypatch.setattr(experiment_module, "_last", {})


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder that all experiments of this file share, so that a generator is trained once."""
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def outcome(out):
    return make_experiment(out).run(cell_of("classical+synthetic"))


def same(one, other):
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(one, part), getattr(other, part)
        if ours.ids != theirs.ids or not np.array_equal(ours.probabilities, theirs.probabilities):
            return False
    return True


# --- outcomes ---------------------------------------------------------------------------------


def test_an_outcome_has_predictions_of_real_rows_of_every_part(outcome):
    images = blobs()
    parts = (outcome.train, outcome.validation, outcome.test)
    assert sorted(id_ for part in parts for id_ in part.ids) == sorted(images.ids)
    assert outcome.class_names == ("common", "rare", "rarer")
    truth = dict(zip(images.ids, np.array([0, 0, 1, 2])[images.labels], strict=True))
    for part in parts:
        assert part.labels.tolist() == [truth[id_] for id_ in part.ids]
        assert part.probabilities.shape == (len(part), 3)
        assert part.probabilities.sum(axis=1) == pytest.approx(1)
        assert part.groups == part.ids


def test_details_say_which_ratio_was_chosen_by_which_scores(outcome):
    details = outcome.details
    assert list(details["ratios"]) == ["0", "0.5", "1"]
    assert details["ratios"][f"{details['ratio']:g}"] == max(details["ratios"].values())
    assert details["seconds"] > 0
    assert 1 <= details["steps"] <= BUDGET.steps
    assert details["generator"]["memorised"] == []


def test_the_same_cell_gives_the_same_outcome_whatever_ran_before(outcome, out):
    experiment = pickle.loads(pickle.dumps(make_experiment(out)))
    for cell in (cell_of("classical", fold=1), cell_of("classical")):
        experiment.run(cell)
    assert same(outcome, experiment.run(cell_of("classical+synthetic")))


def test_another_seed_gives_other_folds_and_other_weights(out):
    one, other = (make_experiment(out, seed=seed).run(cell_of("classical")) for seed in (0, 1))
    assert one.test.ids != other.test.ids


def test_another_process_needs_no_more_than_the_pickle(tmp_path, monkeypatch):
    """Nor the working directory: that of a Dask worker is another one."""
    monkeypatch.chdir(tmp_path)
    images = blobs()
    np.savez(
        tmp_path / "blobs.npz",
        images=np.asarray(images.pixels)[:, 0],
        labels=images.labels,
        class_names=images.class_names,
    )
    study = study_of("classical")
    experiment = make_experiment("out", "blobs.npz", study=study)
    content = pickle.dumps(experiment)
    assert len(content) < 5_000
    (tmp_path / "experiment").write_bytes(content)
    code = (
        "import pickle, sys, torch; torch.set_num_threads(1); from pathlib import Path;"
        "experiment = pickle.loads(Path(sys.argv[1], 'experiment').read_bytes());"
        "outcome = experiment.run(experiment.cells[0]);"
        "print(experiment.fingerprint, outcome.test.ids[0], len(outcome.test))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    tests = str(Path(__file__).parents[1])  # where the classifier is
    process = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=tmp_path.parent,
        env={**os.environ, "PYTHONPATH": tests},
    )
    found = process.stdout.split()
    here = experiment.run(experiment.cells[0])
    assert found == [experiment.fingerprint, here.test.ids[0], str(len(here.test))]


# --- fairness ---------------------------------------------------------------------------------


@pytest.fixture
def trainings(monkeypatch):
    """What every training of a classifier was given; none of them changes the model."""
    found = []

    def train(model, arm, train, validation, **options):
        weights = [parameter.detach().clone() for parameter in model.parameters()]
        found.append((arm, train, weights, options))
        return Fitted(model=model, steps=options["steps"], score=0.0, history=())

    monkeypatch.setattr(workspace, "train_classifier", train)
    return found


def test_every_arm_has_the_same_real_images_weights_steps_and_seed(trainings, outcome, out):
    experiment = make_experiment(out, study=study_of("untreated", "oversample", "synthetic"))
    for arm in ("untreated", "oversample", "synthetic"):
        experiment.run(cell_of(arm))
    first, *others = trainings
    assert len(others) == 3
    for _, train, weights, options in others:
        assert torch.equal(train.images[~train.is_synthetic], first[1].images)
        assert all(torch.equal(a, b) for a, b in zip(weights, first[2], strict=True))
        assert options == first[3]


def test_a_smaller_ratio_has_the_first_images_of_a_larger_one(trainings, outcome, out):
    make_experiment(out).run(cell_of("classical+synthetic"))
    none, half, full = (train for _, train, *_ in trainings)
    assert not none.is_synthetic.any()
    for index, expected in ((0, 0), (1, 8), (2, 8)):
        fewer, more = (
            train.images[train.is_synthetic & (train.labels == index)] for train in (half, full)
        )
        assert (len(fewer), len(more)) == (expected / 2, expected)
        assert torch.equal(fewer, more[: len(fewer)])


def test_ratio_zero_is_the_training_of_the_arm_without_synthetic_images(trainings, outcome, out):
    experiment = make_experiment(out)
    plain = experiment.run(cell_of("classical"))
    assert plain.details["ratio"] is None
    experiment.run(cell_of("classical+synthetic"))
    assert [int(train.is_synthetic.sum()) for _, train, *_ in trainings] == [0, 8, 16]


def test_ratio_zero_wins_ties_and_has_no_synthetic_image(trainings, outcome, out):
    # no training changes anything here, so that all ratios do equally well
    found = make_experiment(out).run(cell_of("classical+synthetic"))
    assert len(set(found.details["ratios"].values())) == 1
    assert found.details["ratio"] == 0
    assert found.details["synthetic"] == {}


def graded(monkeypatch, better):
    """Let classifiers be right as often on validation images as `better` says, on others never."""

    def train(model, arm, train, validation, **options):
        model.synthetic, model.validation = int(train.is_synthetic.sum()), validation
        return Fitted(model=model, steps=1, score=0.0, history=())

    def predict(model, images):
        right = np.zeros(len(images), dtype=bool)
        labels = np.zeros(len(images), dtype=int)
        if torch.equal(images, model.validation[0]):
            labels = model.validation[1].numpy()
            right[: round(better(model.synthetic) * len(images))] = True
        return np.eye(3)[np.where(right, labels, (labels + 1) % 3)]

    monkeypatch.setattr(workspace, "train_classifier", train)
    monkeypatch.setattr(workspace, "predict", predict)


@pytest.mark.parametrize(("better", "ratio", "added"), [
    (lambda n: n / 16, 1.0, {"rare": 8, "rarer": 8}),
    (lambda n: 0.9 if n == 8 else 0.5, 0.5, {"rare": 4, "rarer": 4}),
    (lambda n: 1 - n / 16, 0.0, {}),
])  # fmt: skip
def test_the_ratio_is_what_does_best_on_validation_images(
    monkeypatch, outcome, out, better, ratio, added
):
    graded(monkeypatch, better)
    found = make_experiment(out, seed=0).run(cell_of("classical+synthetic"))
    assert found.details["ratio"] == ratio
    assert found.details["synthetic"] == added


def test_a_gain_that_is_within_one_standard_error_adds_no_synthetic_image(
    monkeypatch, outcome, out
):
    graded(monkeypatch, lambda n: 0.5 + 0.07 * (n == 16))  # one image more of 8 or so
    details = make_experiment(out).run(cell_of("classical+synthetic")).details
    gain = details["ratios"]["1"] - details["ratios"]["0"]
    assert 0 < gain <= details["error"]["1"]
    assert details["ratio"] == 0
    assert (details["error"]["0.5"], list(details["error"])) == (0, ["0.5", "1"])


def test_models_of_ratios_that_lose_are_asked_about_validation_images_alone(
    monkeypatch, outcome, out
):
    graded(monkeypatch, lambda n: n / 16)
    asked, answer = [], workspace.predict

    def predict(model, images):
        asked.append((model.synthetic, len(images)))
        return answer(model, images)

    monkeypatch.setattr(workspace, "predict", predict)
    found = make_experiment(out).run(cell_of("classical+synthetic"))
    sizes = [len(found.train), len(found.validation), len(found.test)]
    assert [n for synthetic, n in asked if synthetic == 8] == [sizes[1]]
    assert sorted(n for synthetic, n in asked if synthetic == 16) == sorted(sizes)
    assert all(np.isfinite(part.probabilities).all() for part in (found.train, found.test))


def test_ratios_that_come_to_the_same_images_are_trained_once(trainings, outcome, out):
    study = replace(STUDY, ratios=(0.0, 0.01, 0.5, 0.501))
    details = make_experiment(out, study=study).run(cell_of("classical+synthetic")).details
    assert [int(train.is_synthetic.sum()) for _, train, *_ in trainings] == [0, 8]
    assert list(details["ratios"]) == ["0", "0.01", "0.5", "0.501"]
    assert details["ratios"]["0.5"] == details["ratios"]["0.501"]


def test_a_measure_that_is_better_when_lower_is_chosen_by_its_lowest(monkeypatch, outcome, out):
    graded(monkeypatch, lambda n: n / 16)
    study = replace(STUDY, measure="brier")
    found = make_experiment(out, study=study).run(cell_of("classical+synthetic"))
    assert found.details["ratio"] == 1.0
    assert found.details["ratios"]["1"] == 0


def test_generators_see_training_rows_alone(outcome, out):
    from ganaug.splits import read_splits

    run = out / "generators" / outcome.details["generator"]["run"]
    assert set(read_splits(run / "splits.csv")) == set(outcome.train.ids)


def test_arms_share_a_generator_and_folds_do_not(outcome, out, trainings):
    study = study_of("classical", "synthetic", "classical+synthetic")
    before = {path.name for path in (out / "generators").iterdir()}
    found = make_experiment(out, study=study).run(cell_of("synthetic"))
    assert {path.name for path in (out / "generators").iterdir()} == before
    assert found.details["generator"] == outcome.details["generator"]


def test_synthetic_images_alone_are_of_every_class_or_none(monkeypatch, tmp_path):
    from ganaug.benchmark.generators import Drawn

    images = blobs()
    drawn = Drawn(
        pixels={i: np.asarray(images.pixels)[:40] for i in range(3)},
        value_range=images.value_range,
        details={},
    )
    monkeypatch.setattr(workspace, "provide", lambda _, folder: SimpleNamespace(path=folder))
    monkeypatch.setattr(workspace, "draw", lambda *_: drawn)
    experiment = make_experiment(tmp_path, study=study_of("synthetic-only"))
    found = experiment.run(cell_of("synthetic-only"))
    assert found.details["synthetic"] == {"common": 16, "rare": 8, "rarer": 8}
    assert found.details["ratio"] is None
    empty = replace(drawn, pixels={i: np.asarray(images.pixels)[:0] for i in range(3)})
    monkeypatch.setattr(workspace, "draw", lambda *_: empty)
    again = make_experiment(tmp_path / "again", study=study_of("synthetic-only"))
    with pytest.raises(DataError, match="synthetic"):
        again.run(cell_of("synthetic-only"))


# --- cells and fingerprint --------------------------------------------------------------------


def test_cells_are_every_arm_fraction_repeat_and_fold(tmp_path):
    budget = replace(BUDGET, fractions=(0.5, 1.0), repeats=2)
    cells = make_experiment(tmp_path, budget=budget).cells
    assert len(set(cells)) == len(cells) == 2 * 2 * 2 * 2
    assert cells[0] == cell_of("classical", fraction=0.5)


def test_a_cell_of_a_fraction_trains_on_fewer_rows_and_tests_on_the_same(tmp_path):
    budget = replace(BUDGET, fractions=(0.5, 1.0))
    experiment = make_experiment(tmp_path, budget=budget, study=study_of("untreated"))
    half, full = (experiment.run(cell_of("untreated", fraction=f)) for f in (0.5, 1.0))
    assert set(half.train.ids) < set(full.train.ids)
    assert (half.test.ids, half.validation.ids) == (full.test.ids, full.validation.ids)


def test_a_cell_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="mixup/1/0/0"):
        make_experiment(tmp_path).run(cell_of("mixup"))


@pytest.mark.parametrize("changes", [
    {"seed": 1},
    {"classifier": "small-cnn"},
    {"budget": replace(BUDGET, steps=5)},
    {"study": replace(STUDY, ratios=(0.0, 0.5))},
    {"images": blobs(92)},
])  # fmt: skip
def test_the_fingerprint_changes_with_what_outcomes_follow_from(tmp_path, changes):
    kept = make_experiment(tmp_path)
    assert make_experiment(tmp_path, **changes).fingerprint != kept.fingerprint


def test_a_classifier_that_is_a_function_is_known_by_its_code_and_its_arguments(
    tmp_path, monkeypatch
):
    def fingerprint(classifier):
        return make_experiment(tmp_path, classifier=classifier).fingerprint

    one, two = partial(scaled, factor=1.0), partial(scaled, factor=2.0)
    kept = fingerprint(one)
    assert fingerprint(partial(scaled, factor=1.0)) == kept != fingerprint(two)
    monkeypatch.setattr(experiment_module.inspect, "getsource", lambda code: "other code")
    assert fingerprint(one) != kept


def test_a_process_with_another_kind_of_device_computes_nothing(tmp_path, monkeypatch):
    experiment = make_experiment(tmp_path)
    assert experiment.facts["computes on"].startswith("cpu, ")
    monkeypatch.setattr(experiment_module, "describe_device", lambda name: "cuda, an H100, bf16")
    with pytest.raises(RunError, match=r"This process computes on cuda, an H100, bf16, .*--device"):
        experiment.run(experiment.cells[0])
    assert make_experiment(tmp_path).fingerprint != experiment.fingerprint


def test_conditioning_that_a_study_leaves_open_is_said(tmp_path):
    def conditioning(*names, **changes):
        return make_experiment(tmp_path, study=study_of(*names, **changes)).study.conditioning

    assert conditioning("untreated") is None
    assert conditioning("untreated", "synthetic") == "pretrain-finetune"
    assert conditioning("untreated", "synthetic-only") == "conditional"
    assert conditioning("untreated", "synthetic", conditioning="per-class") == "per-class"


def test_arms_are_no_part_of_it_and_with_them_comes_what_they_share(tmp_path):
    def arms_of(*names):
        experiment = make_experiment(tmp_path, study=study_of(*names))
        assert experiment.fingerprint == kept
        return experiment.origin.arms

    kept = make_experiment(tmp_path).fingerprint
    one = arms_of("untreated", "synthetic")
    more = arms_of("untreated", "synthetic", "mixup", "classical+synthetic")
    assert {name: more[name] for name in one} == one
    assert one["synthetic"]["images"]["classes"] == ["rare", "rarer"]
    assert "images" not in one["untreated"]
    other = arms_of("untreated", "synthetic", "synthetic-only")
    assert other["untreated"] == one["untreated"]
    assert other["synthetic"] != one["synthetic"]


def test_the_fingerprint_changes_with_one_pixel_and_not_with_the_place(tmp_path):
    images = blobs()
    pixels = np.array(images.pixels)
    pixels[0, 0, 0, 0] ^= 1
    kept = make_experiment(tmp_path).fingerprint
    assert make_experiment(tmp_path, replace(images, pixels=pixels)).fingerprint != kept
    changes = {
        "study": replace(STUDY, summary="Other words.", paper="A paper"),
        "budget": replace(BUDGET, repeats=3, fractions=(0.5, 1.0)),
    }
    assert make_experiment(tmp_path / "elsewhere", **changes).fingerprint == kept


def test_images_that_changed_since_are_refused(tmp_path):
    experiment = make_experiment(tmp_path, study=study_of("untreated"))
    changed = replace(experiment, source=blobs(92))
    with pytest.raises(RunError, match="have changed"):
        changed.run(cell_of("untreated"))


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "error", "says"), [
    ({"study": replace(STUDY, classes={"a": "x", "zebra": "y"})}, ConfigError, "label zebra"),
    ({"study": replace(STUDY, rare=("zebra",))}, ConfigError, "'zebra'"),
    ({"study": replace(STUDY, generator="")}, ConfigError, "'classical.synthetic' needs a gen"),
    ({"study": replace(STUDY, generator="dcgun")}, UnknownPluginError, "dcgun"),
    ({"study": replace(STUDY, generator_size=20)}, ShapeError, "power of two"),
    ({"study": replace(STUDY, measure="auroc:zebra")}, ConfigError, "'zebra'"),
    ({"study": replace(STUDY, measure="aurok")}, ConfigError, "aurok"),
    ({"study": replace(STUDY, ratios=(-1.0,))}, ConfigError, "negative"),
    ({"study": replace(STUDY, classical={"rotate": 3.0})}, ConfigError, "rotate"),
    ({"study": replace(STUDY, measure="train_accuracy")}, ConfigError, "not of test images"),
    ({"study": replace(STUDY, specificity=90.0)}, ConfigError, "specificity is between 0 and 1"),
    ({"study": replace(STUDY, learning_rate=-1.0)}, ConfigError, "learning_rate"),
    ({"study": replace(STUDY, extras=("kidd",))}, UnknownPluginError, "'kid'"),
    ({"study": replace(STUDY, arms=(replace(ARMS["mixup"], mixup=-1.0),))}, ConfigError, "mixup"),
    ({"budget": replace(BUDGET, batch_size=1)}, ConfigError, "batch_size"),
    ({"classifier": "small-cnm"}, ConfigError, "small-cnm"),
    ({"device": "abacus"}, ConfigError, "No device is called 'abacus'"),
    ({"budget": replace(BUDGET, fractions=(0.0,))}, ConfigError, "fraction"),
    ({"budget": replace(BUDGET, fractions=(1.0, 1.0))}, ConfigError, "each once"),
    ({"budget": replace(BUDGET, steps=0)}, ConfigError, "steps"),
    ({"budget": replace(BUDGET, folds=97)}, DataError, "97 folds need 97"),
    ({"budget": replace(BUDGET, folds=25)}, DataError, "Class 'rare'"),
    ({"seed": -1}, ConfigError, "negative"),
])  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_computed(tmp_path, changes, error, says):
    with pytest.raises(error, match=says):
        make_experiment(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_an_arm_without_synthetic_images_needs_no_generator(tmp_path):
    study = study_of("untreated", generator="")
    assert make_experiment(tmp_path, study=study).run(cell_of("untreated")).details["ratio"] is None


def test_data_that_are_not_there_and_a_place_that_is_a_file_are_errors(tmp_path):
    with pytest.raises(DataError, match="nothing at"):
        make_experiment(tmp_path / "out", str(tmp_path / "none"))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file"):
        make_experiment(tmp_path / "file" / "out")


def test_a_study_of_one_class_is_refused(tmp_path):
    study: Study = replace(STUDY, classes={"a": "x", "b": "x"})
    with pytest.raises(DataError, match="one class is 'x'"):
        make_experiment(tmp_path, study=study)
