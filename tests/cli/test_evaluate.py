"""``ganaug evaluate``."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from cli.scenes import TINY, tree, write_images
from ganaug.cli import main
from ganaug.runs import Run

DRAWN = ("--extractor", "random-conv", "--metric", "kid", "--metric", "prc")
SMALL = (*DRAWN, "--no-figures")
FIGURES = {"tsne.png", "colours.png", "history.png"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two classes of colour images, and a run of both, made once."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_images(folder / "photos" / "common", 60, mode="RGB")
    write_images(folder / "photos" / "rare", 30, mode="RGB")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "photos", "--out", "run", *TINY]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """A copy of the run beside its images; the cwd above both."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("run")


def check_manifest(run):
    """What the manifest lists is what there is."""
    listed = json.loads((run / "manifest.json").read_text())
    files = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert set(listed) == files - {"manifest.json"}
    for name, digest in listed.items():
        assert hashlib.sha256((run / name).read_bytes()).hexdigest() == digest, name


def write_split(path, run, *, holdout):
    """Write a split of the images in which rows of this split of the run are the holdout."""
    with (run / "splits.csv").open(newline="") as file:
        rows = [(row["id"], row["split"]) for row in csv.DictReader(file)]
    lines = [f"{id_},{'holdout' if split == holdout else 'training'}\n" for id_, split in rows]
    Path(path).write_text("id,split\n" + "".join(lines))
    return path


# --- what it writes and says --------------------------------------------------------------------


def test_scores_figures_and_the_card_are_written_and_the_manifest_stays_true(ganaug, run):
    result = ganaug("evaluate", run, "--data", "photos", *DRAWN)
    assert (result.code, result.err) == (0, "")
    folder = run / "evaluation"
    assert {path.name for path in folder.iterdir()} == FIGURES | {"scores.json"}
    for path in (*(folder / name for name in FIGURES), Path("run-nearest.png")):
        with Image.open(path) as picture:
            assert picture.width >= 600
    record = json.loads((folder / "scores.json").read_text())
    found = {score["name"]: score for score in record["scores"]}
    assert set(found) == {"kid", "kid_subset_std", "precision", "recall", "f_score"}
    assert found["kid"]["n"] == {"holdout": 18, "synthetic": 18}
    assert found["kid"]["extractor"] == "random-conv"
    assert record["images"]["synthetic"] == {"common": 12, "rare": 6}
    assert record["tsne"]["perplexity"] > 1
    card = (run / "card.md").read_text()
    assert "| kid |" in card
    assert card.count("## Scores") == 1
    check_manifest(run)


def test_the_table_has_a_row_a_score_and_says_what_it_was_made_of(ganaug, run):
    result = ganaug("evaluate", run, "--data", "photos", *SMALL)
    lines = result.out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    (kid,) = [line.split() for line in lines if line.startswith(" kid")]
    assert kid[-1] == "lower"
    assert kid[3] == "to"
    for name in ("precision", "recall", "f_score"):
        assert any(line.strip().startswith(name) and "higher" in line for line in lines)
    assert "kid_subset_std" not in result.out
    facts = {line.split("  ")[0]: line for line in lines}
    for name in ("Rows", "n", "Floor", "Interval", "Extractor", "Resized", "Seed"):
        assert name in facts
    assert "holdout of run" in facts["Rows"]
    assert "random-conv (" in facts["Extractor"]
    assert "18 held out, 18 synthetic" in facts["n"]


def test_an_evaluation_can_be_repeated_to_the_byte_and_leaves_no_figure_of_an_earlier_one(
    ganaug, run
):
    arguments = ("evaluate", run, "--data", "photos")
    assert ganaug(*arguments, *DRAWN).code == 0
    first = tree(run)
    assert ganaug(*arguments, *DRAWN).code == 0
    assert tree(run) == first
    assert ganaug(*arguments, *SMALL, "--seed", 1).code == 0
    seeded = tree(run)
    assert [path.name for path in (run / "evaluation").iterdir()] == ["scores.json"]
    assert not Path("run-nearest.png").exists()
    assert seeded["evaluation/scores.json"] != first["evaluation/scores.json"]
    check_manifest(run)


def test_json_is_all_there_is_on_stdout_and_is_what_the_file_holds(ganaug, run):
    result = ganaug("evaluate", run, "--data", "photos", "--json", *SMALL)
    assert result.code == 0
    assert json.loads(result.out) == json.loads((run / "evaluation/scores.json").read_text())


def test_another_folder_is_written_whole_and_the_card_stays(ganaug, run):
    card = (run / "card.md").read_bytes()
    result = ganaug("evaluate", run, "--data", "photos", "--out", "out/scores", *SMALL)
    assert result.code == 0
    assert [path.name for path in Path("out/scores").iterdir()] == ["scores.json"]
    assert (run / "card.md").read_bytes() == card
    assert not (run / "evaluation").exists()
    check_manifest(run)


def test_what_shows_real_images_is_beside_the_run_and_replaced(ganaug, run):
    Path("run-nearest.png").write_text("of an earlier evaluation")
    (run / "evaluation").mkdir()
    (run / "evaluation/nearest.png").write_text("of an earlier version")
    result = ganaug("evaluate", run, "--data", "photos", *DRAWN)
    assert Path("run-nearest.png").read_bytes().startswith(b"\x89PNG")
    assert not list(run.rglob("*nearest*"))
    *_, written, said = result.out.splitlines()
    assert "nearest.png" not in written
    assert said.startswith("run-nearest.png shows real images, and therefore lies outside")
    check_manifest(run)


def test_a_folder_of_its_own_has_what_shows_real_images_too(ganaug, run):
    result = ganaug("evaluate", run, "--data", "photos", "--out", "out", *DRAWN)
    assert {path.name for path in Path("out").iterdir()} == FIGURES | {"nearest.png", "scores.json"}
    assert not Path("run-nearest.png").exists()
    assert "nearest.png shows real images" in result.out.splitlines()[-1]


def test_a_run_that_is_the_folder_one_stands_in_has_its_figure_beside_it_too(monkeypatch, run):
    assert Run.open("run").nearest == Path("run-nearest.png")
    monkeypatch.chdir(run)
    assert Run.open(".").nearest == Path.cwd().parent / "run-nearest.png"


def test_nothing_that_could_give_images_back_is_in_the_run(ganaug, run):
    before = set(tree(run))
    pca = ("--extractor", "pca", "--metric", "kid")
    assert ganaug("evaluate", run, "--data", "photos", *pca).code == 0
    written = {f"evaluation/{name}" for name in (*FIGURES, "scores.json")}
    assert set(tree(run)) - before == written | {"evaluation"}


def test_scores_of_older_weights_go_when_training_goes_on_and_features_stay(ganaug, run):
    shown = ("--metric", "kid", "--extractor", "classifier:total_images=64")
    assert ganaug("evaluate", run, "--data", "photos", *shown).code == 0
    scored = tree(run)
    assert ganaug("fit", "photos", "--out", run, "--resume").code == 0
    assert tree(run) == scored
    assert ganaug("fit", "photos", "--out", run, "--resume", "--images", 128).code == 0
    assert not (run / "evaluation").exists()
    assert not Path("run-nearest.png").exists()
    assert "None yet" in (run / "card.md").read_text()
    after = tree(run)
    learned = {k: v for k, v in scored.items() if k.startswith(("extractors/", "features/"))}
    assert len(learned) == 2
    assert learned.items() <= after.items()
    check_manifest(run)


def test_one_class_and_a_number_of_images_can_be_asked_for(ganaug, run):
    asked = ("--class", "rare", "-n", "9", "--json")
    result = ganaug("evaluate", run, "--data", "photos", *asked, *SMALL)
    record = json.loads(result.out)
    assert record["images"]["synthetic"] == {"rare": 9}
    assert record["images"]["holdout"] == {"rare": 6}
    assert record["scores"][0]["n"] == {"holdout": 6, "synthetic": 9}
    assert record["options"]["classes"] == ["rare"]


def test_what_the_default_set_cannot_score_is_skipped_with_its_reason(ganaug, run):
    asked = ("--class", "rare", "-n", "3", "--extractor", "random-conv", "--no-figures")
    result = ganaug("evaluate", run, "--data", "photos", *asked)
    assert result.code == 0
    record = json.loads((run / "evaluation/scores.json").read_text())
    assert "kid" in record["skipped"]
    assert "Skipped" in result.out
    assert "Not computed: kid." in (run / "card.md").read_text()


def test_nothing_is_written_when_no_metric_of_the_default_set_can_be_computed(ganaug, run):
    asked = ("--class", "rare", "-n", "1", "--extractor", "random-conv", "--out", "out")
    result = ganaug("evaluate", run, "--data", "photos", *asked)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Error: None of the metrics can be computed. kid: ")
    assert result.err.count("\n") == 1
    assert not Path("out").exists()
    assert not (run / "evaluation").exists()


def test_rows_of_another_set_can_be_scored_against(ganaug, run):
    for label, seed in (("common", 7), ("rare", 8)):
        write_images(Path("others") / label, 20, mode="RGB", seed=seed)
    names = sorted(p.relative_to("others").as_posix() for p in Path("others").rglob("*.png"))
    splits = [f"{name},{'training' if k % 2 else 'holdout'}\n" for k, name in enumerate(names)]
    Path("split.csv").write_text("id,split\n" + "".join(splits))
    named = ("--split", "split.csv", "--out", "out", "--json")
    result = ganaug("evaluate", run, "--data", "others", *named, *SMALL)
    assert (result.code, result.err) == (0, "")
    record = json.loads(result.out)
    assert record["images"]["holdout"] == {"common": 10, "rare": 10}
    assert record["options"]["split"] == "split.csv"
    assert "holdout that the caller named" in record["rows"]


# --- bad input ----------------------------------------------------------------------------------


def refuse(ganaug, *arguments):
    """Run a command that must fail with one line and write nothing."""
    before = tree(Path())
    result = ganaug(*arguments)
    assert result.code == 2, result
    assert result.err.startswith("Error: ")
    assert len(result.err.splitlines()) == 1
    assert result.out == ""
    after = tree(Path())
    learned = {name for name in after if name.startswith(("run/features", "run/extractors"))}
    assert {k: v for k, v in after.items() if k not in learned | {"run/manifest.json"}} == {
        k: v for k, v in before.items() if k != "run/manifest.json"
    }
    return result.err


def test_other_images_than_the_runs_are_refused(ganaug, run):
    write_images(Path("others") / "common", 3, mode="RGB")
    assert "not the images" in refuse(ganaug, "evaluate", run, "--data", "others", *SMALL)


def test_rows_that_the_run_was_trained_on_are_refused(ganaug, run):
    split = write_split("split.csv", run, holdout="training")
    error = refuse(ganaug, "evaluate", run, "--data", "photos", "--split", split, *SMALL)
    assert "trained on" in error


def test_held_out_images_that_were_changed_are_refused(ganaug, run):
    with (run / "splits.csv").open(newline="") as file:
        held = next(row["id"] for row in csv.DictReader(file) if row["split"] == "holdout")
    with Image.open(Path("photos") / held) as picture:
        picture.rotate(90).save(Path("photos") / held)
    error = refuse(ganaug, "evaluate", run, "--data", "photos", *SMALL)
    assert f"pixels differ (first: {held})" in error


def test_a_figure_of_real_images_would_not_be_written_among_the_images(ganaug, run):
    shutil.move(run, "photos/run")
    error = refuse(ganaug, "evaluate", "photos/run", "--data", "photos")
    assert "photos/run-nearest.png is inside the images' own folder" in error


def test_a_run_without_a_holdout_says_what_to_do(ganaug, run):
    assert ganaug("fit", "photos", "--out", "all", "--holdout", 0, *TINY).code == 0
    assert "--split FILE" in refuse(ganaug, "evaluate", "all", "--data", "photos", *SMALL)


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--metric", "kod", "Did you mean 'kid'?"),
        ("--metric", "kid:subset=3", "subsets"),
        ("--extractor", "classifer", "Did you mean 'classifier'?"),
        ("--class", "rar", "Did you mean 'rare'?"),
        ("-n", "0", "greater than or equal to 1"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(ganaug, run, option, name, words):
    assert words in refuse(ganaug, "evaluate", run, "--data", "photos", option, name)


def test_a_metric_that_was_asked_for_below_its_fewest_images_is_refused(ganaug, run):
    asked = ("--metric", "kid", "--extractor", "random-conv", "-n", "3", "--class", "rare")
    error = refuse(ganaug, "evaluate", run, "--data", "photos", *asked)
    assert "at least 4" in error
    assert "3" in error


def test_a_metric_twice_is_refused(ganaug, run):
    error = refuse(ganaug, "evaluate", run, "--data", "photos", *SMALL, "--metric", "kid")
    assert "once" in error


def test_an_output_that_exists_is_refused_before_anything_is_read(ganaug, run):
    Path("taken").mkdir()
    error = refuse(ganaug, "evaluate", run, "--data", "nowhere", "--out", "taken", *SMALL)
    assert "taken exists already" in error


def test_an_output_within_the_images_is_refused(ganaug, run):
    refuse(ganaug, "evaluate", run, "--data", "photos", "--out", "photos/scores", *SMALL)


def test_no_run_and_a_run_without_a_generator_are_refused(ganaug, run):
    assert "no run directory" in refuse(ganaug, "evaluate", "photos", "--data", "photos")
    (run / "generator.safetensors").unlink()
    assert "--resume" in refuse(ganaug, "evaluate", run, "--data", "photos", *SMALL)


def test_a_full_disk_is_one_line_and_leaves_whole_files_and_a_true_manifest(
    ganaug, run, monkeypatch
):
    assert ganaug("evaluate", run, "--data", "photos", *SMALL).code == 0
    scores = (run / "evaluation/scores.json").read_bytes()
    replace = Path.replace

    def full(self, target):
        if Path(target).name == "scores.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    result = ganaug("evaluate", run, "--data", "photos", *SMALL, "--seed", 1)
    assert result.code == 2
    assert "disk is full" in result.err
    assert (run / "evaluation/scores.json").read_bytes() == scores
    check_manifest(run)
