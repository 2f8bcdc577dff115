"""The parameters of `SyntheticAugmenter`: checked, as a recipe, and back from a run.

Functions take them as scikit-learn's ``get_params(deep=False)`` returns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import ConfigError
from ganaug.filters import FILTERS
from ganaug.generator import Generator
from ganaug.recipes import Recipe
from ganaug.spec import DTYPE_RANGES
from ganaug.stopping import StoppingPolicy

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.registry import Registry

__all__ = ["check_parameters", "check_ratio", "make_recipe", "recorded_parameters"]


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError for what `make_recipe`, the plugin and the strategy do not look at."""
    generator, random_state = parameters["generator"], parameters["random_state"]
    check_ratio(parameters["ratio"])
    if not isinstance(generator, str | Generator):
        raise ConfigError(f"generator must be a name or a Generator; got {generator!r}.")
    if not (random_state is None or isinstance(random_state, int | np.integer)):
        raise ConfigError(f"random_state must be a whole number; got {random_state!r}.")
    _filters(parameters["filter"])
    for name in ("stop", "metrics"):
        if isinstance(parameters[name], str):
            raise ConfigError(f"{name} must be a sequence, such as ({parameters[name]!r},).")
    for policy in parameters["stop"]:
        if not isinstance(policy, str | StoppingPolicy):
            raise ConfigError(f"stop holds names and stopping policies; got {policy!r}.")


def check_ratio(ratio: Any) -> None:
    """Raise ConfigError unless `ratio` is a probability."""
    if not isinstance(ratio, float | int | np.number) or not 0.0 <= ratio <= 1.0:
        raise ConfigError(f"ratio is a probability, from 0 to 1; got {ratio!r}.")


def make_recipe(parameters: Mapping[str, Any], registry: Registry, *, seed: int) -> Recipe:
    """Return the recipe that these parameters ask for; built policies are no part of it.

    Raises ConfigError for a wrong parameter, UnknownPluginError for a generator there is not.
    """
    generator, settings = parameters["generator"], {}
    if isinstance(generator, str):
        config = registry.generators[generator].config
        settings = config.from_fields(parameters["config"] or {}).to_fields()
    elif parameters["config"]:
        raise ConfigError("config= is for a generator by name; a built generator has its own.")
    return Recipe.from_fields(
        {
            "generator": generator if isinstance(generator, str) else "object",
            "settings": settings,
            "size": parameters["size"],
            "conditioning": parameters["conditioning"] or "conditional",
            "total_images": parameters["total_images"],
            "stop": [policy for policy in parameters["stop"] if isinstance(policy, str)],
            "select": parameters["select"],
            "eval_every": parameters["eval_every"],
            "metrics": list(parameters["metrics"]),
            "extractor": parameters["extractor"],
            "filters": list(_filters(parameters["filter"])),
            "precision": parameters["precision"],
            "random_state": seed,
        }
    )


def _filters(given: Any) -> tuple[str, ...]:
    """Return the names of filters in their order. Raises ConfigError."""
    if given is None:
        return ()
    names = (given,) if isinstance(given, str) else tuple(given)
    if len(set(names)) < len(names) or not set(names) <= set(FILTERS):
        known = ", ".join(map(repr, FILTERS))
        raise ConfigError(
            f"filter must be one of {known}, several of them, or None; got {given!r}."
        )
    return tuple(name for name in FILTERS if name in names)


def recorded_parameters(recipe: Recipe, model: ImageModel) -> dict[str, Any]:
    """Return the parameters that a fitted run tells; the others have their defaults."""
    output = model.output
    names = tuple(each.name for each in model.filters)
    usual = DTYPE_RANGES[np.dtype(output.dtype)]
    return {
        "generator": recipe.generator,
        "config": recipe.settings,
        "size": recipe.size,
        "conditioning": recipe.conditioning,
        "total_images": recipe.total_images,
        "stop": recipe.stop,
        "select": recipe.select,
        "eval_every": recipe.eval_every,
        "metrics": recipe.metrics,
        "extractor": recipe.extractor,
        "filter": names[0] if len(names) == 1 else names or None,
        "value_range": None if output.value_range == usual else output.value_range,
        "precision": recipe.precision,
        "random_state": recipe.random_state,
    }
