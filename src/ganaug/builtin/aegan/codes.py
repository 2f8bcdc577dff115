"""What is known of the codes of training images: their statistics, and the codes themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganaug.pixels import to_signed
from ganaug.spec import Batch, LabelledImages

__all__ = ["CodeBank", "CodePrior", "encode_images"]

_BATCH = 64
_SMALLEST = 1e-4  # deviation of a dimension that carries nothing


@torch.no_grad()
def encode_images(
    encode: Callable[[Tensor], Tensor], images: LabelledImages, device: torch.device
) -> Tensor:
    """Encode all images, loaded, a batch at a time: float32 (N, D)."""
    codes = []
    for start in range(0, len(images), _BATCH):
        part = np.asarray(images.pixels[start : start + _BATCH])
        pixels = to_signed(part, images.value_range).to(device, memory_format=torch.channels_last)
        codes.append(encode(pixels).float())
    return torch.cat(codes)


class CodePrior(nn.Module):
    """Mean and deviation of each dimension of the codes, and a normal distribution a class.

    mean, deviation: (D,), of codes as they are. class_means (C, D), class_roots (C, D, D): of
    standardised codes; a root times its transpose is the covariance. All are buffers.
    """

    mean: Tensor
    deviation: Tensor
    class_means: Tensor
    class_roots: Tensor

    def __init__(self, code_dim: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(code_dim))
        self.register_buffer("deviation", torch.ones(code_dim))
        self.register_buffer("class_means", torch.zeros(num_classes, code_dim))
        self.register_buffer("class_roots", torch.eye(code_dim).repeat(num_classes, 1, 1))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Standard normal latents (N, D) to draws of the labels' classes, standardised (N, D)."""
        spread = torch.bmm(self.class_roots[labels], latents[:, :, None]).squeeze(2)
        return spread + self.class_means[labels]

    def standardise(self, codes: Tensor) -> Tensor:
        """Codes (N, D) to mean 0 and deviation 1 in each dimension."""
        return (codes - self.mean) / self.deviation

    def restore(self, codes: Tensor) -> Tensor:
        """Undo `standardise`."""
        return codes * self.deviation + self.mean

    @torch.no_grad()
    def follow(self, codes: Tensor, momentum: float) -> None:
        """Move mean and deviation towards those of some codes (N, D)."""
        self.mean.lerp_(codes.mean(dim=0), momentum)
        self.deviation.lerp_(codes.std(dim=0, correction=0).clamp(min=_SMALLEST), momentum)

    @torch.no_grad()
    def fit(self, codes: Tensor, labels: NDArray[np.int64]) -> None:
        """Take the statistics of all codes (N, D), and of each label's (N,).

        A class's covariance is the mean of its own and the one within all classes, which counts
        as many images as a code has dimensions: few images say little of a covariance.
        """
        exact = codes.double()
        self.mean.copy_(exact.mean(dim=0))
        self.deviation.copy_(exact.std(dim=0, correction=0).clamp(min=_SMALLEST))
        exact = (exact - self.mean) / self.deviation
        which = torch.from_numpy(labels).to(codes.device)
        num_classes, dim = self.class_means.shape
        means = [
            exact[which == c].mean(dim=0) if (which == c).any() else exact.new_zeros(dim)
            for c in range(num_classes)
        ]
        self.class_means.copy_(torch.stack(means))
        apart = exact - torch.stack(means)[which]
        within = apart.T @ apart / len(apart)
        floor = 1e-4 * torch.eye(dim, dtype=exact.dtype, device=exact.device)
        for c in range(num_classes):
            own = apart[which == c]
            covariance = (own.T @ own + dim * within) / (len(own) + dim)
            self.class_roots[c] = torch.linalg.cholesky(covariance + floor)


class CodeBank(nn.Module):
    """The standardised codes of all training images (N, D), a class after the other.

    No state holds them: with the decoder beside them they are the training images, which a run
    must not keep. Loading a state empties the bank, and the generator fills it again.
    """

    codes: Tensor
    first: Tensor
    count: Tensor

    def __init__(self, code_dim: int, num_classes: int) -> None:
        super().__init__()
        none = torch.zeros(num_classes, dtype=torch.int64)
        self.register_buffer("codes", torch.zeros(0, code_dim), persistent=False)
        self.register_buffer("first", none.clone(), persistent=False)
        self.register_buffer("count", none.clone(), persistent=False)
        self.register_load_state_dict_post_hook(_clear)  # type: ignore[no-untyped-call]  # torch's

    def __len__(self) -> int:
        return len(self.codes)

    def fill(self, codes: Tensor, labels: NDArray[np.int64]) -> None:
        """Take codes (N, D) of images with these labels (N,)."""
        order = np.argsort(labels, kind="stable")
        count = np.bincount(labels, minlength=len(self.count))
        self.codes = codes[torch.from_numpy(order).to(codes.device)]
        self.count.copy_(torch.from_numpy(count))
        self.first.copy_(torch.from_numpy(np.cumsum(count) - count))

    def clear(self) -> None:
        """Forget them."""
        self.codes = self.codes[:0].clone()

    def draw(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Draw a code of each label's class, with replacement: (N, D)."""
        count = self.count[batch.labels]
        within = (batch.rand(rng=rng) * count).long().minimum(count - 1)
        return self.codes[self.first[batch.labels] + within]


def _clear(bank: nn.Module, keys: object) -> None:
    """Empty a bank whose encoder has just got other weights."""
    cast(CodeBank, bank).clear()
