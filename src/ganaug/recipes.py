"""Recipes: how a model is fitted, as data; the policies and scores that follow from one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ganaug.config import Config, split_choice
from ganaug.errors import ConfigError
from ganaug.filters import FilterName
from ganaug.registry import Registry
from ganaug.selection import Selection
from ganaug.stopping import AllOf, AnyOf, StoppingPolicy
from ganaug.validation import DEFAULT_EVAL_EVERY, DEFAULT_EXTRACTOR, DEFAULT_METRICS

__all__ = [
    "Conditioning",
    "Recipe",
    "build_policy",
    "policies_of",
    "resolve_config",
    "seed_of",
    "with_validation",
]

#: Words between policies: alone, or at an end, where they are missing a policy.
_BETWEEN_AND, _BETWEEN_OR = (re.compile(rf"(?<!\S){word}(?!\S)") for word in ("and", "or"))

Conditioning = Literal["conditional", "per-class", "pretrain-finetune"]


class Recipe(Config):
    """How a model is fitted; with the images, everything that its weights follow from.

    generator, settings: the plugin's name and its config's fields.
    size: pixels a side to train at; None for the images' own size where the generator can do it.
    conditioning: "conditional" (one generator, told the class), "per-class" (one each) or
        "pretrain-finetune" (one each, which goes on from a training on all classes as one).
    total_images: training images to see, per class when per class; the pretraining's, and a
        quarter of it for each class, when that is fine-tuned; None for 100,000, or no limit when
        there is one in minutes. minutes: of training, shared by the classes; each fine-tuning has
        a quarter of the pretraining's.
    stop: policies, as `build_policy` takes them; any of them ends a training.
    select: "last", "average" or "best".
    eval_every: images between evaluations on validation rows; None for none at all. metrics,
        extractor: what is scored there, ``NAME`` or ``NAME:FIELD=VALUE,...``; the first metric
        decides what is best. `with_validation` fills them in where scores are needed.
    filters: what images must pass before they are handed out; see `ganaug.filters`.
    """

    generator: str = "dcgan"
    settings: dict[str, Any] = Field(default_factory=dict)
    size: int | None = Field(default=None, ge=4, le=4096)
    conditioning: Conditioning = "conditional"
    total_images: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=64, ge=1)
    stop: tuple[str, ...] = ()
    select: Selection = "last"
    eval_every: int | None = Field(default=None, ge=1)
    metrics: tuple[str, ...] = ()
    extractor: str | None = None
    filters: tuple[FilterName, ...] = ("copies",)
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    random_state: int = Field(default=0, ge=0)


def resolve_config(registry: Registry, recipe: Recipe) -> Config:
    """Return the generator's config with every default filled in. Raises ConfigError."""
    return registry.generators[recipe.generator].config.from_fields(recipe.settings)


def build_policy(text: str, registry: Registry) -> StoppingPolicy:
    """Build a policy from ``NAME`` or ``NAME:FIELD=VALUE,...``, or several joined by words.

    ``A and B`` stops once both have a reason at one step, ``A or B`` once either has; "and" binds
    more tightly. The words are the core's: a plugin builds its policy from its own fields alone.

    Raises ConfigError, and UnknownPluginError for a name that no plugin has.
    """
    ways = [
        [_build_named(name, text, registry) for name in _BETWEEN_AND.split(way)]
        for way in _BETWEEN_OR.split(text)
    ]
    choices = [way[0] if len(way) == 1 else AllOf(way) for way in ways]
    return choices[0] if len(choices) == 1 else AnyOf(choices)


def _build_named(choice: str, text: str, registry: Registry) -> StoppingPolicy:
    """Build one policy of a text. Raises ConfigError."""
    if not choice.strip():
        raise ConfigError(f"{text!r}: expected a stopping policy before and after each and, or.")
    name, assignments = split_choice(choice.strip())
    config = registry.stopping_policies[name].config.from_strings(assignments)
    return registry.stopping_policies.make(name, lambda it: it.build(config), StoppingPolicy)


def with_validation(recipe: Recipe, policies: Sequence[StoppingPolicy]) -> Recipe:
    """Return the recipe with what is scored during training filled in, if anything needs it.

    Scores are needed for select="best", by policies that read metrics, and when `eval_every`,
    `metrics` or `extractor` were given.
    """
    asked = recipe.eval_every or recipe.metrics or recipe.extractor
    if not (asked or recipe.select == "best" or any(p.needs_metrics for p in policies)):
        return recipe
    filled = {
        "eval_every": recipe.eval_every or DEFAULT_EVAL_EVERY,
        "metrics": recipe.metrics or DEFAULT_METRICS,
        "extractor": recipe.extractor or DEFAULT_EXTRACTOR,
    }
    return recipe.model_copy(update=filled)


def policies_of(recipe: Recipe, registry: Registry, share: float = 1.0) -> list[StoppingPolicy]:
    """Build the recipe's policies; share: of its minutes, see `time_share`."""
    texts = list(recipe.stop)
    if recipe.minutes is not None:
        texts.append(f"max-seconds:seconds={recipe.minutes * 60 * share!r}")
    return [build_policy(text, registry) for text in texts]


def seed_of(recipe: Recipe, index: int | None, *, purpose: int) -> int:
    """Return a seed of the recipe's own, which varies with the class, or None, and the purpose."""
    entropy = [recipe.random_state, purpose, 0 if index is None else index + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 16)
