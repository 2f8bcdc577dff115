from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ganaug import Registry, SyntheticAugmenter
from ganaug.cli import main
from ganaug.cli.demo import run_demo
from ganaug.demo import RARE, WAYS, Scores, compare, imbalanced_digits, verdict, write_archive
from ganaug.errors import RunError
from ganaug.runs import Run
from ganaug.sources import open_images


@pytest.fixture(scope="module")
def digits():
    return imbalanced_digits(open_images("digits:digits", Registry.load()))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demonstration with a tiny budget: its folder and what it printed."""
    import contextlib
    import io

    out, text = tmp_path_factory.mktemp("demo") / "out" / "demo", io.StringIO()
    with contextlib.redirect_stdout(text):
        assert run_demo(out, total_images=64, steps=2, seeds=(0, 1)) == 0
    return out, text.getvalue()


def rows_of(digits, split):
    return digits.subset(np.flatnonzero(np.array(digits.splits) == split))


def test_two_digits_are_rare_in_training_and_none_among_the_held_out(digits):
    training, holdout = rows_of(digits, "training").counts, rows_of(digits, "holdout").counts
    assert {n for name, n in training.items() if name in RARE} == {20}
    assert {n for name, n in training.items() if name not in RARE} == {100}
    assert min(holdout.values()) > 60


def test_no_held_out_row_is_a_training_row(digits):
    ids = dict.fromkeys(("training", "holdout"))
    for split in ids:
        ids[split] = set(rows_of(digits, split).ids)
    assert not ids["training"] & ids["holdout"]
    assert len(ids["training"]) + len(ids["holdout"]) == len(digits)


def test_the_archive_is_read_back_as_it_was_written(digits, tmp_path):
    write_archive(tmp_path / "digits.npz", digits)
    images = open_images(str(tmp_path / "digits.npz"), Registry.load())
    assert images.splits == digits.splits
    assert np.array_equal(images.labels, digits.labels)
    assert np.array_equal(np.asarray(images.pixels), np.asarray(digits.pixels))


def test_the_generator_trains_on_training_rows_of_the_rare_digits_only(demo, digits):
    run = Run.open(demo[0] / "run")
    assert run.config.class_names == RARE
    assert sum(run.config.counts.values()) == len(rows_of(digits, "training"))
    with (run.path / "splits.csv").open(newline="") as file:
        held_out = [row["id"] for row in csv.DictReader(file) if row["split"] == "holdout"]
    assert len(held_out) == len(rows_of(digits, "holdout"))
    with (demo[0] / "balanced" / "manifest.csv").open(newline="") as file:
        exported = {row["source"] for row in csv.DictReader(file)}
    assert not exported & set(held_out)


def test_the_balanced_folder_is_balanced(demo):
    balanced = open_images(str(demo[0] / "balanced"), Registry.load())
    assert set(balanced.counts.values()) == {100}


def test_the_run_is_one_that_other_commands_and_python_read(demo, tmp_path, capsys):
    out, run = tmp_path / "samples", str(demo[0] / "run")
    assert main(["sample", run, "--out", str(out), "-n", "2", "--class", "8"]) == 0
    assert len(list((out / "8").glob("*.png"))) == 2
    assert SyntheticAugmenter.load(run).sampling_strategy_ == {8: 80, 9: 80}


def test_the_sheet_has_a_real_and_a_synthetic_row_for_each_rare_digit(demo):
    with Image.open(demo[0] / "grid.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    cell = 50
    assert pixels.shape[0] >= 2 * len(RARE) * cell
    assert pixels.shape[1] >= 10 * cell


def test_it_prints_counts_scores_a_verdict_and_what_to_do_next(demo):
    text = demo[1]
    for way in WAYS:
        assert way in text
    assert [line.split() for line in text.splitlines() if line.strip().startswith("8 ")][-1] == [
        *("8", "20", "80", "100")
    ]
    assert "in recall of the rare digits against" in text
    for command in ("data inspect", "fit", "sample", "augment"):
        assert f"  ganaug {command} " in text


def test_an_existing_folder_is_refused_and_left_alone(tmp_path, capsys):
    (tmp_path / "note.txt").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_an_error_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RunError("no")

    monkeypatch.setattr("ganaug.demo.write_archive", fail)
    with pytest.raises(RunError):
        run_demo(tmp_path / "a" / "b" / "demo")
    assert list(tmp_path.iterdir()) == []


def test_better_images_give_better_scores(digits):
    training, holdout = rows_of(digits, "training"), rows_of(digits, "holdout")
    # The rare digits' held-out images themselves: as good as synthetic ones could be.
    leak = replace(digits, splits=None)
    by_name = {
        each.name: np.mean(each.recall)
        for each in compare(training, leak, holdout, steps=60, seeds=(0,))
    }
    assert by_name["synthetic"] > by_name["untreated"] + 0.1
    assert by_name["oversampled"] > by_name["untreated"]


def test_equal_seeds_give_equal_scores_and_leave_the_callers_random_numbers(digits):
    import torch

    training, holdout = rows_of(digits, "training"), rows_of(digits, "holdout")
    state = torch.get_rng_state()
    first, second = (compare(training, training, holdout, steps=5, seeds=(0, 1)) for _ in range(2))
    assert first == second
    assert first[0].recall == first[2].recall, "equal images, equal scores"
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("synthetic", "start"),
    [
        ((0.91, 0.90, 0.92), "Synthetic images helped here: +0.210"),
        ((0.51, 0.50, 0.52), "Synthetic images harmed here: -0.190"),
        ((0.90, 0.71, 0.70), "No difference shown: +0.070"),
        ((0.70, 0.70, 0.70), "No difference shown: +0.000"),
    ],
)
def test_the_verdict_reads_the_scores_against_the_better_rival(synthetic, start):
    def scores(name, recall):
        return Scores(name=name, recall=recall, balanced_accuracy=recall)

    rivals = [scores("untreated", (0.1, 0.2, 0.3)), scores("oversampled", (0.7, 0.7, 0.7))]
    text = verdict([*rivals, scores("synthetic", synthetic)])
    assert text.startswith(start)
    assert "against oversampled (standard error " in text
