"""Classical augmentation of batches: one affine matrix an image, and brightness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ganaug.config import Config

__all__ = ["DEFAULT", "ClassicalAugmentation", "ClassicalConfig"]

#: What the arm does where a study names no arguments: a mild set.
DEFAULT: Final[Mapping[str, Any]] = {
    "rotation": 15.0,
    "shift": 0.1,
    "zoom": (0.9, 1.1),
    "brightness": (0.8, 1.2),
    "horizontal_flip": True,
}

#: Numbers an image: rotation, shift down and right, shear, zoom of y and x, flips, brightness.
_NUMBERS = 9


class ClassicalConfig(Config):
    """What may happen to an image; nothing does unless it is named. Ranges are uniform.

    rotation: degrees, either way. shift: the fraction of height and of width by which an image
    moves, either way, each drawn apart. shear: degrees, either way. zoom: how much of the image is
    seen, height and width drawn apart: above 1 zooms out. brightness: the factor by which values
    are multiplied, black being 0. horizontal_flip, vertical_flip: mirror every other image.

    These are the meanings of Keras' ImageDataGenerator, as its fill mode "reflect" has them.
    """

    rotation: float = Field(default=0.0, ge=0, le=180)
    shift: float = Field(default=0.0, ge=0, lt=1)
    shear: float = Field(default=0.0, ge=0, lt=90)
    zoom: tuple[float, float] = (1.0, 1.0)
    brightness: tuple[float, float] = (1.0, 1.0)
    horizontal_flip: bool = False
    vertical_flip: bool = False

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        for name, smallest in (("zoom", 0.05), ("brightness", 0.0)):
            low, high = getattr(self, name)
            if not smallest <= low <= high:
                raise ValueError(
                    f"{name} should be two numbers of at least {smallest}, the lower one first, "
                    f"such as 0.9, 1.25; got {low:g}, {high:g}"
                )
        return self


class ClassicalAugmentation:
    """Turn, move, shear, zoom, mirror and brighten images, each by numbers of its own.

    `draw` and then call: the numbers come first, and what is done with them is deterministic.
    Everything that moves pixels is one affine matrix an image, so that pixels are interpolated
    once (bilinear), and beyond the edge the image is mirrored, the pixel of the edge repeated.

    arguments: fields of `ClassicalConfig`; none for `DEFAULT`.

    Raises ConfigError for an argument that is unknown or out of range.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.config = ClassicalConfig.from_fields(arguments or DEFAULT)

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the numbers of n images: float32 (n, 9), uniform in [0, 1)."""
        return torch.rand(n, _NUMBERS, generator=rng)

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Augment float images (N, C, H, W) in [-1, 1] by numbers (N, 9) of `draw`.

        Returns images of the same shape, dtype and device in [-1, 1].
        """
        numbers = numbers.to(images)
        if self._moves:
            theta = _to_grid(self._matrices(numbers, *images.shape[2:]), *images.shape[2:])
            grid = affine_grid(theta, list(images.shape), align_corners=False)
            images = grid_sample(
                images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
            )
        low, high = self.config.brightness
        if (low, high) != (1.0, 1.0):
            factor = (low + (high - low) * numbers[:, 8])[:, None, None, None]
            images = ((images + 1) * factor - 1).clamp(-1, 1)
        return images

    @property
    def _moves(self) -> bool:
        still = ClassicalConfig(brightness=self.config.brightness)
        return self.config != still

    def _matrices(self, u: Tensor, height: int, width: int) -> Tensor:
        """Where a pixel comes from, in pixels from the centre, (y, x, 1): (N, 3, 3).

        Rotation, shift, shear, zoom and flips, composed in Keras' order.
        """
        config = self.config
        both = 2 * u - 1
        angle = both[:, 0].mul(config.rotation).deg2rad()
        down, right = both[:, 1] * config.shift * height, both[:, 2] * config.shift * width
        shear = both[:, 3].mul(config.shear).deg2rad()
        low, high = config.zoom
        zoom_y, zoom_x = (low + (high - low) * u[:, 4:6]).unbind(1)
        flip_x = torch.where((u[:, 6] < 0.5) & config.horizontal_flip, -1.0, 1.0)
        flip_y = torch.where((u[:, 7] < 0.5) & config.vertical_flip, -1.0, 1.0)
        turned = _matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos())
        moved = _matrix(1, 0, 0, 1, down, right)
        sheared = _matrix(1, -shear.sin(), 0, shear.cos())
        scaled = _matrix(zoom_y * flip_y, 0, 0, zoom_x * flip_x)
        return turned @ moved @ sheared @ scaled


def _matrix(*entries: Tensor | float) -> Tensor:
    """Return matrices (N or 1, 3, 3) of [[a, b, e], [c, d, f], [0, 0, 1]] for a, b, c, d, e, f."""
    a, b, c, d, e, f = (*entries, 0, 0)[:6]
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    cells = [
        entry if isinstance(entry, Tensor) else torch.full_like(like, entry)
        for entry in (a, b, e, c, d, f, 0, 0, 1)
    ]
    return torch.stack(cells, dim=1).view(-1, 3, 3)


def _to_grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """Return matrices in pixels and (y, x) as `affine_grid` takes them: (N, 2, 3), (x, y)."""
    half = matrices.new_tensor([height / 2, width / 2, 1.0])
    scaled = matrices * half[None, None, :] / half[None, :, None]
    return scaled[:, [1, 0]][:, :, [1, 0, 2]]
