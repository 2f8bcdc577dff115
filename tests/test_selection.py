from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ganaug import train
from ganaug.checkpoints import read_tree, write_tree
from ganaug.errors import ConfigError
from ganaug.selection import Best, select


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


def weight(generator):
    return generator.network[1].weight


def trained_with_scores(generator, images, scores, *, higher_is_better=False):
    """Train eight steps, each with a score; return the training, what is best, and all weights."""
    training = train(generator, images, total_images=64, batch_size=8, random_state=0)
    best, weights = Best(higher_is_better=higher_is_better), []
    for progress, score in zip(training, scores, strict=True):
        seen = progress.images_seen
        best.consider(training.ema.network, score, step=progress.step, images_seen=seen)
        weights.append(weight(training.ema).clone())
    return training, best, weights


@pytest.mark.parametrize(
    ("higher_is_better", "scores", "expected"),
    [
        (False, [9, 5, 7, 4, 6, math.nan, 4, 8], 3),
        (True, [1, 5, 7, 9, 6, math.inf, 4, 8], 5),
        (True, [-3, -5, math.nan, -4, -6, -9, -4, -8], 0),
    ],
)
def test_best_are_the_weights_as_they_were_at_the_best_score(
    blobs, tiny_gan, higher_is_better, scores, expected
):
    training, best, weights = trained_with_scores(
        tiny_gan, blobs, scores, higher_is_better=higher_is_better
    )
    chosen = weight(select(training, "best", best))
    assert torch.equal(chosen, weights[expected])
    assert best.images_seen == 8 * (expected + 1)
    assert not torch.equal(chosen, weight(training.ema))  # it has learned on since
    chosen.data.zero_()
    assert torch.equal(weight(select(training, "best", best)), weights[expected])


def test_best_survives_a_checkpoint(blobs, tiny_gan, tmp_path):
    training, best, weights = trained_with_scores(tiny_gan, blobs, [9, 5, 7, 6, 6, 7, 8, 8])
    write_tree(tmp_path / "state", {"best": best.state_dict()})
    again = Best(higher_is_better=False)
    again.load_state_dict(read_tree(tmp_path / "state")["best"])
    assert torch.equal(weight(select(training, "best", again)), weights[1])
    again.consider(training.ema.network, 5.5, step=9, images_seen=72)
    assert again.images_seen == 16
    again.consider(training.ema.network, 4.5, step=9, images_seen=72)
    assert again.images_seen == 72


def test_what_a_rollback_made_void_is_not_the_best(blobs, tiny_gan):
    training, best, weights = trained_with_scores(tiny_gan, blobs, [9, 5, 7, 3, 2, 8, 8, 8])
    best.forget_from(4)
    assert torch.equal(weight(select(training, "best", best)), weights[1])


def test_few_improvements_are_kept_however_many_there_are(blobs, tiny_gan):
    _, best, _ = trained_with_scores(tiny_gan, blobs, [8, 7, 6, 5, 4, 3, 2, 1])
    assert [kept["score"] for kept in best.state_dict()["candidates"]] == [4, 3, 2, 1]


def test_weights_of_a_network_that_has_grown_since_no_longer_count(blobs, tiny_gan):
    training, best, _ = trained_with_scores(tiny_gan, blobs, [9, 5, 7, 3, 2, 8, 8, 8])
    network = training.ema.network
    network.append(nn.Conv2d(1, 1, 1))
    with pytest.warns(UserWarning, match="ended before it was evaluated"):
        chosen = select(training, "best", best)
    assert torch.equal(weight(chosen), weight(training.ema))
    best.consider(network, 6.0, step=9, images_seen=72)
    assert best.images_seen == 72


def test_without_an_evaluation_the_last_weights_are_handed_out_with_a_warning(blobs, tiny_gan):
    training = trained(tiny_gan, blobs)
    with pytest.warns(UserWarning, match="the last ones are handed out"):
        chosen = select(training, "best", Best(higher_is_better=False))
    assert torch.equal(weight(chosen), weight(training.ema))
