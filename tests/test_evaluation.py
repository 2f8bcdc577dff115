from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_images

from ganaug import (
    Config,
    EvaluatorPlugin,
    FeatureEvaluator,
    FeatureExtractor,
    FeatureExtractorPlugin,
    Registry,
    hookimpl,
)
from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.copies import CopyGate
from ganaug.errors import (
    ConfigError,
    DataError,
    LeakageError,
    RunError,
    ShapeError,
    UnknownPluginError,
)
from ganaug.evaluation import evaluate_run
from ganaug.fitting import fit_part, make_model, start_training
from ganaug.hashes import hash_images
from ganaug.memorisation import Memorisation
from ganaug.parts import plan_parts
from ganaug.pixels import to_signed
from ganaug.recipes import Recipe
from ganaug.run_config import describe_run
from ganaug.runs import Run
from ganaug.splits import write_splits

LEARNED = []


class LearnerConfig(Config):
    power: float = 1.0


class Learner(FeatureExtractor):
    """Pixels over the mean of the training images; counts what it looks at."""

    looked_at = 0

    def __init__(self, config, spec):
        self.config = config
        self.dimension = spec.channels * spec.height * spec.width
        self.mean = torch.zeros(self.dimension)

    @property
    def fingerprint(self):
        content = self.mean.numpy().tobytes() + str(self.config).encode()
        return hashlib.sha256(content).hexdigest()

    def prepare(self, images):
        LEARNED.append(images)
        self.mean = to_signed(images.pixels, images.value_range).flatten(1).mean(0)

    def extract(self, images):
        Learner.looked_at += len(images)
        return images.flatten(1) - self.mean

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]


class Gap(FeatureEvaluator):
    higher_is_better = False

    def __init__(self, config, extractor):
        super().__init__(extractor)

    def compute(self):
        real, fake = (self.features(role).mean(0) for role in ("holdout", "synthetic"))
        return {"gap": float((real - fake).norm())}


class TooMany(Gap):
    minimum_images = 1000


BUILT_IN = Registry(["ganaug.builtin.extractors.plugin"]).feature_extractors


class Plugin:
    @staticmethod
    @hookimpl
    def ganaug_evaluators():
        for name, build in {"kid": Gap, "prc": TooMany, "cas": Gap}.items():
            yield EvaluatorPlugin(name=name, summary="A test's.", config=Config, build=build)

    @staticmethod
    @hookimpl
    def ganaug_feature_extractors():
        yield FeatureExtractorPlugin(
            name="classifier", summary="A test's.", config=LearnerConfig, build=Learner
        )
        # a run tells copies by this one
        yield BUILT_IN["random-conv"]
        yield BUILT_IN["pca"]


REGISTRY = Registry(["ganaug.builtin.dcgan.plugin", Plugin])


def source():
    """90 images of 12 px in three classes, not decoded; the last third is of 'c'."""
    images = make_images(90, size=12, classes=3)
    return replace(images, pixels=list(images.pixels))


SPLITS = tuple(
    "training" if row < 66 else "validation" if row < 72 else "holdout" for row in range(90)
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run of classes a and b, at 16 px."""
    path = tmp_path_factory.mktemp("runs") / "run"
    images = source()
    training = images.subset(np.flatnonzero(np.array(SPLITS) == "training"))
    recipe = Recipe(settings={"width": 4}, size=16, total_images=64, precision="32-true")
    chosen = training.only([0, 1])
    parts = plan_parts(chosen, recipe, REGISTRY)
    trainings = [start_training(part, recipe) for part in parts]
    for training_ in trainings:
        fit_part(training_, [])
    run = Run.create(path, describe_run(training, parts, recipe, REGISTRY, source="blobs"))
    write_splits(path / "splits.csv", images, SPLITS)
    run.write_references(hash_images(images), SPLITS)
    run.write_model(make_model(chosen, parts, trainings, recipe))
    run.seal()
    return path


@pytest.fixture
def run(fitted, tmp_path):
    LEARNED.clear()
    Learner.looked_at = 0
    return Run.open(shutil.copytree(fitted, tmp_path / "run"))


def evaluate(run, images=None, **options):
    options = {"metrics": ["kid"], **options}
    return evaluate_run(run, source() if images is None else images, REGISTRY, **options)


def check_manifest(path):
    listed = json.loads((path / "manifest.json").read_text())
    there = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    del there["manifest.json"]
    assert listed == {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in there.items()}


# --- rows and images ------------------------------------------------------------------------


def test_the_holdout_of_the_trained_classes_is_scored_at_the_generators_size(run):
    found = evaluate(run)
    assert found.roles.holdout.spec.shape == (1, 16, 16)
    assert found.roles.holdout.counts == {"a": 6, "b": 6}
    assert set(found.roles.holdout.ids) == {str(row) for row in range(72, 90) if row % 3 < 2}
    assert found.roles.train.counts == {"a": 22, "b": 22}
    assert found.roles.synthetic.counts == {"a": 6, "b": 6}
    (score,) = found.scores
    assert score.rows == found.rows == f"holdout of {run.path}"
    assert score.resize == "12x12 to 16x16, bicubic with antialiasing"
    assert score.n == {"holdout": 12, "synthetic": 12}
    assert score.floor is not None
    assert score.interval is not None


def test_a_class_can_be_scored_alone(run):
    found = evaluate(run, classes=["b"])
    assert found.roles.synthetic.class_names == ("b",)
    assert found.roles.synthetic.counts == {"b": 6}
    every = evaluate(run)
    pixels = every.roles.synthetic.pixels[every.roles.synthetic.labels == 1]
    assert np.array_equal(found.roles.synthetic.pixels, pixels)


def test_n_images_are_drawn_in_the_proportions_of_the_holdout(run):
    assert evaluate(run, n=21).roles.synthetic.counts == {"a": 11, "b": 10}
    assert evaluate(run, n=50, classes=["a"]).roles.synthetic.counts == {"a": 50}


def test_the_seed_decides_what_is_drawn(run):
    first, again, other = (
        evaluate(run, random_state=seed).roles.synthetic.pixels for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_scored_is_what_sample_draws(run):
    from ganaug.cli.exports import class_seed

    drawn = run.read_model(REGISTRY).at_trained_size()
    expected = drawn.draw(1, 6, seed=class_seed(7, 1))
    assert np.array_equal(evaluate(run, random_state=7).roles.synthetic.pixels[6:], expected)


def test_a_class_of_which_copies_were_dropped_is_noted(run, monkeypatch):
    def mostly_copies(self, pixels, value_range):
        return np.arange(len(pixels)) >= (2 if len(pixels) == 6 else 0)

    monkeypatch.setattr(CopyGate, "find", mostly_copies)
    found = evaluate(run)
    assert found.roles.synthetic.counts == {"a": 2, "b": 2}
    assert found.notes[0].startswith("Class 'a': 2 of 6 synthetic images; the run's filters")
    monkeypatch.setattr(CopyGate, "find", lambda self, pixels, _: np.ones(len(pixels), bool))
    with pytest.raises(DataError, match=r"hands out no image.*near copies of training images \(\d"):
        evaluate(run)


def test_how_many_copies_took_no_part_is_noted(run, monkeypatch):
    def first_is_a_copy(self, pixels, value_range):
        return np.arange(len(pixels)) < (len(pixels) == 6)

    assert not any("took no part" in note for note in evaluate(run).notes)
    monkeypatch.setattr(CopyGate, "find", first_is_a_copy)
    found = evaluate(run)
    assert found.roles.synthetic.counts == {"a": 6, "b": 6}
    (note,) = (note for note in found.notes if "took no part" in note)
    assert note.startswith("2 draws that the run's filters dropped took no part (near copies")


def test_that_the_run_has_memorised_is_noted(run, monkeypatch):
    assert not any("has memorised" in note for note in evaluate(run).notes)
    monkeypatch.setattr(Memorisation, "flagged", True)
    assert any("The run has memorised training images: " in note for note in evaluate(run).notes)


def test_a_holdout_of_the_callers_own_is_scored(run):
    other = make_images(30, size=12, classes=3)
    other = replace(other, pixels=list(255 - np.asarray(other.pixels)))
    splits = ["training"] * 18 + ["holdout"] * 12
    found = evaluate(run, other, splits=splits)
    assert found.rows == "holdout that the caller named"
    assert found.roles.holdout.counts == {"a": 4, "b": 4}
    assert found.roles.train.counts == {"a": 6, "b": 6}
    assert any("says nothing about copies" in note for note in found.notes)


def test_a_holdout_alone_is_scored_without_floors(run):
    other = make_images(12, size=12, classes=3)
    other = replace(other, pixels=list(255 - np.asarray(other.pixels)))
    found = evaluate(run, other, splits=["holdout"] * 12)
    assert (found.extractor, found.roles.train) == ("random-conv", None)
    assert found.scores[0].floor is None
    with pytest.raises(DataError, match="learns from training images, and there are none"):
        evaluate(run, other, splits=["holdout"] * 12, extractor="classifier")


def test_rows_that_the_run_was_trained_on_cannot_judge_it(run):
    splits = ["holdout"] * 10 + ["training"] * 80
    with pytest.raises(LeakageError, match="10 of 10 rows overlap"):
        evaluate(run, splits=splits)


def test_rows_that_may_have_chosen_its_weights_cannot_judge_it_either(run):
    splits = ["holdout" if split == "validation" else "training" for split in SPLITS]
    words = "6 of 6 rows overlap with the 72 rows .* trained on or validated .* validation row 66"
    with pytest.raises(LeakageError, match=words):
        evaluate(run, splits=splits)


def test_held_out_images_that_were_changed_are_refused(run):
    images = source()
    row = SPLITS.index("holdout")
    changed = [255 - item if k == row else item for k, item in enumerate(images.pixels)]
    with pytest.raises(RunError, match=rf"pixels differ \(first: {row}\)"):
        evaluate(run, replace(images, pixels=changed))


def test_a_metric_that_refuses_leaves_a_true_manifest(run):
    with pytest.raises(DataError, match="TooMany needs at least 1000"):
        evaluate(run, metrics=["prc"], extractor="classifier")
    check_manifest(run.path)
    assert (run.path / "extractors" / "classifier.safetensors").exists()


def test_other_images_than_the_runs_are_refused(run):
    images = source()
    with pytest.raises(RunError, match="not the images that .* was fitted on, which were blobs"):
        evaluate(run, images.subset(range(80)))
    with pytest.raises(RunError, match="names and labels are the same, pixels differ"):
        evaluate(run, replace(images, pixels=[255 - item for item in images.pixels]))


def test_a_run_without_holdout_rows_says_how_to_name_some(run):
    splits = ["training" if split == "holdout" else split for split in SPLITS]
    write_splits(run.path / "splits.csv", source(), splits)
    with pytest.raises(DataError, match=r"holds no rows out.*--split FILE"):
        evaluate(run)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": ["c"]}, ConfigError, "There is no class 'c'.*a, b"),
        ({"n": 0}, ConfigError, "n, the synthetic images to score, must be at least 1; got 0"),
        ({"metrics": ["kit"]}, UnknownPluginError, "No evaluator is named 'kit'"),
        ({"extractor": "classifer"}, UnknownPluginError, "Did you mean 'classifier'"),
        ({"splits": ["holdout"]}, DataError, "90 images but 1 splits"),
        ({"metrics": ["prc"]}, DataError, "TooMany needs at least 1000 holdout images; got 12"),
    ],
)
def test_what_the_caller_asks_for_wrongly_is_said(run, options, error, message):
    with pytest.raises(error, match=message):
        evaluate(run, **options)


def test_images_of_other_channels_are_refused(run):
    colour = make_images(24, size=12, classes=3, channels=3)
    with pytest.raises(ShapeError, match="synthetic images are 1x16x16 and the holdout .* 3x16x16"):
        evaluate(run, colour, splits=["training"] * 12 + ["holdout"] * 12)


# --- metrics --------------------------------------------------------------------------------


def test_the_default_metrics_go_on_where_one_cannot_be_computed(run):
    found = evaluate(run, metrics=())
    assert [score.metric for score in found.scores] == ["kid", "cas"]
    assert "TooMany needs at least 1000" in found.skipped["prc"]
    assert "No evaluator is named 'c2st'" in found.skipped["c2st"]
    assert "cas" not in evaluate(run, metrics=(), classes=["a"]).skipped


def test_cas_is_a_default_for_several_classes_only(run):
    found = evaluate(run, metrics=(), classes=["a"])
    assert [score.metric for score in found.scores] == ["kid"]


# --- the extractor --------------------------------------------------------------------------


def test_the_extractor_learns_from_the_training_rows_of_all_classes(run):
    assert evaluate(run, classes=["a"]).extractor == "classifier"
    (learned,) = LEARNED
    assert learned.counts == {"a": 22, "b": 22, "c": 22}
    assert learned.spec.shape == (1, 16, 16)


def test_what_it_learned_and_features_are_kept_in_the_run(run):
    first = evaluate(run)
    seen = Learner.looked_at
    again = evaluate(Run.open(run.path))
    assert len(LEARNED) == 1
    assert Learner.looked_at == seen > 0
    assert again.scores == first.scores
    files = {p.parent.name for p in run.path.rglob("*.safetensors")}
    assert {"extractors", "features"} <= files
    check_manifest(run.path)


def test_a_file_of_other_settings_or_a_damaged_one_is_learned_anew(run):
    evaluate(run)
    evaluate(run, extractor="classifier:power=2")
    assert len(LEARNED) == 2
    path = run.path / "extractors" / "classifier.safetensors"
    state, header = read_tensors(path)
    write_tensors(path, {"mean": state["mean"] + 1}, header)
    evaluate(run, extractor="classifier:power=2")
    assert len(LEARNED) == 3
    write_tensors(path, {}, header)
    evaluate(run, extractor="classifier:power=2")
    path.write_bytes(b"nothing")
    evaluate(run, extractor="classifier:power=2")
    assert len(LEARNED) == 5
    evaluate(run, extractor="classifier:power=2")
    assert len(LEARNED) == 5
    check_manifest(run.path)


def test_features_of_what_was_learned_otherwise_go_from_the_run(run):
    evaluate(run, metrics=["kid"])
    (first,) = (run.path / "features").glob("classifier-*")
    evaluate(run, extractor="random-conv")
    evaluate(run, extractor="classifier:power=2")
    (second,) = (run.path / "features").glob("classifier-*")
    assert first != second
    assert len([*(run.path / "features").glob("random-conv-*")]) == 1
    check_manifest(run.path)


def test_what_could_give_images_back_is_not_kept_in_the_run(run):
    before = set(run.path.rglob("*"))
    first, second = evaluate(run, extractor="pca"), evaluate(run, extractor="pca")
    assert (first.extractor, first.notes) == ("pca", ())
    assert first.scores == second.scores
    assert set(run.path.rglob("*")) == before
    check_manifest(run.path)


def test_the_same_pixels_of_another_value_range_are_other_images_to_learn_from(run):
    from ganaug.learned import learn_extractor

    train = source().load(16)
    train = replace(train, pixels=(train.pixels / 512).astype(np.float32))
    for value_range in ((0.0, 0.5), (0.0, 0.5), (0.0, 1.0)):
        ranged = replace(train, value_range=value_range)
        space, _ = learn_extractor("classifier", ranged, run.path, REGISTRY)
        expected = to_signed(ranged.pixels, value_range).flatten(1).mean(0)
        assert torch.equal(space.state_dict()["mean"], expected)
    assert len(LEARNED) == 2


def test_what_was_learned_from_other_images_is_learned_anew(run):
    evaluate(run)
    other = make_images(30, size=12, classes=3)
    other = replace(other, pixels=list(255 - np.asarray(other.pixels)))
    evaluate(run, other, splits=["training"] * 18 + ["holdout"] * 12, extractor="classifier")
    assert len(LEARNED) == 2


def test_random_convolutions_serve_where_a_classifier_cannot_learn(run):
    other = make_images(30, size=12, classes=3)
    other = replace(other, pixels=list(255 - np.asarray(other.pixels)))
    found = evaluate(run, other, splits=["training"] * 6 + ["holdout"] * 24)
    assert found.extractor == "random-conv"
    assert not (run.path / "extractors").exists()


def test_an_unfinished_run_is_not_sealed(run):
    (run.path / "manifest.json").unlink()
    evaluate(run)
    assert not (run.path / "manifest.json").exists()


def test_damage_of_other_files_is_not_sealed_over(run):
    (run.path / "run.toml").write_text((run.path / "run.toml").read_text() + "\n")
    before = json.loads((run.path / "manifest.json").read_text())["run.toml"]
    evaluate(run)
    assert json.loads((run.path / "manifest.json").read_text())["run.toml"] == before


def test_scores_come_where_the_run_cannot_be_written(run, monkeypatch):
    def refuse(path, content):
        raise RunError(f"Cannot write {path}: read-only.")

    monkeypatch.setattr("ganaug.checkpoints.write_bytes", refuse)
    found = evaluate(run)
    assert len(found.scores) == 1
    assert len(found.notes) == 2
    assert "was not kept for the next time: Cannot write" in found.notes[0]
