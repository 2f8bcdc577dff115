"""``ganaug fit --conditioning pretrain-finetune``."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cli.scenes import tree, write_images
from ganaug.registry import Registry
from ganaug.runs import Run

PRETRAINED = ("--conditioning", "pretrain-finetune")
TINY = ("--set", "width=8", "--precision", "32-true", *PRETRAINED)


def weights(run):
    return [(Path(run) / f"classes/{n}/generator.safetensors").read_bytes() for n in (0, 1)]


def steps(run):
    found = Run.open(run).recorded_histories()
    return {name: [progress.images_seen for progress in found[name]] for name in found}


@pytest.fixture
def interrupt_at(monkeypatch):
    """Send Ctrl-C right after a step."""

    def arrange(number):
        original, calls = Run.append_history, []

        def hit(*arguments):
            calls.append(arguments)
            if len(calls) == number:
                signal.raise_signal(signal.SIGINT)
            return original(*arguments)

        monkeypatch.setattr(Run, "append_history", hit)

    yield arrange
    monkeypatch.undo()


def test_a_run_has_a_generator_a_class_and_the_pretraining_beside_them(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", *TINY, "--images", 128)
    assert (result.code, result.err) == (0, "")
    header = " ".join(result.out.split())
    assert "128 images, then 32 for each class" in header
    assert "one for each of 2 classes" in header
    labels = ("pretraining 1/3: done", "common 2/3: done", "rare 3/3: done")
    places = [result.out.index(label) for label in labels]
    assert places == sorted(places)
    files = {name for name in tree(Path("run")) if name.endswith(("safetensors", "jsonl"))}
    each = {"generator.safetensors", "history.jsonl", "checkpoint/state.safetensors"}
    assert files == {
        *("history.jsonl", "checkpoint/state.safetensors", "references.safetensors"),
        *(f"classes/{number}/{name}" for number in (0, 1) for name in each),
    }
    assert list(steps("run")) == ["pretraining on all classes", "common", "rare"]
    assert [seen[-1] for seen in steps("run").values()] == [128, 32, 32]
    assert ganaug("sample", "run", "--out", "few", "-n", 2).code == 0
    assert ganaug("evaluate", "run", "--data", photos, "--metric", "colour-stats").code == 0


def test_pretraining_changes_what_a_class_learns(ganaug, photos):
    ganaug("fit", photos, "--out", "a", *TINY, "--images", 128)
    ganaug("fit", photos, "--out", "b", *TINY[:-2], "--conditioning", "per-class", "--images", 32)
    assert weights("a")[0] != weights("b")[0]


@pytest.mark.parametrize("step", [3, 4, 5, 7])
def test_an_interrupt_anywhere_changes_nothing(ganaug, photos, interrupt_at, step):
    ganaug("fit", photos, "--out", "straight", *TINY, "--images", 64, "--set", "batch_size=8")
    interrupt_at(step + 4)  # steps of 8 images: 8 of the pretraining, 2 of each class
    cut = ganaug("fit", photos, "--out", "cut", *TINY, "--images", 64, "--set", "batch_size=8")
    assert cut.code == 3
    assert f"Interrupted at {8 * (step + 4)} images" in cut.err
    assert ganaug("fit", photos, "--out", "cut", "--resume").code == 0
    assert weights("cut") == weights("straight")
    assert steps("cut") == steps("straight")
    again = ganaug("fit", photos, "--out", "cut", "--resume")
    assert "is finished" in again.out


def test_more_images_are_more_of_the_pretraining_and_classes_begin_anew(
    ganaug, photos, interrupt_at
):
    ganaug("fit", photos, "--out", "straight", *TINY, "--images", 128)
    ganaug("fit", photos, "--out", "longer", *TINY, "--images", 64)
    assert weights("longer") != weights("straight")
    interrupt_at(4)  # at the end of the longer pretraining, before a class is begun
    assert ganaug("fit", photos, "--out", "longer", "--resume", "--images", 128).code == 3
    assert ganaug("fit", photos, "--out", "longer", "--resume").code == 0
    assert weights("longer") == weights("straight")
    assert steps("longer") == steps("straight")


def test_one_class_alone_is_refused(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", *TINY, "--class", "rare")
    assert result.code == 2
    assert "there is only class 'rare'" in result.err
    assert result.err.count("\n") == 1
    assert not Path("run").exists()


def test_classes_that_are_named_are_all_that_is_trained_on(ganaug, photos):
    write_images(photos / "other", 6)
    named = ("--class", "rare", "--class", "other", "--images", 64)
    assert ganaug("fit", photos, "--out", "run", *TINY, *named).code == 0
    run = Run.open("run")
    counts = run.config.counts
    assert run.config.class_names == ("other", "rare")
    gate = run.read_model(Registry.load()).copies  # knows every image that was trained on
    assert len(gate.bundles) == counts["other"] + counts["rare"]


def test_a_class_of_one_image_is_refused(ganaug, photos):
    write_images(photos / "single", 1)
    result = ganaug("fit", photos, "--out", "run", *TINY, "--holdout", 0)
    assert result.code == 2
    assert "Class 'single' has 1 training image;" in result.err
    assert not Path("run").exists()
