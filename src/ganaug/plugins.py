"""The frozen records that hooks yield."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug.config import Config
from ganaug.errors import PluginError

if TYPE_CHECKING:
    from ganaug.evaluator import Evaluator, FeatureExtractor
    from ganaug.generator import Generator
    from ganaug.spec import ImageSpec, LabelledImages
    from ganaug.stopping import StoppingPolicy

__all__ = [
    "DatasetPlugin",
    "EvaluatorPlugin",
    "FeatureExtractorPlugin",
    "GeneratorPlugin",
    "StoppingPolicyPlugin",
]


def _check(record: Any) -> None:
    """Refuse a name that a command line could not take and a config that is not a Config."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", record.name):
        raise PluginError(
            "A plugin's name has lower-case letters, digits and single hyphens; "
            f"got {record.name!r}."
        )
    if not (isinstance(record.config, type) and issubclass(record.config, Config)):
        raise PluginError(
            f"Plugin {record.name!r} needs a config class derived from ganaug.Config; "
            f"got {record.config!r}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorPlugin:
    """A generator by name: ``build(config, spec)`` returns a `Generator`.

    `build` raises ShapeError for a spec it cannot do.
    """

    name: str
    summary: str
    config: type[Config]
    build: Callable[[Any, ImageSpec], Generator]

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPlugin:
    """A source of images by name: ``open(config, location)`` returns `LabelledImages`.

    ``claims(location)`` says how sure it is that the location is its own: 0 for no, higher wins.
    """

    name: str
    summary: str
    config: type[Config]
    open: Callable[[Any, Path], LabelledImages]
    claims: Callable[[Path], int]

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorPlugin:
    """A metric by name: ``build(config, extractor)`` returns an `Evaluator`."""

    name: str
    summary: str
    config: type[Config]
    build: Callable[[Any, FeatureExtractor | None], Evaluator]

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureExtractorPlugin:
    """A feature space by name: ``build(config, spec)`` returns a `FeatureExtractor`."""

    name: str
    summary: str
    config: type[Config]
    build: Callable[[Any, ImageSpec], FeatureExtractor]

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingPolicyPlugin:
    """A stopping policy by name: ``build(config)`` returns a `StoppingPolicy`."""

    name: str
    summary: str
    config: type[Config]
    build: Callable[[Any], StoppingPolicy]

    def __post_init__(self) -> None:
        _check(self)
