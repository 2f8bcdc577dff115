"""What the extractors share: checks of images, batches of them, and hashes of what they learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganaug import ImageSpec, LabelledImages
from ganaug.errors import DataError, ShapeError
from ganaug.pixels import to_signed
from ganaug.spec import LUMA

__all__ = [
    "batched",
    "check_images",
    "check_spec",
    "digest",
    "grey",
    "shrink",
    "signed_batches",
    "take_state",
]

#: Images worked on at a time, whatever the caller's batch is: few enough for the CPU's caches.
_BATCH = 16


def check_spec(name: str, spec: ImageSpec, *, smallest: int = 1) -> None:
    """Raise ShapeError unless images are grey or RGB, and at least `smallest` pixels a side."""
    if spec.channels not in (1, 3):
        raise ShapeError(
            f"The extractor {name} takes images of 1 or 3 channels; got {spec.channels}. "
            "Convert them to grey or RGB first."
        )
    if min(spec.height, spec.width) < smallest:
        raise ShapeError(
            f"The extractor {name} takes images of at least {smallest} pixels a side; "
            f"got {spec.height}x{spec.width}. Use larger images."
        )


def check_images(name: str, images: Tensor, *, channels: int, smallest: int = 1) -> None:
    """Raise ShapeError unless images are float (N, `channels`, H, W), large enough a side."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ShapeError(
            f"The extractor {name} takes float images (N, C, H, W) in [-1, 1]; got "
            f"{images.dtype} of shape {tuple(images.shape)}."
        )
    if images.shape[1] != channels or min(images.shape[2:]) < smallest:
        raise ShapeError(
            f"The extractor {name} was made for images of {channels} channel(s), at least "
            f"{smallest} pixels a side; got {images.shape[1]} channel(s) of "
            f"{images.shape[2]}x{images.shape[3]} pixels."
        )


def shrink(images: Tensor, size: int) -> Tensor:
    """Return images (N, C, H, W) with sides above `size` pixels shrunk to it, antialiased."""
    target = min(images.shape[2], size), min(images.shape[3], size)
    if tuple(images.shape[2:]) == target:
        return images
    return interpolate(images, target, mode="bilinear", antialias=True, align_corners=False)


def grey(images: Tensor) -> Tensor:
    """Return images (N, 1 or 3, H, W) as grey ones (N, H, W), by ITU-R BT.601 luma."""
    if images.shape[1] == 1:
        return images[:, 0]
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("nchw,c->nhw", images, weights)


def batched(function: Callable[[Tensor], Tensor], images: Tensor, width: int) -> Tensor:
    """Return ``function(images)``, float32 (N, width), computed on a few images at a time."""
    if not len(images):
        return images.new_empty((0, width), dtype=torch.float32)
    with torch.no_grad():
        return torch.cat([function(part.float()) for part in images.split(_BATCH)])


def signed_batches(images: LabelledImages) -> Iterator[Tensor]:
    """Yield images in memory as float32 (N, C, H, W) in [-1, 1], a few at a time, in order."""
    pixels = np.asarray(images.load().pixels)
    for start in range(0, len(pixels), _BATCH):
        yield to_signed(pixels[start : start + _BATCH], images.value_range)


def digest(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256, in hex, over facts that JSON can hold and over named tensors."""
    sha = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def take_state(
    name: str, state: Mapping[str, Tensor], expected: Mapping[str, tuple[int | None, ...]]
) -> dict[str, Tensor]:
    """Return copies of the expected tensors; None in a shape stands for any length.

    Raises DataError when one is missing, left over, or of another shape.
    """
    if set(state) != set(expected):
        raise DataError(
            f"The saved state of the extractor {name} should hold {', '.join(sorted(expected))}; "
            f"got {', '.join(sorted(state)) or 'nothing'}. Prepare the extractor anew."
        )
    for key, shape in expected.items():
        found = tuple(state[key].shape)
        fits = len(found) == len(shape) and all(
            want in (None, got) for want, got in zip(shape, found, strict=True)
        )
        if not fits:
            raise DataError(
                f"The saved state of the extractor {name} has {key} of shape {found}; expected "
                f"{shape}. It belongs to other settings or images; prepare the extractor anew."
            )
    return {key: tensor.detach().clone() for key, tensor in state.items()}
