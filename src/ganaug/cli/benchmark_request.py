"""What a user asks of ``ganaug benchmark``, and the study and budget that follow from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug.cli.console import command
from ganaug.cli.opening import assignments_of
from ganaug.errors import ConfigError, nearest

if TYPE_CHECKING:
    from ganaug.registry import Registry
    from ganaug.study import Budget, Study

__all__ = ["DEFAULT_STUDY", "BenchmarkRequest", "make_budget", "make_study"]

#: The study of those who name none: any images, with the usual remedies.
DEFAULT_STUDY = "any"

#: Options of a generator, by the name of their field.
_OF_GENERATORS = {
    "generator": "--generator",
    "settings": "--set",
    "conditioning": "--conditioning",
    "filters": "--filter",
    "images": "--images",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRequest:
    """The options of ``ganaug benchmark``; None, or nothing, where the user said nothing.

    fields: of the dataset plugin, as text.
    """

    data: str
    out: Path
    fields: Mapping[str, str] = field(default_factory=dict)
    study: str | None = None
    arms: tuple[str, ...] = ()
    reference: str | None = None
    classifier: str | None = None
    size: int | None = None
    generator: str | None = None
    settings: tuple[str, ...] = ()
    conditioning: str | None = None
    filters: tuple[str, ...] | None = None
    budget: str = "small"
    folds: int | None = None
    repeats: int | None = None
    fractions: tuple[float, ...] = ()
    steps: int | None = None
    images: int | None = None
    seed: int = 0
    resume: bool = False
    backend: str = "loky"
    jobs: int | None = None
    device: str = "auto"
    json: bool = False
    pictures: bool = True

    def resume_command(self) -> str:
        """Return the command that goes on."""
        repeated = {
            "--open": [f"{name}={value}" for name, value in self.fields.items()],
            "--arm": self.arms,
            "--set": self.settings,
            "--filter": self.filters or (),
            "--fraction": [repr(fraction) for fraction in self.fractions],
        }
        single = {
            "--study": self.study,
            "--reference": self.reference,
            "--classifier": self.classifier,
            "--size": self.size,
            "--generator": self.generator,
            "--conditioning": self.conditioning,
            "--budget": self.budget if self.budget != "small" else None,
            "--folds": self.folds,
            "--repeats": self.repeats,
            "--steps": self.steps,
            "--images": self.images,
            "--seed": self.seed or None,
            "--backend": self.backend if self.backend != "loky" else None,
            "--jobs": self.jobs,
            "--device": self.device if self.device != "auto" else None,
        }
        words: list[object] = ["ganaug", "benchmark", self.data, "--out", self.out]
        words += [word for name, values in repeated.items() for v in values for word in (name, v)]
        words += [word for name, v in single.items() if v is not None for word in (name, v)]
        return command(
            *words,
            *(["--json"] if self.json else []),
            *([] if self.pictures else ["--no-pictures"]),
            "--resume",
        )


def make_study(request: BenchmarkRequest, registry: Registry) -> Study:
    """Return the study with what the options change of it.

    Raises UnknownPluginError for a study or generator that nobody provides; ConfigError for an
    unknown arm or reference, for arms that no reference can be chosen from, and for options of a
    generator where no arm has one.
    """
    study = _find_study(request.study or DEFAULT_STUDY, registry)
    if request.arms:
        study = study.with_arms(request.arms)
    if request.classifier is not None:
        study = replace(study, classifier=request.classifier)
    if request.size is not None:
        study = replace(
            study,
            size=request.size,
            generator_size=request.size,
            small=replace(study.small, generator_size=None),
            full=replace(study.full, generator_size=None),
        )
    assignments = assignments_of("--set", "width=32", request.settings)
    if request.generator is not None and request.generator != study.generator:
        registry.generators.find(request.generator)
        study = replace(study, generator=request.generator, settings={})
        study = _without_settings(study, {*study.small.settings, *study.full.settings})
    if assignments:
        study = replace(study, settings={**study.settings, **assignments})
        study = _without_settings(study, assignments)  # which win over those of a budget
    if request.conditioning is not None:
        study = replace(study, conditioning=request.conditioning)
    if request.filters is not None:
        study = replace(study, filters=request.filters)
    _check_generator(request, study)
    _check_reference(request, study)
    return study


def _without_settings(study: Study, names: Collection[str]) -> Study:
    """Return the study with budgets that leave these settings of the generator alone."""
    small, full = (
        replace(each, settings={k: v for k, v in each.settings.items() if k not in names})
        for each in (study.small, study.full)
    )
    return replace(study, small=small, full=full)


def _find_study(name: str, registry: Registry) -> Study:
    """Return a study by name, or read it from a TOML file."""
    from ganaug.study import Study

    return Study.from_toml(Path(name)) if name.endswith(".toml") else registry.studies[name]


def make_budget(request: BenchmarkRequest, study: Study) -> Budget:
    """Return the study's small or full budget with what the options change of it."""
    changes: dict[str, Any] = {
        "folds": request.folds,
        "repeats": request.repeats,
        "fractions": request.fractions or None,
        "steps": request.steps,
        "generator_images": request.images,
    }
    budget = study.full if request.budget == "full" else study.small
    return replace(budget, **{name: v for name, v in changes.items() if v is not None})


def _check_generator(request: BenchmarkRequest, study: Study) -> None:
    given = [option for name, option in _OF_GENERATORS.items() if getattr(request, name)]
    if given and not any(arm.needs_generator for arm in study.arms):
        names = ", ".join(arm.name for arm in study.arms)
        raise ConfigError(
            f"{given[0]} is for arms with synthetic images, and none of {names} is one. Leave it "
            "out, or add --arm synthetic."
        )


def _check_reference(request: BenchmarkRequest, study: Study) -> None:
    names = [arm.name for arm in study.arms]
    if len(names) < 2:
        raise ConfigError(
            f"There is nothing to compare {names[0]} with; add another --arm, such as untreated."
        )
    if request.reference is not None and request.reference not in names:
        raise ConfigError(
            f"--reference {request.reference} is not among the arms, which are "
            f"{', '.join(names)}.{nearest(request.reference, names)}"
        )
    if request.reference is None and all(arm.needs_generator for arm in study.arms):
        raise ConfigError(
            f"All arms have synthetic images ({', '.join(names)}), so there is nothing to compare "
            "them with. Add one without, such as --arm oversample, or name one with --reference."
        )
