from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from conftest import TinyGAN

from ganaug import Batch, Loss
from ganaug.errors import ConfigError, RunError
from ganaug.hardware import open_fabric
from ganaug.stages import Stage


@pytest.fixture
def stage(tiny_gan):
    return make_stage(tiny_gan)


def make_stage(generator):
    return Stage(generator, open_fabric("cpu", "32-true"), ema_halflife_images=100)


def batch():
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(images=images, labels=torch.zeros(4, dtype=torch.long))


def rng():
    return torch.Generator().manual_seed(0)


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def changed(before, module):
    return [not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]


def test_a_step_changes_its_own_phases_weights_only(stage, tiny_gan):
    network, discriminator = weights(tiny_gan.network), weights(tiny_gan.discriminator)
    loss = stage.optimise(stage.phases[0], batch(), rng=rng())
    assert not loss.terms["adversarial"].requires_grad
    assert not any(changed(network, tiny_gan.network))
    assert all(changed(discriminator, tiny_gan.discriminator))


def test_a_loss_that_is_not_finite_steps_nothing(stage, tiny_gan):
    def poisoned(batch, rng):
        loss = stage.phases[0].loss(batch, rng)
        return Loss({"adversarial": loss.terms["adversarial"] * float("inf")})

    before = weights(tiny_gan.discriminator)
    assert stage.optimise(replace(stage.phases[0], loss=poisoned), batch(), rng=rng()) is None
    assert not any(changed(before, tiny_gan.discriminator))
    assert stage.is_finite()
    with torch.no_grad():
        tiny_gan.discriminator[0].bias[0] = float("nan")
    assert not stage.is_finite()


def test_slowing_down_is_for_every_phase(stage):
    stage.slow_down(0.25)
    rates = [phase.optimizer.param_groups[0]["lr"] for phase in stage.phases]
    assert rates == pytest.approx([2.5e-4, 2.5e-4])


def test_a_state_is_taken_over_by_a_stage_of_the_same_generator(stage, tiny_gan):
    for phase in stage.phases:
        stage.optimise(phase, batch(), rng=rng())
    torch.manual_seed(1)
    other = TinyGAN(tiny_gan.spec)
    again = make_stage(other)
    again.load_state_dict(copy.deepcopy(stage.state_dict()))
    for each in (stage, again):
        torch.manual_seed(0)  # dropout's
        each.optimise(each.phases[1], batch(), rng=rng())
    for one, two in zip(tiny_gan.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(RunError, match="belongs to another generator"):
        again.load_state_dict({"generator": {}, "ema": {}, "optimizers": {}})


def test_a_snapshot_stays_as_it_was(stage, tiny_gan):
    kept = stage.snapshot(40)
    stage.optimise(stage.phases[1], batch(), rng=rng())
    stage.ema.update(tiny_gan.network, batch_size=4, images_seen=44)
    assert kept.images_seen == 40
    assert not torch.equal(kept.weights["1.weight"], stage.ema.network[1].weight)


def test_phases_need_different_names(tiny_gan):
    first, second = tiny_gan.phases()
    tiny_gan.phases = lambda: (first, replace(second, name=first.name))
    with pytest.raises(ConfigError, match="phases need different names"):
        make_stage(tiny_gan)
