"""Exact distances between feature vectors, a block of rows at a time; several metrics use them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["distance_blocks", "nearest"]

#: Distances held at once, in float64: 64 MiB.
_BLOCK_VALUES = 2**23

#: Distances below this share of the longest vector are rounding, and count as none.
_ROUNDING = 1e-7


def distance_blocks(queries: Tensor, references: Tensor) -> Iterator[Tensor]:
    """Yield Euclidean distances float64 (rows, N) of successive rows of `queries` to `references`.

    queries: (M, ...), references: (N, ...); what follows the first axis is one vector. Vectors
    are centred, and their products summed in float64, so that two equal images are at distance
    0 exactly, whatever the other images are.
    """
    import torch

    right = references.flatten(1).double()
    centre = right.mean(0)
    right = right - centre
    left = queries.flatten(1).double() - centre
    rounding = _ROUNDING * max(float(left.norm(dim=1).max()), float(right.norm(dim=1).max()))
    for rows in left.split(max(1, _BLOCK_VALUES // len(right))):
        distances = torch.cdist(rows, right, compute_mode="use_mm_for_euclid_dist")
        yield distances.masked_fill_(distances <= rounding, 0.0)


def nearest(blocks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return distance (M,) and place int64 (M,) of the nearest in each row of blocks (rows, N)."""
    import torch

    found = [block.min(dim=1) for block in blocks]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
