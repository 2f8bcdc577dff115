"""Which images each step of a classifier sees, arm by arm."""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.errors import DataError
from ganaug.study import Arm

__all__ = ["MOST_SYNTHETIC", "draw_rows"]

#: Where classes are drawn equally often, the largest share of a class that is synthetic.
MOST_SYNTHETIC = 0.5


def draw_rows(
    arm: Arm,
    labels: Tensor,
    is_synthetic: Tensor,
    *,
    steps: int,
    batch_size: int,
    rng: torch.Generator,
) -> Tensor:
    """Return the rows of every batch: int64 (steps, batch_size).

    labels: int64 (N,). is_synthetic: bool (N,). Rows come in shuffled passes over the images, so
    that none is seen a second time before all were seen once; a batch may span two passes.

    synthetic: "none" leaves synthetic images out. "beside" adds them to the set. "only" has them
    instead of the real images of their classes; classes without any keep their real ones. "before"
    has the first half of the steps as "only", and the second half, the longer one where steps are
    odd, on real images alone; without any synthetic image, all steps are on real ones.

    sampling: "natural" draws every image equally often, so that as many synthetic images as close
    the gap to the largest class make classes equally frequent. "oversample" draws every class
    equally often, and real and synthetic images of a class by their numbers, but at most
    `MOST_SYNTHETIC` of a class is synthetic where it has real images: a class of 60 images that
    grew to 4,000 would hardly see its real ones otherwise. "downsample" cuts every class to the
    smallest, synthetic images first.

    Raises DataError where the arm has no image to draw.
    """
    first, then = _sets(arm, labels, is_synthetic)
    if not len(then) or (arm.synthetic == "only" and not is_synthetic.any()):
        kind = "synthetic" if arm.synthetic == "only" else "real"
        raise DataError(
            f"The arm {arm.name!r} needs {kind} training images; got none among {len(labels)}."
        )
    before = steps // 2 if arm.synthetic == "before" else 0
    parts = []
    for rows, count in ((first, before), (then, steps - before)):
        parts.append(
            _draw(arm.sampling, rows, labels, is_synthetic, count * batch_size, rng).view(
                count, batch_size
            )
        )
    return torch.cat(parts)


def _sets(arm: Arm, labels: Tensor, is_synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of the first phase, which "before" alone has, and of the main one."""
    replaced = torch.isin(labels, labels[is_synthetic])
    instead = (is_synthetic | ~replaced).nonzero().flatten()
    real = (~is_synthetic).nonzero().flatten()
    if arm.synthetic == "beside":
        return instead, torch.arange(len(labels))
    return instead, instead if arm.synthetic == "only" else real


def _draw(
    sampling: str, rows: Tensor, labels: Tensor, is_synthetic: Tensor, n: int, rng: torch.Generator
) -> Tensor:
    """Return n of the rows, by the sampling of the arm."""
    if sampling == "oversample":
        return _equally(rows, labels[rows], is_synthetic[rows], n, rng)
    if sampling == "downsample":
        rows = _cut(rows, labels[rows], is_synthetic[rows], rng)
    return _passes(rows, n, rng)


def _passes(rows: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Return n rows: shuffled, shuffled anew when all were drawn, and so on."""
    if not n:
        return rows[:0]
    passes = -(-n // len(rows))
    return torch.cat([rows[torch.randperm(len(rows), generator=rng)] for _ in range(passes)])[:n]


def _cut(rows: Tensor, labels: Tensor, is_synthetic: Tensor, rng: torch.Generator) -> Tensor:
    """Return as many rows of each class as the smallest has, real ones first."""
    counts = labels.bincount()
    smallest = int(counts[counts > 0].min())
    order = torch.randperm(len(rows), generator=rng)
    order = order[is_synthetic[order].int().argsort(stable=True)]
    return torch.cat([rows[order[labels[order] == c][:smallest]] for c in labels.unique()])


def _equally(
    rows: Tensor, labels: Tensor, is_synthetic: Tensor, n: int, rng: torch.Generator
) -> Tensor:
    """Return n rows with every class equally often, in batches as well as in all."""
    drawn = _passes(labels.unique(), n, rng)
    result = torch.empty(n, dtype=torch.int64)
    for class_ in labels.unique():
        places = (drawn == class_).nonzero().flatten()
        real = rows[(labels == class_) & ~is_synthetic]
        fake = rows[(labels == class_) & is_synthetic]
        share = len(fake) / (len(real) + len(fake))
        if len(real):
            share = min(share, MOST_SYNTHETIC)
        synthetic = round(share * len(places))
        picked = torch.cat(
            [_passes(real, len(places) - synthetic, rng), _passes(fake, synthetic, rng)]
        )
        result[places] = picked[torch.randperm(len(picked), generator=rng)]
    return result
