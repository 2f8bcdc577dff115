"""R3GAN keeps the promises that ganaug asks of a generator."""

from __future__ import annotations

import pytest
import torch
from ganaug_r3gan import R3GANConfig, ganaug_generators
from ganaug_r3gan.layers import Block, widths_up_to
from ganaug_r3gan.network import R3GAN, gradient_penalty

from ganaug import ImageSpec
from ganaug.errors import ConfigError, ShapeError
from ganaug.testing import parametrize_checks

(PLUGIN,) = ganaug_generators()


def spec(height=32, width=None, channels=1, classes=("a",)):
    return ImageSpec(channels=channels, height=height, width=width or height, class_names=classes)


@parametrize_checks(PLUGIN, settings={"latent_dim": 8, "batch_size": 8})
def test_keeps_its_promises(check):
    check()


def test_what_it_cannot_do_is_refused_with_sizes_that_it_can():
    with pytest.raises(ShapeError, match="got 48x48. Resize with size=32, 64, 128 or 256"):
        R3GAN(R3GANConfig(), spec(48))


def test_widths_are_whole_groups():
    with pytest.raises(ConfigError, match="width.*multiple of 16; got 20"):
        R3GANConfig.from_fields({"width": 20})
    assert widths_up_to(256, 32) == [128, 128, 64, 32, 16, 16, 16]


@pytest.mark.parametrize("side", [32, 64, 256])
def test_images_of_every_size_are_judged(side):
    torch.manual_seed(0)
    generator = R3GAN(R3GANConfig(width=16, blocks=1), spec(side, channels=3, classes=("a", "b")))
    labels = torch.tensor([0, 1])
    images = generator.sample(labels, rng=torch.Generator().manual_seed(0))
    assert images.shape == (2, 3, side, side)
    assert generator.score(images, labels).shape == (2,)


def test_a_block_begins_as_the_identity():
    torch.manual_seed(0)
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(Block(32, in_all=4)(x), x)


def test_the_penalty_of_a_linear_critic_is_the_square_of_its_weights():
    weight = torch.arange(12.0).reshape(3, 2, 2)
    penalty = gradient_penalty(
        lambda images, labels: (images * weight).sum((1, 2, 3)),
        torch.zeros(4, 3, 2, 2),
        torch.zeros(4, dtype=torch.int64),
    )
    assert penalty.item() == weight.square().sum().item()
