"""Seeds, and torch's global random numbers, borrowed and given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["class_seed", "seeded"]


def class_seed(seed: int, class_: int) -> int:
    """Return the seed to draw a class with, different for each class."""
    state = np.random.SeedSequence([seed, class_]).generate_state(1, np.uint64)
    return int(state[0] >> 16)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global RNG inside the block; afterwards it is as the caller had it."""
    import torch

    if device is None or device.type == "cpu":
        fork = torch.random.fork_rng(devices=[])
    else:
        fork = torch.random.fork_rng(devices=[device.index or 0], device_type=device.type)
    with fork:
        torch.manual_seed(seed)
        yield
