"""What commands that train generators let choose from, and what they say of it."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

__all__ = ["CONDITIONING_HELP", "FILTER_HELP", "Conditioning", "Filter", "filter_names"]

CONDITIONING_HELP = (
    "conditional: one generator that is told the class; per-class: one for each; "
    "pretrain-finetune: one for each, after a training on all classes. Unless given, the last "
    "where some classes get none and the training has no stages, else the first."
)
FILTER_HELP = (
    "What samples must pass beside the copy gate, which always is there: classifier, which may "
    "take them for another class, or discriminator. Repeatable."
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
