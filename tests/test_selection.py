from __future__ import annotations

import pytest
import torch

from ganaug import train
from ganaug.errors import ConfigError
from ganaug.selection import select


def trained(generator, images, **kwargs):
    training = train(
        generator,
        images,
        total_images=64,
        batch_size=8,
        random_state=0,
        snapshot_every_images=16,
        **kwargs,
    )
    list(training)
    return training


def test_last_is_a_copy_of_the_moving_average(blobs, tiny_gan):
    training = trained(tiny_gan, blobs)
    chosen = select(training, "last")
    assert torch.equal(chosen.network[1].weight, training.ema.network[1].weight)
    training.ema.network[1].weight.data.zero_()
    assert chosen.network[1].weight.abs().sum() > 0


def test_average_is_the_mean_of_snapshots_and_the_moving_average(blobs, tiny_gan):
    training = trained(tiny_gan, blobs, keep_snapshots=2)
    weights = [s.weights["1.weight"] for s in training.snapshots]
    assert len(weights) == 2
    expected = (weights[0] + weights[1] + training.ema.network[1].weight) / 3
    assert torch.allclose(select(training, "average").network[1].weight, expected)
    assert not torch.allclose(expected, training.ema.network[1].weight)


def test_what_cannot_be_selected_says_why(blobs, tiny_gan):
    training = trained(tiny_gan, blobs)
    with pytest.raises(ConfigError, match="'best' needs scores on validation rows"):
        select(training, "best")
    with pytest.raises(ConfigError, match="one of last, average, best; got 'first'"):
        select(training, "first")
