"""Class-balanced batches of an image set, as the tensors that losses see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ganaug.errors import ConfigError
from ganaug.pixels import to_signed
from ganaug.sampling import BalancedSampler
from ganaug.spec import Batch, LabelledImages

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Batches"]


class Batches:
    """An endless stream of batches that follows from a seed and a position alone.

    images: loaded. fabric: every process draws the rows of the whole batch and keeps its share.
    """

    def __init__(self, images: LabelledImages, fabric: Fabric, *, seed: int) -> None:
        self._images = images
        self._fabric = fabric
        self._sampler = BalancedSampler(images.labels, seed=seed)

    def draw(self, batch_size: int) -> Batch:
        """Return this process's share of the next batch: float32 in [-1, 1], channels last.

        Raises ConfigError for a batch size that the processes cannot share.
        """
        share, left = divmod(batch_size, self._fabric.world_size)
        if left:
            raise ConfigError(
                f"The generator's batch size must be a multiple of the "
                f"{self._fabric.world_size} processes; got {batch_size}."
            )
        offset = share * self._fabric.global_rank
        rows = self._sampler.draw(batch_size)[offset : offset + share]
        pixels = to_signed(np.asarray(self._images.pixels)[rows], self._images.value_range)
        device = self._fabric.device
        return Batch(
            images=pixels.to(device, memory_format=torch.channels_last),
            labels=torch.from_numpy(self._images.labels[rows]).to(device),
            offset=offset,
            total=batch_size,
        )

    def state_dict(self) -> dict[str, int]:
        """Return the seed and the position, which counts the rows drawn so far."""
        return {"seed": self._sampler.seed, "position": self._sampler.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from another stream's seed and position, over these images."""
        self._sampler = BalancedSampler(self._images.labels, seed=state["seed"])
        self._sampler.position = state["position"]
