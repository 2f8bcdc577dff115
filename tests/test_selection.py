from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from conftest import make_images
from torch import nn

from ganaug import History, Registry, StoppingPolicy, train
from ganaug.checkpoints import read_tree, write_tree
from ganaug.errors import ConfigError
from ganaug.features import build_extractor
from ganaug.fitting import fit_part
from ganaug.selection import Best, Ending, describe, select
from ganaug.shared_features import SharedExtractor
from ganaug.validation import Plan, Validation


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


def growing(images, total_images):
    """A training that grows: 4 px to 24 images, 8 px fades in to 40, stays to 56, then 16 px."""
    fields = {"fmap_max": 8, "fmap_base": 128, "images_per_phase": 16, "max_batch_size": 8}
    plugin = Registry.load().generators["pggan"]
    return train(
        plugin.build(plugin.config(**fields), images.spec),
        images,
        total_images=total_images,
        batch_size=8,
        precision="32-true",
        device="cpu",
        random_state=0,
        snapshot_every_images=8,
    )


def test_an_average_is_at_the_level_that_the_training_has_reached():
    training = growing(make_images(12, size=16, classes=2), 40)
    list(training)
    chosen, last = select(training, "average").network, training.ema.network
    assert len({float(s.weights["level"]) for s in training.snapshots}) > 1
    assert torch.equal(chosen.level, last.level)
    name = "to_pixels.1.weight"
    each = [*(s.weights[name] for s in training.snapshots), last.state_dict()[name]]
    assert torch.allclose(chosen.state_dict()[name], torch.stack(each).mean(0))


def test_weights_of_a_resolution_that_was_trained_before_no_longer_count():
    images = make_images(24, size=16, classes=2)
    held, trained = images.subset(range(12)), images.subset(range(12, 24))
    registry = Registry.load()
    plan = Plan(
        metrics=("kid",),
        extractor=SharedExtractor(build_extractor("random-conv", images.spec, registry)),
        registry=registry,
        every=8,
        keep_best=True,
        tell=print,
    )
    validation = Validation(held, trained, plan, name="all classes", seed=0)
    rising = iter(range(100))
    validation.score = lambda generator: {"kid": float(next(rising))}
    training, history, kept = growing(trained, 56), History(), []
    fit_part(
        training,
        [],
        history=history,
        validation=validation,
        on_step=lambda progress: kept.append((progress.resolution, validation.best.images_seen)),
    )
    assert [side for side, _ in kept] == [4, 4, 4, 8, 8, 8, 8]
    assert [seen for _, seen in kept] == [8, 8, 8, 32, 32, 32, 32]
    choice = describe(training, "best", validation.best, Ending(history, "done"), part="all")
    assert (choice.images_seen, choice.compared) == (32, 4)
    again = Best(higher_is_better=False)
    again.load_state_dict(validation.best.state_dict())
    again.enter(8, True)
    assert (again.images_seen, again.compared) == (32, 4)
    again.enter(16, True)
    assert (again.images_seen, again.compared) == (None, 0)


def test_weights_of_an_autoencoder_do_not_count_beside_those_of_the_gan():
    network, best = torch.nn.Linear(1, 1), Best(higher_is_better=False)
    for images_seen, is_growing, score in ((8, True, 1.0), (16, False, 5.0), (24, False, 4.0)):
        best.enter(None, is_growing)
        best.consider(network, score, step=images_seen, images_seen=images_seen)
    assert (best.images_seen, best.compared) == (24, 2)


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
    assert best.compared == 8
    best.forget_from(4)
    assert best.compared == 3
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


def scored_history(training, scores):
    """A history of eight steps of 8 images with these scores; None for a step without one."""
    records = (
        replace(progress, metrics={} if score is None else {"kid": score})
        for progress, score in zip(training, scores, strict=True)
    )
    return History(records)


def test_what_was_chosen_is_described(blobs, tiny_gan):
    training = train(
        tiny_gan,
        blobs,
        total_images=64,
        batch_size=8,
        random_state=0,
        snapshot_every_images=16,
        keep_snapshots=2,
    )
    history = scored_history(training, [None, 5.0, None, 3.0, None, 4.0, None, 9.0])
    best = Best(higher_is_better=False)
    for step, score in ((2, 5.0), (4, 3.0), (6, 4.0), (8, 9.0)):
        best.consider(training.ema.network, score, step=step, images_seen=8 * step)
    ending = Ending(history, "the losses are flat")
    chosen = {how: describe(training, how, best, ending, part="rare") for how in HOWS}
    for choice in chosen.values():
        fields = choice.to_fields()
        assert (fields["part"], fields["stopped"]) == ("rare", "the losses are flat")
        assert (fields["trained_images"], fields["trained_steps"]) == (64, 8)
        assert json.loads(json.dumps(fields)) == fields
    assert chosen["best"].images_seen == 32
    assert chosen["best"].scores == {"kid": 3.0}
    assert str(chosen["best"]) == "the best of 4 scored, after 32 of 64 images (kid 3)"
    assert chosen["last"].scores == {"kid": 9.0}
    assert str(chosen["last"]) == "the last, after 64 images (kid 9)"
    assert chosen["average"].averaged == (48, 64, 64)
    assert chosen["average"].scores == {}
    assert str(chosen["average"]) == "the average of 3, from 48 to 64 images"


HOWS = ("last", "average", "best")


def test_what_was_asked_for_and_could_not_be_is_not_said_to_have_been_chosen(blobs, tiny_gan):
    training = trained(tiny_gan, blobs)
    ending = Ending(History(), "64 images were seen")
    choice = describe(training, "best", Best(higher_is_better=False), ending, part="all classes")
    assert (choice.weights, choice.images_seen, choice.scores) == ("last", 64, {})


class Breaker(StoppingPolicy):
    """Stops once the score has been worse than the one before for four steps."""

    needs_metrics = True

    def reason_to_stop(self, history):
        scores = [record.metrics["kid"] for record in history]
        return "it gets worse" if len(scores) > 4 and scores[-5:] == sorted(scores[-5:]) else None


class Scores:
    """In place of a validation: scores by step, and the best weights by them."""

    def __init__(self, scores):
        self.scores, self.best, self.weights = scores, Best(higher_is_better=False), {}

    def update(self, training, history):
        newest = history[-1]
        score = self.scores[newest.step - 1]
        history[-1] = replace(newest, metrics={"kid": score})
        network, seen = training.ema.network, newest.images_seen
        self.best.consider(network, score, step=newest.step, images_seen=seen)
        self.weights[newest.step] = weight(training.ema).clone()


def test_after_a_breaker_has_fired_the_best_are_the_old_weights(blobs, tiny_gan):
    training = train(tiny_gan, blobs, total_images=800, batch_size=8, random_state=0)
    validation, history = Scores([5, 4, 2, 3, 4, 5, 6, 7]), History()
    reason = fit_part(training, [Breaker()], history=history, validation=validation)
    assert (reason, training.step) == ("it gets worse", 7)
    chosen = weight(select(training, "best", validation.best))
    assert torch.equal(chosen, validation.weights[3])
    assert not torch.equal(chosen, weight(training.ema))
    for _ in range(5):  # a copy: whoever trains on changes nothing
        next(training)
    again = weight(select(training, "best", validation.best))
    assert torch.equal(again, validation.weights[3])
    assert torch.equal(chosen, again)
    choice = describe(training, "best", validation.best, Ending(history, reason), part="all")
    assert (choice.images_seen, choice.scores, choice.compared) == (24, {"kid": 2}, 7)
