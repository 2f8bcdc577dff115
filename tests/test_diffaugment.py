"""DiffAugment: random, differentiable, and the same whoever draws."""

from __future__ import annotations

import pytest
import torch

from ganaug.diffaugment import POLICIES, DiffAugment
from ganaug.errors import ConfigError
from ganaug.spec import Batch

SIDE = 16


def batch(n: int = 64, channels: int = 3, seed: int = 0) -> Batch:
    images = torch.rand(n, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    images = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
    return Batch(images, torch.zeros(n, dtype=torch.int64))


def augmented(policy: tuple[str, ...], images: Batch) -> torch.Tensor:
    augment = DiffAugment(policy)
    parameters = augment.draw(images, torch.Generator().manual_seed(1))
    return augment(images.images, parameters)


def test_an_empty_policy_changes_nothing() -> None:
    images = batch()
    assert augmented((), images) is images.images


def test_translation_moves_by_whole_pixels_up_to_an_eighth_and_reflects_the_edge() -> None:
    images = batch(256)
    moved = augmented(("translation",), images)
    shifts = set()
    for before, after in zip(images.images, moved, strict=True):
        padded = torch.nn.functional.pad(before[None], (2, 2, 2, 2), mode="reflect")[0]
        matches = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(padded[:, dy : dy + SIDE, dx : dx + SIDE], after)
        ]
        assert len(matches) == 1
        shifts.add(matches[0])
    assert len(shifts) == 25


@pytest.mark.parametrize(("policy", "dim"), [("flip", 3), ("vflip", 2)])
def test_flips_mirror_about_half_of_the_images(policy: str, dim: int) -> None:
    images = batch(400)
    changed = augmented((policy,), images)
    same = (changed == images.images).all(dim=(1, 2, 3))
    mirrored = (changed == images.images.flip(dim)).all(dim=(1, 2, 3))
    assert torch.all(same ^ mirrored)
    assert 150 < same.sum() < 250


def test_cutout_clears_at_most_a_quarter_of_each_image() -> None:
    images = batch(400)
    cut = augmented(("cutout",), images)
    gone = (cut != images.images).any(dim=1)
    assert torch.all(cut.movedim(1, -1)[gone] == 0)
    share = gone.float().mean(dim=(1, 2))
    assert share.max().item() == 0.25
    assert share.min().item() >= 1 / 16
    assert (gone.float().mean(dim=0) > 0.05).all()  # the corners are reached too


@pytest.mark.parametrize("channels", [1, 3])
def test_color_shifts_saturates_and_stretches_each_image_by_itself(channels: int) -> None:
    images = batch(200, channels)
    changed = augmented(("color",), images)
    grey = [each.mean(dim=1).flatten(1) for each in (images.images, changed)]
    shift = grey[1].mean(dim=1) - grey[0].mean(dim=1)
    assert -0.5 <= shift.min() < -0.4 < 0.4 < shift.max() <= 0.5
    stretch = fitted_factor(*(each - each.mean(dim=1, keepdim=True) for each in grey))
    assert 0.5 <= stretch.min() < 0.6 < 1.4 < stretch.max() <= 1.5
    if channels > 1:
        chroma = [
            (each - each.mean(dim=1, keepdim=True)).flatten(1) for each in (images.images, changed)
        ]
        saturation = fitted_factor(*chroma) / stretch
        assert 0 <= saturation.min() < 0.2 < 1.8 < saturation.max() <= 2


def fitted_factor(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """The factor of each row, which must explain it."""
    factor = (before * after).sum(dim=1) / before.square().sum(dim=1)
    torch.testing.assert_close(after, factor[:, None] * before, atol=1e-5, rtol=1e-4)
    return factor


def test_gradients_go_through_to_the_pixels_that_are_left() -> None:
    images = batch(4)
    pixels = images.images.clone().requires_grad_()
    augment = DiffAugment(tuple(POLICIES))
    out = augment(pixels, augment.draw(images, torch.Generator().manual_seed(0)))
    out.square().sum().backward()
    assert pixels.grad is not None
    assert (pixels.grad != 0).float().mean() > 0.4


def test_shares_of_a_batch_are_augmented_like_the_whole() -> None:
    whole = batch(8)
    expected = augmented(tuple(POLICIES), whole)
    for offset in (0, 4):
        share = Batch(whole.images[offset : offset + 4], whole.labels[:4], offset, 8)
        torch.testing.assert_close(augmented(tuple(POLICIES), share), expected[offset : offset + 4])


@pytest.mark.parametrize("policy", POLICIES)
def test_dtype_and_memory_format_stay(policy: str) -> None:
    images = batch(4)
    half = Batch(images.images.bfloat16(), images.labels)
    out = augmented((policy,), half)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_one_set_of_numbers_gives_one_result_and_leaves_the_global_state() -> None:
    before = torch.get_rng_state()
    assert torch.equal(augmented(tuple(POLICIES), batch()), augmented(tuple(POLICIES), batch()))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_policy_names_the_choices() -> None:
    with pytest.raises(ConfigError, match="no 'colour'.*Did you mean 'color'.*translation"):
        DiffAugment(("colour",))
    with pytest.raises(ConfigError, match="once"):
        DiffAugment(("flip", "flip"))
