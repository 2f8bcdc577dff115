"""What commands that train generators let choose from, and what they say of it."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

__all__ = ["CONDITIONING_HELP", "FILTER_HELP", "Conditioning", "Filter", "filter_names"]

CONDITIONING_HELP = (
    "One generator that is told the class, one for each class, or one for each that goes on from "
    "a training on all of them. The last, where some classes get no generator and the training has "
    "no stages; else the first."
)
FILTER_HELP = (
    "What samples must pass beside the copy gate, which always is there: a classifier that may "
    "take them for another class, or the discriminator. Repeatable."
)


class Conditioning(StrEnum):
    """How classes share generators; see `ganaug.recipes.Recipe`."""

    CONDITIONAL = "conditional"
    PER_CLASS = "per-class"
    PRETRAIN_FINETUNE = "pretrain-finetune"


class Filter(StrEnum):
    """What images must pass; see `ganaug.filters`."""

    COPIES = "copies"
    CLASSIFIER = "classifier"
    DISCRIMINATOR = "discriminator"


def filter_names(given: Collection[Filter]) -> tuple[str, ...]:
    """Return the names of filters in their order, the copy gate among them."""
    return tuple(name.value for name in Filter if name in (Filter.COPIES, *given))
