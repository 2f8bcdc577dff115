"""Losses say what their papers say."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from ganaug import losses

REAL = torch.tensor([2.0, -1.0, 0.5, 3.0])
FAKE = torch.tensor([-1.5, 0.0, 1.0, -0.25])


def test_bce_is_minus_log_likelihood_of_the_right_answer() -> None:
    expected = -(torch.log(torch.sigmoid(REAL)) + torch.log(1 - torch.sigmoid(FAKE))).mean()
    torch.testing.assert_close(losses.bce_discriminator(REAL, FAKE), expected)
    torch.testing.assert_close(losses.bce_generator(FAKE), -torch.log(torch.sigmoid(FAKE)).mean())


def test_bce_smooths_only_the_label_of_real_images() -> None:
    smooth = losses.bce_discriminator(REAL, FAKE, real_label=0.75)
    p = torch.sigmoid(REAL)
    expected = -(0.75 * torch.log(p) + 0.25 * torch.log(1 - p)).mean()
    expected = expected - torch.log(1 - torch.sigmoid(FAKE)).mean()
    torch.testing.assert_close(smooth, expected)
    torch.testing.assert_close(
        losses.bce_discriminator(REAL, FAKE, real_label=torch.tensor(0.75)), smooth
    )


def test_hinge_ignores_what_is_beyond_the_margin() -> None:
    assert losses.hinge_discriminator(REAL, FAKE).item() == pytest.approx(
        (0 + 2 + 0.5 + 0) / 4 + (0 + 1 + 2 + 0.75) / 4
    )
    assert losses.hinge_generator(FAKE).item() == pytest.approx(-FAKE.mean().item())


def test_relativistic_losses_see_only_differences() -> None:
    torch.testing.assert_close(
        losses.relativistic_discriminator(REAL + 7, FAKE + 7),
        losses.relativistic_discriminator(REAL, FAKE),
    )
    assert losses.relativistic_discriminator(REAL, REAL).item() == pytest.approx(math.log(2))
    torch.testing.assert_close(
        losses.relativistic_generator(REAL, FAKE), losses.relativistic_discriminator(FAKE, REAL)
    )
    assert losses.relativistic_discriminator(REAL + 9, FAKE) < 0.01


def test_gradient_penalty_of_a_linear_critic_is_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    images = torch.zeros(5, 3, 4, 4)
    penalty = losses.zero_centered_gradient_penalty(
        lambda x: (x * weight).sum(dim=(1, 2, 3)), images
    )
    torch.testing.assert_close(penalty, weight.square().sum())
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_gradient_penalty_is_computed_in_float32_inside_autocast() -> None:
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 1))
    images = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    exact = critic[1].weight.double().square().sum()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        inside = losses.zero_centered_gradient_penalty(critic, images)
    assert inside.dtype == torch.float32
    assert inside.requires_grad
    assert inside.item() == pytest.approx(exact.item(), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [losses.bce_discriminator, losses.hinge_discriminator, losses.relativistic_discriminator],
)
def test_mean_over_equal_shares_is_the_loss_of_the_batch(loss: Callable[..., torch.Tensor]) -> None:
    halves = [loss(REAL[:2], FAKE[:2]), loss(REAL[2:], FAKE[2:])]
    torch.testing.assert_close(sum(halves) / 2, loss(REAL, FAKE))
