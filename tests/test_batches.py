from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from conftest import make_images

from ganaug.batches import Batches
from ganaug.errors import ConfigError


@dataclass
class Processes:
    """The part of Fabric that batches look at."""

    world_size: int = 1
    global_rank: int = 0
    device: str = "cpu"


def test_a_batch_is_balanced_signed_and_channels_last():
    images = make_images(24, classes=3, channels=3)
    batch = Batches(images, Processes(), seed=0).draw(9)
    assert batch.labels.bincount().tolist() == [3, 3, 3]
    assert batch.images.shape == (9, 3, 8, 8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert -1 <= batch.images.min() < 0 < batch.images.max() <= 1


def test_the_shares_of_all_processes_are_the_batch_of_one():
    images = make_images(24, classes=2)
    whole = Batches(images, Processes(), seed=0).draw(8)
    shares = [Batches(images, Processes(2, rank), seed=0).draw(8) for rank in (0, 1)]
    assert torch.equal(torch.cat([share.images for share in shares]), whole.images)
    assert torch.equal(torch.cat([share.labels for share in shares]), whole.labels)
    assert [(share.offset, share.total) for share in shares] == [(0, 8), (4, 8)]


def test_a_batch_that_cannot_be_shared_is_refused():
    batches = Batches(make_images(), Processes(world_size=2), seed=0)
    with pytest.raises(ConfigError, match="a multiple of the 2 processes; got 7"):
        batches.draw(7)


def test_a_stream_goes_on_from_its_state():
    images = make_images(24, classes=2)
    first = Batches(images, Processes(), seed=0)
    first.draw(5)
    again = Batches(images, Processes(), seed=9)
    again.load_state_dict(first.state_dict())
    assert torch.equal(first.draw(30).images, again.draw(30).images)
    assert first.state_dict() == again.state_dict() == {"seed": 0, "position": 35}
