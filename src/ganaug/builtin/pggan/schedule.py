"""When a progressive training does what, as a function of the images it has seen."""

from __future__ import annotations

import math
from itertools import takewhile

__all__ = [
    "default_images_per_phase",
    "level_at",
    "nearest_sides",
    "official_batch_size",
    "sides_up_to",
    "split_level",
]

BASES = (4, 7)  # pixels a side at the first stage
LARGEST = 256


def sides_up_to(side: int) -> list[int]:
    """Return the side of each stage that ends at `side`; empty when none does.

    Sides are 4 x 2^k (Karras et al. 2018) or 7 x 2^k, so that 28, 56, 112 and 224 can be reached.
    """
    base = next((base for base in BASES if side % base == 0 and _is_power(side // base)), None)
    return [] if base is None else [base << k for k in range((side // base).bit_length())]


def nearest_sides(side: int) -> tuple[int, int]:
    """Return the largest side below and the smallest side above that can be reached."""
    reached = sorted(base << k for base in BASES for k in range(1, 7) if base << k <= LARGEST)
    below = list(takewhile(lambda other: other < side, reached))
    above = [other for other in reached if other > side]
    return (below or above)[-1 if below else 0], (above or below)[0 if above else -1]


def default_images_per_phase(num_images: int) -> int:
    """Return how many images a phase sees unless told: 20 passes, but at least 8,000 images.

    20 passes are the 600,000 images of Karras et al. 2018 on their 30,000 faces. The least is 500
    steps of 16 images, which few images need as much as many do.
    """
    return max(20 * num_images, 8_000)


def level_at(images_seen: int, images_per_phase: int, first: int, last: int) -> float:
    """Return the level of detail: k where stage k is trained alone, k - 1 + alpha as it fades in.

    The first stage is one phase, of training alone; each later one is two, fading in and training
    alone (Karras et al. 2018, section 2 and appendix A). first, last: stages. alpha is in (0, 1).
    """
    # Phase 0 is stage `first` alone, 1 and 2 are the fade-in of the next and it alone, ...
    phases, within = divmod(images_seen, images_per_phase)
    done, is_stable = divmod(phases + 1, 2)
    level = first + done - (0.0 if is_stable else 1.0 - within / images_per_phase)
    return float(min(max(level, first), last))


def split_level(level: float) -> tuple[int, float]:
    """Return the stage of a level, and how far it has faded in: above 0, and 1 once it has."""
    stage = math.ceil(level)
    return stage, level - stage + 1


def official_batch_size(side: int) -> int:
    """Return the batch size at a side: 128 up to 16 px, half as many at each doubling, at least 8.

    As the released code of Karras et al. 2018.
    """
    return max(128 >> max(math.ceil(math.log2(side / 16)), 0), 8)


def _is_power(number: int) -> bool:
    return number & (number - 1) == 0
