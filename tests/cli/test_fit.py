"""``ganaug fit``: what a run holds, stopping and going on."""

from __future__ import annotations

import csv
import json
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from cli.scenes import TINY, tree, write_images
from ganaug.checkpoints import read_tensors
from ganaug.runs import Run
from ganaug.sampling import BalancedSampler


@pytest.fixture
def interrupt(monkeypatch):
    """Send a signal in the third step, or right after it."""

    def arrange(where, number=signal.SIGINT):
        target, name = (BalancedSampler, "draw") if where == "within" else (Run, "append_history")
        original, calls = getattr(target, name), []

        def hit(*arguments):
            calls.append(arguments)
            if len(calls) == (5 if where == "within" else 3):  # two draws a step
                signal.raise_signal(number)
            return original(*arguments)

        monkeypatch.setattr(target, name, hit)

    yield arrange
    monkeypatch.undo()


def weights(run, part=""):
    return (Path(run) / part / "generator.safetensors").read_bytes()


def history(run):
    return [json.loads(line) for line in (Path(run) / "history.jsonl").read_text().splitlines()]


def test_a_run_holds_what_it_promises(ganaug, photos):
    result = ganaug("fit", photos, "--out", "runs/one", "--size", 16, *TINY)
    assert (result.code, result.err) == (0, "")
    files = {name for name in tree(Path("runs/one")) if "." in name}
    assert files == {
        *("run.toml", "splits.csv", "history.jsonl", "generator.safetensors", "card.md"),
        *("references.safetensors", "checkpoint/state.safetensors", "samples/grid.png"),
        *("manifest.json", "memorisation.json", "selection.json"),
    }
    assert "ganaug sample runs/one" in result.out
    assert "ganaug augment photos --run runs/one" in result.out


def test_splits_are_of_all_rows_and_a_fifth_is_held_out(ganaug, photos, fitted):
    with (fitted / "splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 17
    held = [row["label"] for row in rows if row["split"] == "holdout"]
    assert sorted(held) == ["common", "common", "rare"]
    config = Run.open(fitted).config
    assert (config.class_names, config.source_class_names) == (("rare",), ("common", "rare"))
    assert config.counts == {"common": 10, "rare": 4}


def test_history_has_a_line_a_step(fitted):
    lines = (fitted / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["images_seen"] for line in lines] == [16, 32, 48, 64]


def test_what_is_no_terminal_gets_plain_lines(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", *TINY)
    assert not {"\x1b", "\r", "━"} & set(result.out)
    assert "all classes: done, 64 images were seen\n" in result.out


def test_resuming_equals_training_at_once_bit_for_bit(ganaug, photos):
    more = ("--set", "width=8", "--precision", "32-true")
    ganaug("fit", photos, "--out", "a", *more, "--images", 128)
    ganaug("fit", photos, "--out", "b", *more, "--images", 64)
    assert weights("a") != weights("b")
    assert ganaug("fit", photos, "--out", "b", "--resume", "--images", 128).code == 0
    assert weights("a") == weights("b")
    assert Run.open("b").config == Run.open("a").config


@pytest.mark.parametrize(
    ("where", "number"),
    [("within", signal.SIGINT), ("after", signal.SIGINT), ("after", signal.SIGTERM)],
)
def test_an_interrupt_saves_and_says_how_to_go_on(ganaug, photos, interrupt, where, number):
    ganaug("fit", photos, "--out", "straight", *TINY)
    interrupt(where, number)
    result = ganaug("fit", photos, "--out", "cut short", *TINY)
    assert result.code == 3
    again = "ganaug fit photos --out 'cut short' --resume"
    assert f"Interrupted at 48 images; saved in cut short. Go on with:\n  {again}\n" == result.err
    assert len(Path("cut short/history.jsonl").read_text().splitlines()) == 3
    assert not Path("cut short/generator.safetensors").exists()
    assert Run.open("cut short").read_checkpoint(None)["images_seen"] == 48
    assert ganaug("fit", photos, "--out", "cut short", "--resume").code == 0
    assert weights("cut short") == weights("straight")
    steps = [step["step"] for step in history("cut short")]
    assert steps == [1, 2, 3, 4]


def test_pressing_again_while_saving_changes_nothing(ganaug, photos, interrupt, monkeypatch):
    ganaug("fit", photos, "--out", "straight", *TINY)
    interrupt("after")
    save = Run.write_checkpoint

    def impatient(*arguments):
        signal.raise_signal(signal.SIGINT)
        save(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "write_checkpoint", impatient)
    assert ganaug("fit", photos, "--out", "cut", *TINY).code == 3
    monkeypatch.setattr(Run, "write_checkpoint", save)
    assert Run.open("cut").read_checkpoint(None)["images_seen"] == 48
    assert ganaug("fit", photos, "--out", "cut", "--resume").code == 0
    assert weights("cut") == weights("straight")


def test_finished_classes_are_not_trained_again(ganaug, photos, interrupt):
    per_class = ("--conditioning", "per-class", *TINY)
    ganaug("fit", photos, "--out", "straight", *per_class)
    ganaug("fit", photos, "--out", "cut", *per_class, "--stop", "max-images:images=32")
    result = ganaug("fit", photos, "--out", "cut", "--resume")
    assert "is finished: 32 images were seen" in result.out
    Path("cut/classes/1/checkpoint/state.safetensors").unlink()
    Path("cut/manifest.json").unlink()  # as if it had stopped after the first class
    before = (Path("cut") / "classes/0/checkpoint/state.safetensors").stat().st_mtime_ns
    result = ganaug("fit", photos, "--out", "cut", "--resume")
    assert "common 1/2: done" in result.out
    assert "common 1/2: training" in result.out
    assert (Path("cut") / "classes/0/checkpoint/state.safetensors").stat().st_mtime_ns == before
    assert len((Path("cut") / "classes/1/history.jsonl").read_text().splitlines()) == 2
    ganaug("fit", photos, "--out", "cut", "--resume", "--stop", "max-images:images=64")
    for part in ("classes/0", "classes/1"):
        assert weights("cut", part) == weights("straight", part)


def test_a_finished_run_says_so_and_stays_as_it_is(ganaug, photos, fitted):
    before = tree(fitted)
    result = ganaug("fit", photos, "--out", fitted, "--resume")
    assert (result.code, result.err) == (0, "")
    assert "run is finished: 64 images were seen" in result.out
    assert tree(fitted) == before


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--set", "latent_dim=32"),
        ("--size", "32"),
        ("--seed", "1"),
        ("--class", "common"),
        ("--batch-size", "8"),
        ("--holdout", "0.5"),
        ("--select", "average"),
        ("--conditioning", "per-class"),
    ],
)
def test_an_option_that_differs_is_named(ganaug, photos, fitted, option, value):
    before = tree(fitted)
    result = ganaug("fit", photos, "--out", fitted, "--resume", option, value)
    assert result.code == 2
    assert result.err.startswith(f"Error: {option}")
    assert result.err.count("\n") == 1
    assert tree(fitted) == before


def test_options_that_are_the_same_may_be_repeated(ganaug, photos, fitted):
    same = ("--class", "rare", "--seed", 0, "--holdout", 0.2, "--batch-size", 16, *TINY)
    result = ganaug("fit", photos, "--out", fitted, "--resume", *same)
    assert (result.code, result.err) == (0, "")


def test_other_images_of_the_same_names_are_refused(ganaug, photos, fitted):
    write_images(photos / "new", 5, seed=1)
    for file in (photos / "rare").iterdir():
        (photos / "new" / file.name).replace(file)
    (photos / "new").rmdir()
    before = tree(fitted)
    result = ganaug("fit", photos, "--out", fitted, "--resume", "--images", 128)
    assert result.code == 2
    assert "not the images that run was fitted on" in result.err
    assert "pixels differ" in result.err
    assert tree(fitted) == before


def test_other_files_are_refused_and_the_first_is_named(ganaug, photos, fitted):
    (photos / "rare/0.png").rename(photos / "rare/another.png")
    result = ganaug("fit", photos, "--out", fitted, "--resume", "--images", 128)
    assert result.code == 2
    assert "not the images that run was fitted on" in result.err
    assert "rare/another.png" in result.err


def test_a_policy_that_fires_is_an_end_like_any_other(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", *TINY, "--stop", "max-images:images=32")
    assert result.code == 0
    assert "done, 32 images were seen" in result.out
    assert len(Path("run/history.jsonl").read_text().splitlines()) == 2


def test_giving_up_saves_and_exits_with_three(ganaug, photos):
    hopeless = (
        "--set",
        "generator_learning_rate=1e38",
        "--set",
        "discriminator_learning_rate=1e38",
    )
    result = ganaug("fit", photos, "--out", "run", *TINY, *hopeless, "--images", 256)
    assert result.code == 3
    assert "Gave up" in result.err
    assert "ganaug fit photos --out run --resume" in result.err


def test_classes_may_be_named_in_any_order(ganaug, photos):
    ganaug("fit", photos, "--out", "a", "--class", "rare", "--class", "common", *TINY)
    ganaug("fit", photos, "--out", "b", "--class", "common", "--class", "rare", *TINY)
    assert weights("a") == weights("b")
    assert Run.open("a").config.class_names == ("common", "rare")


def test_the_batch_size_reaches_a_generator_that_has_its_own(ganaug, photos):
    ganaug("fit", photos, "--out", "run", *TINY, "--batch-size", 32)
    assert len(Path("run/history.jsonl").read_text().splitlines()) == 2
    assert Run.open("run").config.recipe.settings["batch_size"] == 32


def test_fewer_images_than_a_batch_are_said(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", "--class", "rare", *TINY, "--batch-size", 32)
    said = "Few images pretraining has 14, fewer than a batch of 32; rare has 4, fewer than a batch"
    assert said in " ".join(result.out.split())
    assert "Few images" not in ganaug("fit", photos, "--out", "b", *TINY, "--batch-size", 8).out


def test_a_file_of_splits_is_followed(ganaug, photos):
    rows = [f"common/{n}.png,{'holdout' if n < 4 else 'training'}" for n in range(12)]
    rows += [f"rare/{n}.png,training" for n in range(5)]
    Path("split.csv").write_text("\n".join(["id,split", *rows]))
    assert ganaug("fit", photos, "--out", "run", "--split", "split.csv", *TINY).code == 0
    assert Run.open("run").config.counts == {"common": 8, "rare": 5}


def test_a_damaged_held_out_image_is_found_before_training(ganaug, photos, fitted):
    with (fitted / "splits.csv").open() as file:
        held = [row["id"] for row in csv.DictReader(file) if row["split"] == "holdout"]
    (photos / held[0]).write_bytes(b"")
    result = ganaug("fit", photos, "--out", "again", *TINY)
    assert result.code == 2
    assert held[0] in result.err


def test_a_run_keeps_hashes_of_training_images_and_shows_synthetic_ones_only(fitted):
    kept = load_file(fitted / "references.safetensors")
    assert kept["gate-1.pixels"].shape == (4, 64)  # of images of 16 x 16 pixels, three channels
    gate = [array for name, array in kept.items() if name.startswith("gate-1")]
    assert len(gate) == 6
    assert all(array.size <= 4 * 64 for array in gate)
    with Image.open(fitted / "samples/grid.png") as sheet:
        assert sheet.height < 2 * 64  # one row, of the one class


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A folder of class folders: 60 images of one class, 40 of another; the cwd above it."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "many" / "common", 60)
    write_images(tmp_path / "many" / "rare", 40)
    return Path("many")


SCORED = ("--eval-every", 32, *TINY)


def splits(run):
    with (Path(run) / "splits.csv").open() as file:
        return [(row["label"], row["split"]) for row in csv.DictReader(file)]


def scores(run):
    return {line["images_seen"]: line["metrics"] for line in history(run) if line["metrics"]}


def test_scores_are_of_validation_rows_that_are_neither_trained_on_nor_held_out(ganaug, many):
    ganaug("fit", many, "--out", "plain", *TINY)
    result = ganaug("fit", many, "--out", "run", *SCORED)
    assert result.code == 0
    counts = Counter(splits("run"))
    assert counts["common", "validation"] == 5
    assert counts["rare", "validation"] == 3
    assert Run.open("run").config.counts == {"common": 43, "rare": 29}
    held = [(label, split) for label, split in splits("plain") if split == "holdout"]
    assert held == [(label, split) for label, split in splits("run") if split == "holdout"]
    assert set(scores("run")) == {32, 64}
    assert set(scores("run")[64]) == {"kid", "kid_subset_std"}
    text = " ".join(result.out.split())
    assert "kid of random-conv features every 32 images, on the 8 validation rows" in text
    assert "2 evaluations on validation rows took" in text


def test_what_is_said_of_validation_rows_is_of_the_classes_that_are_trained(ganaug, many):
    result = ganaug("fit", many, "--out", "run", "--class", "common", *SCORED)
    assert "on the 5 validation rows" in " ".join(result.out.split())


def test_evaluation_is_the_first_thing_to_do_next_where_images_are_held_out(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", *TINY)
    assert "Next:\n  ganaug evaluate run --data photos\n  ganaug sample run" in result.out
    result = ganaug("fit", photos, "--out", "none", "--holdout", 0, *TINY)
    assert "Next:\n  ganaug sample none" in result.out


def test_nothing_is_scored_and_no_row_put_aside_unless_it_is_needed(ganaug, many):
    result = ganaug("fit", many, "--out", "run", *TINY)
    assert "validation" not in {split for _, split in splits("run")}
    assert not scores("run")
    assert "Scores" not in result.out


def test_resuming_has_the_same_scores_and_selects_the_same(ganaug, many):
    best = ("--select", "best", *SCORED)
    ganaug("fit", many, "--out", "a", *best, "--images", 128)
    ganaug("fit", many, "--out", "b", *best, "--images", 64)
    assert ganaug("fit", many, "--out", "b", "--resume", "--images", 128).code == 0
    assert scores("a") == scores("b")
    assert len(scores("a")) == 4
    assert weights("a") == weights("b")
    assert Run.open("a").config == Run.open("b").config


def test_the_best_weights_are_those_of_the_best_score(ganaug, many, monkeypatch):
    from ganaug.builtin.metrics.kid import KID

    given = iter([0.5, 9.0, 3.0, 1.0, 2.0])  # the first is of the rehearsal
    monkeypatch.setattr(KID, "compute", lambda self: {"kid": next(given)})
    ganaug("fit", many, "--out", "run", "--select", "best", *SCORED, "--images", 128)
    assert [score["kid"] for score in scores("run").values()] == [9.0, 3.0, 1.0, 2.0]
    ganaug("fit", many, "--out", "last", "--split", "run/splits.csv", *TINY, "--images", 96)
    best, last = (read_tensors(Path(f"{run}/generator.safetensors"))[0] for run in ("run", "last"))
    assert all(torch.equal(best[name], last[name]) for name in best)


def test_each_class_has_its_own_best(ganaug, many):
    per_class = ("--conditioning", "per-class", "--select", "best")
    options = ("--metric", "kid", "--eval-every", 32, *TINY)
    write_images(many / "other", 60)
    assert ganaug("fit", many, "--out", "a", *per_class, *options, "--images", 96).code == 2
    for number in range(40, 80):
        write_images(many / "new", 1, seed=number)
        (many / "new/0.png").rename(many / f"rare/{number}.png")
        (many / "new").rmdir()
    assert ganaug("fit", many, "--out", "a", *per_class, *options, "--images", 96).code == 0
    assert len(scores("a/classes/0")) == len(scores("a/classes/1")) == 3
    assert scores("a/classes/0") != scores("a/classes/1")


def test_a_policy_that_reads_scores_has_them_and_stops(ganaug, many):
    stop = "plateau:patience=32,min_delta=1000"
    result = ganaug("fit", many, "--out", "run", *SCORED, "--stop", stop)
    assert "done, kid has not improved for 32 images" in result.out
    assert len(scores("run")) == 2
    recipe = Run.open("run").config.recipe
    assert (recipe.metrics, recipe.extractor, recipe.eval_every) == (("kid",), "random-conv", 32)
    again = ganaug("fit", many, "--out", "run", "--resume")
    assert "run is finished: kid has not improved for 32 images" in again.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--select", "best"), "64 training images end before the first, at 5,000"),
        (("--stop", "plateau:metric=fid"), "Plateau reads the score 'fid'"),
        (("--metric", "kidd"), "Did you mean 'kid'"),
        (("--extractor", "random"), "random-conv"),
        (("--metric", "kid:subset_size=99"), "8 validation images of all classes, too few"),
        (("--metric", "kid", "--class", "rare"), "there are 3 of class 'rare'"),
    ],
)
def test_scores_that_cannot_be_are_refused_before_anything_is_written(
    ganaug, many, options, message
):
    result = ganaug("fit", many, "--out", "run", *TINY, *options)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert message in result.err
    assert not Path("run").exists()


def selection(run):
    found = json.loads((Path(run) / "selection.json").read_text())
    listed = json.loads((Path(run) / "manifest.json").read_text())
    assert "selection.json" in listed
    return found


def test_a_loop_breaker_ends_a_run_which_says_what_it_selected_and_why(ganaug, many):
    stop = "loop-breaker:max_epochs=2,end_batch=3"
    options = ("--select", "best", *SCORED, "--images", 999, "--stop", stop)
    result = ganaug("fit", many, "--out", "run", *options)
    assert result.code == 0
    assert "done, 2 epochs of 3 batches are over" in result.out
    assert "Next:\n  ganaug evaluate run --data many" in result.out
    found = selection("run")
    assert (found["select"], found["metric"]) == ("best", "kid")
    (part,) = found["parts"]
    assert part["stopped"] == "2 epochs of 3 batches are over"
    assert (part["weights"], part["compared"], part["trained_steps"]) == ("best", 3, 6)
    assert part["scores"] == scores("run")[part["images_seen"]]
    assert part["scores"]["kid"] == min(each["kid"] for each in scores("run").values())
    said = f"the best of 3 scored, after {part['images_seen']} of 96 images (kid "
    assert f"Weights: {said}" in result.out
    card = Path("run/card.md").read_text()
    assert f"- all classes: {said}" in card
    assert "it ended since 2 epochs of 3 batches are over" in card


def test_each_class_says_which_of_its_weights_were_selected(ganaug, photos):
    options = ("--conditioning", "per-class", "--select", "average", *TINY)
    assert ganaug("fit", photos, "--out", "run", *options).code == 0
    parts = selection("run")["parts"]
    assert [part["part"] for part in parts] == ["common", "rare"]
    assert all(part["weights"] == "average" and part["averaged"] == [64] for part in parts)


def test_what_a_resumed_run_selected_replaces_what_it_had_before(ganaug, photos):
    ganaug("fit", photos, "--out", "run", *TINY)
    assert selection("run")["parts"][0]["images_seen"] == 64
    ganaug("fit", photos, "--out", "run", "--resume", "--images", 96)
    assert selection("run")["parts"][0]["images_seen"] == 96


def test_all_of_several_policies_must_agree(ganaug, photos):
    stop = "max-batches:batches=2 and max-images:images=80"
    result = ganaug("fit", photos, "--out", "run", *TINY, "--images", 960, "--stop", stop)
    assert "or max-batches:batches=2 and max-images:images=80" in " ".join(result.out.split())
    assert "done, 5 batches were seen, of 2 and 80 images were seen, of 80" in result.out
    assert len(history("run")) == 5


def test_a_split_with_validation_rows_brings_its_own(ganaug, many):
    rows = [f"common/{n}.png,{'validation' if n < 9 else 'training'}" for n in range(60)]
    rows += [f"rare/{n}.png,{'holdout' if n < 4 else 'training'}" for n in range(40)]
    Path("split.csv").write_text("\n".join(["id,split", *rows]))
    result = ganaug("fit", many, "--out", "run", "--split", "split.csv", *SCORED)
    assert "on the 9 validation rows" in " ".join(result.out.split())
    assert Counter(splits("run"))["common", "validation"] == 9


def test_what_is_scored_cannot_be_changed_by_resuming(ganaug, many):
    ganaug("fit", many, "--out", "run", *SCORED)
    more = ("fit", many, "--out", "run", "--resume", "--images", 128)
    for option, value in (("--eval-every", 16), ("--metric", "c2st"), ("--extractor", "pca")):
        result = ganaug(*more, option, value)
        assert result.code == 2
        assert result.err.startswith(f"Error: {option} is ")
    same = ("--eval-every", 32, "--metric", "kid", "--extractor", "random-conv")
    assert ganaug(*more, *same).code == 0


def test_a_run_without_validation_rows_takes_no_policy_that_reads_scores(ganaug, many):
    ganaug("fit", many, "--out", "run", *TINY)
    result = ganaug("fit", many, "--out", "run", "--resume", "--images", 128, "--stop", "plateau")
    assert result.code == 2
    assert "this run was begun without" in result.err


def test_a_training_that_ends_before_its_first_evaluation_says_so(ganaug, many):
    stop = ("--stop", "max-images:images=16")
    result = ganaug("fit", many, "--out", "run", "--select", "best", *SCORED, *stop)
    assert result.code == 0
    assert "ended before it was evaluated" in result.err


def events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(
        str(Path(run) / "tensorboard"), size_guidance={"scalars": 0, "images": 0}
    )
    return found.Reload()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_losses_scores_and_sample_grids(ganaug, many):
    options = ("--batch-size", 8, "--tensorboard")
    result = ganaug("fit", many, "--out", "run", *SCORED, *options, "--images", 192)
    assert result.code == 0
    found = events("run")
    kid = [(event.step, event.value) for event in found.Scalars("metric/kid")]
    assert kid == [(n, pytest.approx(s["kid"])) for n, s in scores("run").items()]
    losses = {line["images_seen"]: line["losses"] for line in history("run")}
    name = next(iter(losses[160]))
    written = {event.step: event.value for event in found.Scalars(f"loss/{name}")}
    assert set(written) == {32, 64, 96, 128, 160, 192}  # at evaluations, and every 20 steps
    assert written[160] == pytest.approx(losses[160][name])
    assert [image.step for image in found.Images("samples")] == [32, 64, 96, 128, 160, 192]
    assert not list(Path("run").rglob("*.yaml"))
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert set(manifest) == {n for n in tree(Path("run")) if (Path("run") / n).is_file()} - {
        "manifest.json"
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_goes_on_where_a_run_is_resumed(ganaug, many):
    ganaug("fit", many, "--out", "run", *SCORED, "--tensorboard")
    ganaug("fit", many, "--out", "run", "--resume", "--images", 128, "--tensorboard")
    assert [event.step for event in events("run").Scalars("metric/kid")] == [32, 64, 96, 128]


def test_tensorboard_that_is_not_installed_is_said_before_anything_is_written(
    ganaug, many, monkeypatch
):
    monkeypatch.setattr("ganaug.cli.tensorboard.find_spec", lambda name: None)
    result = ganaug("fit", many, "--out", "run", *TINY, "--tensorboard")
    assert result.code == 2
    assert "pip install 'ganaug[tensorboard]'" in result.err
    assert not Path("run").exists()
