"""Event files of a training that goes back, or begins where another stopped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from conftest import TinyGAN

from ganaug.cli.tensorboard import EventFiles
from ganaug.stopping import Progress

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def training(blobs):
    return SimpleNamespace(images_seen=0, images=blobs, ema=TinyGAN(blobs.spec).eval())


def write(folder, training, *records):
    files = EventFiles(folder, training, every=20)
    for images, kid in records:
        metrics = {"kid": kid}
        files.update(Progress(images_seen=images, step=images, epoch=0, losses={}, metrics=metrics))
    files.close()


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
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
