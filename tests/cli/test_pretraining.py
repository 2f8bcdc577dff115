"""``ganaug fit --conditioning pretrain-finetune``."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cli.scenes import tree, write_images
from ganaug import fitting
from ganaug.errors import RunError
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


@pytest.mark.parametrize(
    ("classes", "expected"), [(("--class", "rare"), "pretrain-finetune"), ((), "conditional")]
)
def test_a_class_that_is_named_learns_from_the_others_too(ganaug, photos, classes, expected):
    result = ganaug("fit", photos, "--out", "a", *TINY[:-2], "--images", 32, *classes)
    assert result.code == 0, result.err
    assert Run.open("a").config.recipe.conditioning == expected


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


def test_a_source_of_one_class_is_refused(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos" / "rare", 8)
    result = ganaug("fit", "photos", "--out", "run", *TINY)
    assert result.code == 2
    assert "there is only class 'rare'" in result.err
    assert result.err.count("\n") == 1
    assert not Path("run").exists()


@pytest.mark.parametrize("named", [("rare",), ("other", "rare")])
def test_pretraining_sees_all_classes_whichever_are_named(ganaug, photos, named):
    write_images(photos / "other", 6)
    classes = [word for name in named for word in ("--class", name)]
    result = ganaug("fit", photos, "--out", "run", *TINY, *classes, "--images", 64)
    assert (result.code, result.err) == (0, "")
    rows = [line.split() for line in result.out.splitlines()]
    uses = {row[0]: row[-1] for row in rows if len(row) > 2 and row[1].isdecimal()}
    assert uses["common"] == "before"
    assert {uses[name] for name in named} == {"yes"}
    run = Run.open("run")
    assert run.config.class_names == named
    gate = run.read_model(Registry.load()).copies  # knows every image that was trained on
    assert len(gate.bundles) == sum(run.config.counts.values())
    assert "is finished" in ganaug("fit", photos, "--out", "run", "--resume").out


def test_pretraining_is_scored_on_validation_rows_of_all_classes(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("common", "rare"):
        write_images(tmp_path / "photos" / name, 80)
    seen = {}
    rows_of = fitting._rows_of

    def note(part, rows):
        seen[part.name] = len(rows_of(part, rows))
        return rows_of(part, rows)

    monkeypatch.setattr(fitting, "_rows_of", note)
    scored = ("--class", "rare", "--images", 64, "--eval-every", 32)
    assert ganaug("fit", "photos", "--out", "run", *TINY, *scored).code == 0
    assert seen["pretraining"] == 2 * seen["rare"] > 0


def test_finished_classes_are_kept_until_it_is_certain_that_they_begin_anew(
    ganaug, photos, monkeypatch
):
    ganaug("fit", photos, "--out", "run", *TINY, "--images", 64)
    before = tree(Path("run"))

    def fail(self):
        raise RunError("The disk is full.")

    longer = ("--out", "run", "--resume", "--images", 128)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "begin_anew", fail)
        assert ganaug("fit", photos, *longer).code == 2
    assert tree(Path("run")) == before
    result = ganaug("fit", photos, *longer)
    assert "The pretraining goes on, so the 2 fine-tunings begin anew." in result.out


def test_a_class_of_one_image_is_refused(ganaug, photos):
    write_images(photos / "single", 1)
    result = ganaug("fit", photos, "--out", "run", *TINY, "--holdout", 0)
    assert result.code == 2
    assert "Class 'single' has 1 training image;" in result.err
    assert not Path("run").exists()
