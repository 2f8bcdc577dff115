"""``ganaug fit``: what a run holds, stopping and going on."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

from cli.scenes import TINY, tree, write_images
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
        "manifest.json",
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
    hashes = load_file(fitted / "references.safetensors")["hashes"]
    assert hashes.shape == (2 * 4, 16)  # four images, as they are and mirrored
    with Image.open(fitted / "samples/grid.png") as sheet:
        assert sheet.height < 2 * 64  # one row, of the one class
