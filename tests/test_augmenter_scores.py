"""`SyntheticAugmenter` with scores during training: which rows, and what a saved run says."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_images

from ganaug import StoppingPolicy, SyntheticAugmenter
from ganaug.errors import ConfigError, TooFewImagesError
from ganaug.runs import Run


class FirstScore(StoppingPolicy):
    """Stops at the first evaluation."""

    needs_metrics = True

    def reason_to_stop(self, history):
        return "scored" if history and history[-1].metrics else None


def augmenter(**changed):
    settings = {
        "config": {"width": 4, "latent_dim": 8},
        "total_images": 64,
        "random_state": 0,
        "conditioning": "conditional",
        "filter": None,
        "precision": "32-true",
    }
    return SyntheticAugmenter("dcgan", **{**settings, **changed})


@pytest.fixture(scope="module")
def patients():
    """80 images of one class, 60 of another, of 35 patients; no row says what it is for."""
    images = make_images(160, classes=2)
    keep = np.flatnonzero((images.labels == 0) | (np.arange(160) < 120))
    images = images.subset(keep)
    return replace(images, groups=tuple(f"patient {row // 4}" for row in range(len(images))))


def rows_of(run):
    with (run / "splits.csv").open() as file:
        return [(row["group"], row["split"]) for row in csv.DictReader(file)]


def test_best_puts_validation_rows_aside_and_a_saved_run_says_which(patients, tmp_path):
    fitted = augmenter(select="best", eval_every=32).fit(patients)
    fitted.save(tmp_path / "run")
    splits = defaultdict(set)
    for group, split in rows_of(tmp_path / "run"):
        splits[group].add(split)
    assert all(len(found) == 1 for found in splits.values())
    kept = [split for _, split in rows_of(tmp_path / "run")]
    assert kept.count("validation") == pytest.approx(14, abs=4)
    assert "holdout" not in kept
    run = Run.open(tmp_path / "run")
    assert sum(run.config.counts.values()) == kept.count("training")
    history = run.read_history(None, until_step=99)
    assert [record.images_seen for record in history if record.metrics] == [32, 64]
    loaded = SyntheticAugmenter.load(tmp_path / "run")
    assert (loaded.select, loaded.eval_every, loaded.metrics) == ("best", 32, ("kid",))
    assert (loaded.sample(1, 4, random_state=0) == fitted.sample(1, 4, random_state=0)).all()
    assert fitted.sampling_strategy_ == {1: 20}  # of the whole dataset, validation rows too


def test_a_policy_that_reads_scores_gets_them(patients, tmp_path):
    fitted = augmenter(stop=(FirstScore(),), eval_every=16).fit(patients)
    fitted.save(tmp_path / "run")
    assert len(Run.open(tmp_path / "run").read_history(None, until_step=99)) == 1
    assert "validation" in {split for _, split in rows_of(tmp_path / "run")}


def test_a_loop_breaker_breaks_off_and_a_saved_run_says_which_weights_it_has(patients, tmp_path):
    stop = ("loop-breaker:max_epochs=3,end_batch=2", "max-images:images=1000 and plateau")
    fitted = augmenter(stop=stop, select="best", eval_every=16, total_images=9999).fit(patients)
    fitted.save(tmp_path / "run")
    found = json.loads((tmp_path / "run" / "selection.json").read_text())
    assert (found["select"], found["metric"]) == ("best", "kid")
    (part,) = found["parts"]
    assert part["stopped"] == "3 epochs of 2 batches are over"
    assert (part["part"], part["trained_steps"]) == ("all classes", 6)
    run = Run.open(tmp_path / "run")
    scores = {r.images_seen: r.metrics for r in run.recorded_history(None) if r.metrics}
    assert part["images_seen"] == min(scores, key=lambda images: scores[images]["kid"])
    assert part["scores"] == scores[part["images_seen"]]
    assert "selection.json" in json.loads((tmp_path / "run" / "manifest.json").read_text())
    SyntheticAugmenter.load(tmp_path / "run").save(tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "selection.json").read_text()) == found


def test_weights_that_were_not_scored_in_training_are_scored_at_its_end(patients, tmp_path):
    augmenter(select="average", eval_every=48).fit(patients).save(tmp_path / "average")
    (part,) = json.loads((tmp_path / "average" / "selection.json").read_text())["parts"]
    assert part["weights"] == "average"
    assert set(part["scores"]) == {"kid", "kid_subset_std"}


def test_nothing_is_put_aside_unless_it_is_needed_whatever_the_rows_say(patients, tmp_path):
    said = replace(patients, splits=("holdout",) * len(patients))
    augmenter(total_images=16).fit(said).save(tmp_path / "run")
    assert {split for _, split in rows_of(tmp_path / "run")} == {"training"}


def test_scores_that_cannot_be_are_refused(patients):
    with pytest.raises(ConfigError, match="metrics must be a sequence"):
        augmenter(metrics="kid").fit(patients)
    with pytest.raises(TooFewImagesError, match="'kid' needs at least 4 validation images"):
        augmenter(eval_every=16).fit(make_images(24, classes=2).subset(range(23)))
    with pytest.raises(ConfigError, match="Plateau reads the score 'fid'"):
        augmenter(stop=("plateau:metric=fid",)).fit(patients)
