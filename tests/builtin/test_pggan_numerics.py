"""What a PGGAN computes: schedule, norms, deviations and penalties against plain formulas."""

from __future__ import annotations

import pytest
import torch

from ganaug.builtin.pggan.layers import minibatch_stddev, pixel_norm
from ganaug.builtin.pggan.network import gradient_penalty
from ganaug.builtin.pggan.schedule import (
    default_images_per_phase,
    level_at,
    nearest_sides,
    official_batch_size,
    sides_up_to,
    split_level,
)


def test_levels_follow_from_images_seen_alone() -> None:
    levels = {seen: level_at(seen, 100, 0, 2) for seen in range(0, 700, 50)}
    assert levels == {
        0: 0, 50: 0, 100: 0, 150: 0.5, 200: 1, 250: 1, 300: 1, 350: 1.5,
        400: 2, 450: 2, 500: 2, 550: 2, 600: 2, 650: 2,
    }  # fmt: skip
    assert [level_at(seen, 100, 1, 2) for seen in (0, 150, 200)] == [1, 1.5, 2]
    assert level_at(10**9, 100, 3, 3) == level_at(0, 100, 3, 3) == 3


def test_a_level_is_a_stage_and_how_far_it_has_faded_in() -> None:
    assert [split_level(level) for level in (0.0, 0.25, 1.0, 1.75)] == [
        (0, 1.0),
        (1, 0.25),
        (1, 1.0),
        (2, 0.75),
    ]


def test_a_phase_is_twenty_passes_but_never_too_short() -> None:
    assert default_images_per_phase(30_000) == 600_000
    assert default_images_per_phase(200) == 8_000


def test_sides_double_from_four_or_seven() -> None:
    assert sides_up_to(32) == [4, 8, 16, 32]
    assert sides_up_to(224) == [7, 14, 28, 56, 112, 224]
    assert sides_up_to(48) == sides_up_to(6) == sides_up_to(21) == []
    assert [nearest_sides(side) for side in (5, 48, 100, 300)] == [
        (8, 8),
        (32, 56),
        (64, 112),
        (256, 256),
    ]


def test_batches_of_seven_pixel_bases_are_those_of_the_next_power_of_two() -> None:
    assert {side: official_batch_size(side) for side in sides_up_to(224)} == {
        7: 128,
        14: 128,
        28: 64,
        56: 32,
        112: 16,
        224: 8,
    }


@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 4, 4)])
def test_pixel_norm_and_its_gradient_are_the_papers(shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(shape, dtype=torch.float32, generator=rng).requires_grad_()
    weight = torch.randn(shape, generator=rng)
    plain = x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    torch.testing.assert_close(pixel_norm(x), plain)
    (found,) = torch.autograd.grad((pixel_norm(x) * weight).sum(), x)
    (wanted,) = torch.autograd.grad((plain * weight).sum(), x)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [1e-18, 1e-3, 1e3, 1e15])
def test_pixel_norm_is_stable_in_bfloat16(size: float) -> None:
    x = torch.randn(2, 512, 4, 4, generator=torch.Generator().manual_seed(0)) * size
    halves = x.bfloat16().requires_grad_()
    y = pixel_norm(halves)
    (gradient,) = torch.autograd.grad(y.float().square().sum(), halves)
    assert y.dtype == torch.bfloat16
    assert torch.isfinite(y).all()
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(y.detach().float(), pixel_norm(x), atol=0.03, rtol=0.02)


def test_minibatch_stddev_compares_neighbours_within_a_set() -> None:
    x = torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for sets, group in ((1, 4), (2, 3), (3, 4), (12, 1)):
        added = minibatch_stddev(x, sets=sets)
        assert torch.equal(added[:, :3], x)
        for start in range(0, 12, group):
            part = x[start : start + group]
            deviation = (part.var(dim=0, correction=0) + 1e-8).sqrt().mean()
            torch.testing.assert_close(
                added[start : start + group, 3], deviation.expand(group, 4, 4)
            )
    assert minibatch_stddev(x[:5]).shape == (5, 4, 4, 4)


def test_the_penalty_is_the_squared_distance_of_gradient_norms_from_one() -> None:
    images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    penalty = gradient_penalty(lambda x: (x * weight).sum(dim=(1, 2, 3)), images)
    torch.testing.assert_close(penalty, (weight.norm() - 1).square())
    (gradient,) = torch.autograd.grad(penalty, weight)
    norm = weight.norm().detach()
    torch.testing.assert_close(gradient, 2 * (norm - 1) * weight.detach() / norm)


def test_the_penalty_is_computed_in_float32_under_autocast() -> None:
    layer = torch.nn.Conv2d(3, 1, 3)
    images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    dtypes: list[torch.dtype] = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = layer(x)
        dtypes.append(maps.dtype)
        return maps.square().mean(dim=(1, 2, 3))

    plain = gradient_penalty(critic, images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gradient_penalty(critic, images), plain)
        gradient_penalty(critic, images.bfloat16())
    assert set(dtypes) == {torch.float32}
