"""Event files of a training that goes back, or begins where another stopped."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TinyGAN
from PIL import Image
from test_copies import RANGE, labelled, pictures

from cli.scenes import TINY
from ganaug.cli.tensorboard import EventFiles
from ganaug.copies import CopyGate
from ganaug.grids import draw_grid
from ganaug.pixels import to_signed
from ganaug.stopping import Progress

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def training(blobs):
    return SimpleNamespace(images_seen=0, images=blobs, ema=TinyGAN(blobs.spec).eval())


def write(folder, training, *records):
    files = EventFiles(folder, training, every=20, gate=None)
    for images, kid in records:
        metrics = {"kid": kid}
        files.update(Progress(images_seen=images, step=images, epoch=0, losses={}, metrics=metrics))
    files.close()


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def read(folder):
    found = events(folder)
    images = [image.step for image in found.Images("samples")]
    return [(event.step, event.value) for event in found.Scalars("metric/kid")], images


def test_steps_done_again_after_a_rollback_replace_what_was_there(tmp_path, training):
    write(tmp_path, training, (10, 1.0), (20, 2.0), (30, 3.0), (10, 4.0), (20, 5.0))
    assert read(tmp_path) == ([(10, 4.0), (20, 5.0)], [20])


def test_what_a_crash_left_beyond_the_checkpoint_is_replaced_on_resuming(tmp_path, training):
    write(tmp_path, training, (10, 1.0), (20, 2.0), (30, 3.0))
    training.images_seen = 10
    write(tmp_path, training, (20, 4.0))
    assert read(tmp_path) == ([(10, 1.0), (20, 4.0)], [20])


def newest_grid(folder):
    encoded = events(folder).Images("samples")[-1].encoded_image_string
    return np.asarray(Image.open(io.BytesIO(encoded)))


@pytest.mark.parametrize("guarded", [True, False])
def test_copies_of_training_images_are_grey_in_grids(tmp_path, guarded):
    known, drawn = pictures(40, seed=0), pictures(8, seed=1)
    drawn[::2] = known[:4, :, :, ::-1]  # a generator that gives out what it was shown, mirrored
    images = labelled(known)

    class Memorising(TinyGAN):
        def sample(self, labels, *, rng):
            return to_signed(drawn, RANGE)

    training = SimpleNamespace(images_seen=0, images=images, ema=Memorising(images.spec))
    gate = CopyGate.of(images) if guarded else None
    files = EventFiles(tmp_path, training, every=20, gate=gate)
    files.update(Progress(images_seen=20, step=1, epoch=0, losses={}))
    files.close()
    shown = drawn.copy()
    if guarded:
        shown[::2] = 127
    assert (newest_grid(tmp_path) == np.asarray(draw_grid([("a", shown)], RANGE))).all()


def test_the_grids_of_a_run_show_no_training_image(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(pictures(40, seed=0)):
        path = Path("photos", "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)

    def sample_batches(generator, labels, *, seed):
        lines = [line.split(",") for line in Path("run/splits.csv").read_text().split()]
        trained = [Path("photos", line[0]) for line in lines if line[-1] == "training"]
        own = [path for path in trained if path.parent.name in generator.spec.class_names]
        copies = np.stack([np.asarray(Image.open(path))[None] for path in own])
        return [to_signed(copies[: len(labels)], RANGE)]

    monkeypatch.setattr("ganaug.validation.sample_batches", sample_batches)
    monkeypatch.setattr("ganaug.cli.session.DEFAULT_EVAL_EVERY", 64)
    given = ("--conditioning", "per-class", "--tensorboard")
    assert ganaug("fit", "photos", "--out", "run", *TINY, *given).code == 0
    for name in ("a", "b"):
        images = newest_grid(Path("run", "tensorboard", name))[18:, 2:]  # below the title
        assert set(np.unique(images)) == {127, 255}
