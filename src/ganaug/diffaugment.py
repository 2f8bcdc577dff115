"""DiffAugment: the same differentiable augmentation for real and fake images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from ganaug.errors import ConfigError, nearest
from ganaug.spec import Batch

__all__ = ["POLICIES", "DiffAugment"]

#: What a policy can hold, and how many uniform numbers an image each of them takes.
POLICIES: Final = {"translation": 2, "cutout": 2, "color": 3, "flip": 1, "vflip": 1}


class DiffAugment:
    """Random changes that D sees of every image, real or fake (Zhao et al. 2020).

    Gradients go through them, so a generator learns from few images without learning to make
    augmented ones. `draw` and then call: the numbers come first, a row an image, and what is done
    with them is deterministic.

    policy: any of ``translation`` (whole pixels, up to 1/8 of each side, the edge reflected),
        ``cutout`` (a square of half the side becomes mid-grey), ``color`` (brightness, saturation
        of RGB images, contrast), ``flip`` (left and right) and ``vflip`` (up and down). They are
        applied in a fixed order; an empty policy changes nothing.

    Raises ConfigError for a name that is not among these, or is there twice.
    """

    def __init__(self, policy: Sequence[str]) -> None:
        for name in policy:
            if name not in POLICIES:
                raise ConfigError(
                    f"DiffAugment has no {name!r}.{nearest(name, POLICIES)} "
                    f"The choices are {', '.join(POLICIES)}."
                )
        if len(set(policy)) < len(policy):
            raise ConfigError(f"DiffAugment takes each policy once; got {', '.join(policy)}.")
        self.policy: tuple[str, ...] = tuple(name for name in POLICIES if name in policy)

    def draw(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Draw the parameters of one set of images: float32 (N, P) in [0, 1), a row an image."""
        return batch.rand(sum(POLICIES[name] for name in self.policy), rng=rng)

    def __call__(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Augment images (N, C, H, W) in [-1, 1] by parameters (N, P) of `draw`.

        Returns images of the same shape, dtype and memory format. Colour can leave [-1, 1].
        """
        if not self.policy:
            return images
        widths = [POLICIES[name] for name in self.policy]
        u = dict(zip(self.policy, torch.split(parameters, widths, dim=1), strict=True))
        images = _move(images, u.get("translation"), u.get("flip"), u.get("vflip"))
        if "color" in u:
            images = _color(images, *u["color"].to(images.dtype)[..., None, None, None].unbind(1))
        if "cutout" in u:
            images = _cutout(images, u["cutout"])
        return images


def _move(
    images: Tensor, shift: Tensor | None, flip: Tensor | None, vflip: Tensor | None
) -> Tensor:
    """Shift and flip by picking rows and columns: whole pixels, so nothing is blurred."""
    if shift is None and flip is None and vflip is None:
        return images
    rows = _source(images.shape[2], None if shift is None else shift[:, 0], vflip, images)
    columns = _source(images.shape[3], None if shift is None else shift[:, 1], flip, images)
    item = torch.arange(len(images), device=images.device)[:, None, None]
    # Channels last on purpose: whole pixels are then copied, and the layout is the loop's own.
    picked = images.permute(0, 2, 3, 1)[item, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _source(size: int, shift: Tensor | None, flip: Tensor | None, images: Tensor) -> Tensor:
    """Where each pixel along one side comes from: int64 (N, size)."""
    index = torch.arange(size, device=images.device).expand(len(images), size)
    if flip is not None:
        index = torch.where(flip < 0.5, index.flip(1), index)
    if shift is not None:
        reach = size // 8
        index = index + (shift[:, None] * (2 * reach + 1)).long() - reach
        index = index.abs()
        index = torch.where(index >= size, 2 * (size - 1) - index, index)
    return index


def _color(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Brightness +-.5, saturation x0 to 2, contrast x.5 to 1.5, as the paper's released code."""
    images = images + (brightness - 0.5)
    if images.shape[1] > 1:
        grey = images.mean(dim=1, keepdim=True)
        images = torch.lerp(grey, images, 2 * saturation)
    # Two means, as one over all three is many times slower for channels last on a CPU.
    mean = images.mean(dim=(2, 3), keepdim=True).mean(dim=1, keepdim=True)
    return torch.lerp(mean, images, contrast + 0.5)


def _cutout(images: Tensor, centre: Tensor) -> Tensor:
    """Set a square of half the side, its centre anywhere in the image, to mid-grey."""

    def inside(size: int, where: Tensor) -> Tensor:
        first = (where[:, None] * (size + 1)).long() - size // 4
        pixel = torch.arange(size, device=images.device)
        return (pixel >= first) & (pixel < first + size // 2)

    rows, columns = inside(images.shape[2], centre[:, 0]), inside(images.shape[3], centre[:, 1])
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return images * (~hole).to(images.dtype)
