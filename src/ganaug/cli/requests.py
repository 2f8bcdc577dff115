"""What a user asks of ``ganaug fit``, and the recipe that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug.cli.opening import assignments_of
from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from ganaug.recipes import Recipe
    from ganaug.registry import Registry
    from ganaug.run_config import RunConfig

__all__ = ["FitRequest", "extended_recipe", "make_recipe", "recorded_fields"]

#: Options of the recipe that a resumed run must keep, by the name of their field.
_FIXED = {
    "generator": "--generator",
    "size": "--size",
    "conditioning": "--conditioning",
    "select": "--select",
    "eval_every": "--eval-every",
    "metrics": "--metric",
    "extractor": "--extractor",
    "filters": "--filter",
    "random_state": "--seed",
    "precision": "--precision",
}

#: Those that it may change.
_EXTENDED = ("total_images", "minutes", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """The options of ``ganaug fit``; None, or nothing, where the user said nothing.

    fields: of the dataset plugin, as text. tensorboard: of this command, not of the run.
    """

    data: str
    out: Path
    fields: Mapping[str, str] = field(default_factory=dict)
    generator: str | None = None
    settings: tuple[str, ...] = ()
    size: int | None = None
    conditioning: str | None = None
    select: str | None = None
    eval_every: int | None = None
    metrics: tuple[str, ...] | None = None
    extractor: str | None = None
    filters: tuple[str, ...] | None = None
    total_images: int | None = None
    minutes: float | None = None
    stop: tuple[str, ...] | None = None
    classes: tuple[str, ...] = ()
    holdout: float | None = None
    split: Path | None = None
    random_state: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    device: str = "auto"
    tensorboard: bool = False

    def given(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the options among `names` that the user gave."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def make_recipe(request: FitRequest, registry: Registry) -> Recipe:
    """Return the recipe, every default filled in. Raises ConfigError for a wrong option."""
    from ganaug.recipes import Recipe, policies_of, with_validation
    from ganaug.selection import check_selection

    generator = request.generator or Recipe.model_fields["generator"].default
    config_type = registry.generators[generator].config
    config = config_type.from_strings(_generator_fields(request, config_type.model_fields))
    options = request.given([*_FIXED, *_EXTENDED, "batch_size"])
    recipe = Recipe.from_fields({**options, "generator": generator, "settings": config.to_fields()})
    check_selection(recipe.select)
    policies = policies_of(recipe, registry)
    return with_validation(recipe, policies)


def extended_recipe(request: FitRequest, config: RunConfig, registry: Registry) -> Recipe:
    """Return a run's recipe with the images, minutes and policies that the request has.

    Raises ConfigError, which names the option, when another one differs from the run's.
    """
    from ganaug.recipes import Recipe, policies_of

    recorded = config.recipe
    for name, value in request.given(list(_FIXED)).items():
        _check_same(_FIXED[name], value, getattr(recorded, name))
    if request.classes:
        _check_same("--class", sorted(request.classes), sorted(config.class_names))
    config_type = registry.generators[recorded.generator].config
    before = config_type.from_fields(recorded.settings)
    fields = _generator_fields(request, config_type.model_fields)
    as_given = {name: _assignment(value) for name, value in recorded.settings.items()}
    after = config_type.from_strings({**as_given, **fields})
    for name in fields:
        option = "--batch-size" if name == "batch_size" else f"--set {name}"
        _check_same(option, getattr(after, name), getattr(before, name))
    if request.batch_size is not None and "batch_size" not in fields:
        _check_same("--batch-size", request.batch_size, recorded.batch_size)
    recipe = Recipe.from_fields({**recorded.to_fields(), **request.given(_EXTENDED)})
    policies = policies_of(recipe, registry)
    if recipe.eval_every is None and any(policy.needs_metrics for policy in policies):
        raise ConfigError(
            "--stop has a policy that reads scores on validation rows, and this run was begun "
            "without: it has trained on all rows that could be cut. Use other policies, or fit a "
            "new run with --eval-every."
        )
    return recipe


def recorded_fields(request: FitRequest, config: RunConfig) -> dict[str, str]:
    """Return the fields that a run's images were opened with.

    Raises ConfigError when the request has others.
    """
    for name, value in request.fields.items():
        _check_same(f"--open {name}", value, config.source_fields.get(name))
    return config.source_fields


def _generator_fields(request: FitRequest, fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``--set`` gives, and ``--batch-size`` where the generator has one of its own."""
    assignments = assignments_of("--set", "width=32", request.settings)
    if request.batch_size is not None and "batch_size" in fields:
        if "batch_size" in assignments:
            raise ConfigError("Give --batch-size or --set batch_size=..., not both.")
        assignments["batch_size"] = str(request.batch_size)
    return assignments


def _check_same(option: str, given: Any, recorded: Any) -> None:
    if given != recorded:
        raise ConfigError(
            f"{option} is {_text(recorded)} in this run and cannot be changed by --resume; got "
            f"{_text(given)}. Leave it out, or fit a new run."
        )


def _assignment(value: Any) -> str:
    """Return a recorded field's value as ``--set`` takes it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "empty"
    return "not set" if value is None else str(value)
