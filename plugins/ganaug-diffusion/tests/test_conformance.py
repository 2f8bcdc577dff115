"""Diffusion keeps the promises that ganaug asks of a generator."""

from __future__ import annotations

import pytest
import torch
from ganaug_diffusion import DiffusionConfig, ganaug_generators
from ganaug_diffusion.network import Diffusion

from ganaug import Batch, ImageSpec
from ganaug.errors import ConfigError, ShapeError
from ganaug.testing import parametrize_checks

(PLUGIN,) = ganaug_generators()
SMALL = {"width": 8, "levels": 2, "steps": 4, "batch_size": 8}


def spec(height=8, width=8, classes=("a", "b")):
    return ImageSpec(channels=1, height=height, width=width, class_names=classes)


@parametrize_checks(PLUGIN, settings=SMALL)
def test_keeps_its_promises(check):
    check()


def test_what_it_cannot_halve_is_refused():
    with pytest.raises(ShapeError, match="multiples of 4; got 30x28. Resize, or set fewer levels"):
        Diffusion(DiffusionConfig(), spec(30, 28))


def test_steps_that_do_not_divide_the_timesteps_are_refused():
    with pytest.raises(ConfigError, match="steps must divide timesteps; got steps 60, timesteps"):
        DiffusionConfig.from_fields({"steps": 60})


@pytest.mark.parametrize("steps", [1, 4, 50, 1000])
def test_a_sample_goes_from_the_last_level_of_noise_to_none_in_whole_strides(steps):
    config = DiffusionConfig(width=8, levels=1, steps=steps)
    levels = Diffusion(config, spec()).denoising.timesteps.tolist()
    assert levels == list(range(999, -1, -1000 // steps))


def test_the_network_is_told_the_level_of_noise_and_the_class():
    generator = Diffusion(DiffusionConfig(**SMALL), spec())
    told = []
    generator.network.register_forward_pre_hook(
        lambda network, args, options: told.append(options), with_kwargs=True
    )
    generator.sample(torch.tensor([1, 0]), rng=torch.Generator())
    assert [each["timesteps"].tolist() for each in told] == [[n, n] for n in (999, 749, 499, 249)]
    assert all(each["class_labels"].tolist() == [1, 0] for each in told)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
def test_a_network_that_knows_the_image_gives_it_back(prediction, schedule):
    """Whatever is predicted, and from whatever noise: DDIM ends at the image."""
    config = DiffusionConfig(**SMALL, prediction=prediction, schedule=schedule)
    generator = Diffusion(config, spec(classes=("a",)))
    image = torch.linspace(-0.9, 0.9, 64).reshape(1, 1, 8, 8)
    kept = generator.noising.alphas_cumprod

    def oracle(noisy, level, labels):
        signal, sigma = kept[level].sqrt()[:, None, None, None], (1 - kept[level]).sqrt()
        noise = (noisy - signal * image) / sigma[:, None, None, None]
        if prediction == "epsilon":
            return noise
        return generator.noising.get_velocity(image.expand_as(noisy), noise, level)

    generator._predict = oracle
    found = generator.sample(torch.zeros(3, dtype=torch.int64), rng=torch.Generator())
    assert torch.allclose(found, image.expand_as(found), atol=1e-3)


def test_it_learns_to_denoise():
    """Images of one grey value: the loss falls far below that of guessing."""
    torch.manual_seed(0)
    generator = Diffusion(DiffusionConfig(**SMALL, learning_rate=5e-3), spec(classes=("a",)))
    (phase,) = generator.phases()
    batch = Batch(torch.full((32, 1, 8, 8), 0.5), torch.zeros(32, dtype=torch.int64))
    rng = torch.Generator().manual_seed(0)
    values = []
    for _ in range(80):
        loss = phase.loss(batch, rng).terms["mse"]
        phase.optimizer.zero_grad()
        loss.backward()
        phase.optimizer.step()
        values.append(loss.item())
    assert sum(values[-10:]) < 0.5 * sum(values[:10])
