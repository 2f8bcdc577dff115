from __future__ import annotations

import pytest
import torch

from ganaug.ema import EMA


def test_after_one_halflife_a_weight_has_moved_half_of_the_way(tiny_gan):
    ema = EMA(tiny_gan, halflife_images=100)
    start = ema.network[1].weight.clone()
    with torch.no_grad():
        tiny_gan.network[1].weight.add_(1.0)
    for _ in range(4):
        ema.update(tiny_gan.network, batch_size=25, images_seen=10_000)
    assert (ema.network[1].weight - start).mean().item() == pytest.approx(0.5, abs=1e-4)


def test_early_on_the_halflife_is_a_twentieth_of_the_images_seen(tiny_gan):
    ema = EMA(tiny_gan, halflife_images=1e6)
    start = ema.network[1].weight.clone()
    with torch.no_grad():
        tiny_gan.network[1].weight.add_(1.0)
    ema.update(tiny_gan.network, batch_size=25, images_seen=500)
    assert (ema.network[1].weight - start).mean().item() == pytest.approx(0.5, abs=1e-4)


def test_buffers_are_copied_and_the_live_network_is_left_alone(tiny_gan):
    tiny_gan.network.register_buffer("seen", torch.tensor(0.0))
    ema = EMA(tiny_gan, halflife_images=100)
    tiny_gan.network.seen.fill_(7.0)
    weight = tiny_gan.network[1].weight.clone()
    ema.update(tiny_gan.network, batch_size=8, images_seen=1000)
    assert ema.network.seen == 7
    assert torch.equal(tiny_gan.network[1].weight, weight)
    assert not ema.generator.training
    assert tiny_gan.training
    assert not any(p.requires_grad for p in ema.generator.parameters())
