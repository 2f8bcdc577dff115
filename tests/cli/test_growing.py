"""``ganaug fit`` with a generator that grows: sheets of its stages, and where it ended."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from conftest import make_images
from PIL import Image

from cli.scenes import tree
from ganaug import Registry, train
from ganaug.cli.sheets import StageSheets, sample_sheet
from ganaug.runs import Run

# Steps of 8 images. 4 px to 24, 8 px fades in to 40 and stays to 56, 16 px fades in to 72.
FIELDS = {"fmap_max": 8, "fmap_base": 128, "images_per_phase": 16, "max_batch_size": 8}
GROWING = (
    *("--generator", "pggan", "--precision", "32-true"),
    *(word for name, value in FIELDS.items() for word in ("--set", f"{name}={value}")),
)


def sheets(run):
    return {name: data for name, data in tree(Path(run)).items() if "/stage-" in f"/{name}"}


def card(run):
    return (Path(run) / "card.md").read_text("utf-8")


def test_samples_of_each_stage_that_ended_are_kept_and_sealed(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", *GROWING, "--images", 88)
    assert (result.code, result.err) == (0, "")
    assert set(sheets("run")) == {"samples/stage-4px.png", "samples/stage-8px.png"}
    assert set(sheets("run")) < set(json.loads(Path("run/manifest.json").read_text("utf-8")))
    assert len(set(sheets("run").values())) == 2
    for side in (4, 8):
        line = f"all classes: a stage ended; look at run/samples/stage-{side}px.png"
        assert line in result.out.splitlines()
        with Image.open(f"run/samples/stage-{side}px.png") as sheet:
            assert sheet.width > 8 * 64  # eight images, of 64 pixels each on the sheet
    assert "Not grown" not in result.out
    assert "trained up to" not in card("run")


def test_an_autoencoder_that_never_came_to_its_gan_is_said(ganaug, photos):
    settings = ("width=4", "code_dim=8", "hidden=8", "autoencoder_batch_size=4", "batch_size=4")
    fields = [word for field in settings for word in ("--set", field)]
    tiny = ("--generator", "aegan", "--size", 16, *fields, "--set", "autoencoder_images=24")
    for images, said in ((24, True), (40, False)):
        result = ganaug("fit", photos, "--out", f"run{images}", *tiny, "--images", images)
        assert result.code == 0
        header = " ".join(result.out.split())
        assert "Stages the last one begins after 24 images" in header
        assert ("which is not before the end: give it more --images" in header) is said
        text = "ended in a stage before the last one"
        assert (f"Not grown to the end: {text}" in " ".join(result.out.split())) is said
        assert (text in card(f"run{images}")) is said


def test_a_sheet_shows_the_average_as_the_stage_left_it(tmp_path):
    images = make_images(12, size=16, classes=2)
    plugin = Registry.load().generators["pggan"]
    generator = plugin.build(plugin.config(**FIELDS), images.spec)
    training = train(generator, images, total_images=32, random_state=0)

    class Nothing:
        def find(self, pixels, value_range):
            return pixels[:, 0, 0, 0] != pixels[:, 0, 0, 0]

    kept = StageSheets(tmp_path / "samples", training, None, Nothing)
    for progress in training:
        if progress.resolution == 4:
            expected = sample_sheet(training.ema, images, None)
        written = kept.update(progress)
        assert (written is None) == (progress.images_seen != 32)
    with Image.open(written) as sheet:
        assert sheet.tobytes() == expected.tobytes()
    assert sample_sheet(training.ema, images, None).tobytes() != expected.tobytes()


def test_copies_of_training_images_are_grey_on_sheets(tmp_path):
    images = make_images(12, size=16, classes=2)
    plugin = Registry.load().generators["pggan"]
    generator = plugin.build(plugin.config(**FIELDS), images.spec)

    class Everything:
        def find(self, pixels, value_range):
            return pixels[:, 0, 0, 0] == pixels[:, 0, 0, 0]

    sheet = sample_sheet(generator.eval(), images, Everything())
    assert sheet.getpixel((30, 50)) == (127, 127, 127)


@pytest.mark.parametrize("step", [3, 4])  # 8 px begins with the fourth
def test_an_interrupted_run_has_the_same_sheets(ganaug, photos, monkeypatch, step):
    ganaug("fit", photos, "--out", "straight", *GROWING, "--images", 64)
    original, calls = Run.append_history, []

    def hit(*arguments):
        calls.append(arguments)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(Run, "append_history", hit)
    assert ganaug("fit", photos, "--out", "cut", *GROWING, "--images", 64).code == 3
    assert ganaug("fit", photos, "--out", "cut", "--resume").code == 0
    assert sheets("cut") == sheets("straight")
    assert sheets("cut")


def test_each_class_with_a_generator_of_its_own_has_its_own_sheets(ganaug, photos):
    several = ("--conditioning", "per-class", "--images", 32)
    assert ganaug("fit", photos, "--out", "run", *GROWING, *several).code == 0
    assert set(sheets("run")) == {f"classes/{n}/samples/stage-4px.png" for n in (0, 1)}
    assert "- common: trained up to 8 px of 16, which was still fading in" in card("run")


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (16, "trained up to 4 px of 16; images are enlarged to 16 px"),
        (64, "trained up to 16 px of 16, which was still fading in"),
    ],
)
def test_a_run_that_has_not_grown_to_the_end_says_how_far_it_came(ganaug, photos, images, text):
    result = ganaug("fit", photos, "--out", "run", *GROWING, "--images", images)
    assert f"Not grown to the end: {text}. Go on with --resume and more" in result.out
    assert f"- all classes: {text}\n" in card("run")


def test_a_generator_that_does_not_grow_has_no_stages(ganaug, photos):
    ganaug("fit", photos, "--out", "run", "--images", 64, "--set", "width=8")
    assert not sheets("run")
    assert "trained up to" not in card("run")
