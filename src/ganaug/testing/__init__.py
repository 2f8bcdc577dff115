"""The conformance kit: what plugins of each kind promise, as named checks.

In a plugin's own tests::

    from ganaug.testing import parametrize_checks


    @parametrize_checks(PLUGIN, settings={"width": 8})
    def test_keeps_the_promises_of_a_generator(check):
        check()

and on the command line: ``ganaug plugins check NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug import __version__
from ganaug.errors import ConfigError, PluginError
from ganaug.plugins import (
    DatasetPlugin,
    EvaluatorPlugin,
    FeatureExtractorPlugin,
    GeneratorPlugin,
    StoppingPolicyPlugin,
)
from ganaug.study import Study
from ganaug.testing.checks import BoundCheck, Check, CheckFailedError, CheckResult, marked

if TYPE_CHECKING:
    import pytest

__all__ = ["BoundCheck", "CheckFailedError", "CheckResult", "checks_for", "parametrize_checks"]

_WITH_FIELDS = (
    GeneratorPlugin,
    DatasetPlugin,
    EvaluatorPlugin,
    FeatureExtractorPlugin,
    StoppingPolicyPlugin,
)


def checks_for(
    record: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    location: str | Path | None = None,
    size: int | None = None,
    owner: str = "",
) -> list[BoundCheck]:
    """Return the checks of a plugin record, bound to it.

    settings: fields of its config, such as small widths that make it quick. location: something
    that a dataset plugin opens. size: pixels a side of the images that a generator or
    feature extractor is tried with; unless given, the first that a generator takes of some, 32 for
    an extractor. owner: who provides it, for messages; the installed distribution that has it
    unless given.

    Raises PluginError for what is no record of a plugin, ConfigError for a dataset plugin without
    a location, for a size where nothing has one, and for settings that are missing or bad.
    """
    subject, table = _subject(record, dict(settings or {}), location, size)
    owner = owner or _distribution(record)
    name = f"{type(record).__name__} {record.name!r}" + (f" of {owner}" if owner else "")
    return [BoundCheck(check, name, subject) for check in table.values()]


def parametrize_checks(
    record: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    location: str | Path | None = None,
    size: int | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrize a test function by ``check``, one for each promise of the record's kind.

    settings, location, size: as `checks_for` takes them. expected_failures: names of checks that
    it fails, and why; a check that passes in spite of it is a failure.

    Raises ConfigError for a name that is no check's, and what `checks_for` raises.
    """
    import pytest

    checks = checks_for(record, settings=settings, location=location, size=size)
    return pytest.mark.parametrize("check", list(marked(checks, expected_failures or {})))


def _distribution(record: Any) -> str:
    """Return name and version of the installed distribution whose entry point has a record.

    "" where none has, as for a plugin that is being written, and for a study.
    """
    made_by = getattr(record, "build", None) or getattr(record, "open", None)
    module = getattr(made_by, "__module__", "")
    if module.partition(".")[0] == "ganaug":
        return f"ganaug {__version__}"
    # The longest: a namespace package may be of several distributions.
    entries = sorted(entry_points(group="ganaug"), key=lambda entry: -len(entry.module))
    for entry in entries:
        if f"{module}.".startswith(f"{entry.module}.") and entry.dist is not None:
            return f"{entry.dist.name} {entry.dist.version}"
    return ""


def _check_fields(record: Any, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that are missing or bad, PluginError for a broken config."""
    fields = record.config.model_fields
    missing = [name for name, each in fields.items() if each.is_required() and name not in settings]
    if missing:
        options = " ".join(f"--set {name}=..." for name in missing)
        raise ConfigError(
            f"The checks of {record.name!r} need values of {', '.join(missing)}: give settings, on "
            f"the command line {options}"
        )
    try:
        record.config.from_fields(settings)
    except ConfigError:
        raise
    except Exception as error:
        raise PluginError(
            f"The config of {record.name!r} raised {type(error).__name__}: {error}"
        ) from error


def _subject(
    record: Any, settings: dict[str, Any], location: str | Path | None, size: int | None
) -> tuple[Any, Mapping[str, Check]]:
    """Return what the checks of a record look at, and the checks."""
    if size is not None and not isinstance(record, GeneratorPlugin | FeatureExtractorPlugin):
        raise ConfigError(
            "Only generators and feature extractors are tried with images of a size; give "
            f"{getattr(record, 'name', record)!r} none."
        )
    if isinstance(record, _WITH_FIELDS):
        _check_fields(record, settings)
    if isinstance(record, GeneratorPlugin):
        from ganaug.testing import generators

        return generators.GeneratorSubject(record, settings, size), generators.CHECKS
    if isinstance(record, DatasetPlugin):
        from ganaug.testing import datasets

        if location is None:
            raise ConfigError(
                f"The checks of the dataset plugin {record.name!r} need something to open: give "
                "a location, on the command line --location PATH."
            )
        return datasets.DatasetSubject(record, settings, Path(location)), datasets.CHECKS
    if isinstance(record, EvaluatorPlugin):
        from ganaug.testing import evaluators

        return evaluators.EvaluatorSubject(record, settings), evaluators.CHECKS
    if isinstance(record, FeatureExtractorPlugin):
        from ganaug.testing import extractors

        return extractors.ExtractorSubject(record, settings, size), extractors.CHECKS
    if isinstance(record, StoppingPolicyPlugin):
        from ganaug.testing import policies

        return policies.PolicySubject(record, settings), policies.CHECKS
    if isinstance(record, Study):
        from ganaug.testing import studies

        return studies.StudySubject(record), studies.CHECKS
    raise PluginError(
        f"There are no checks for {record!r}; expected a record of a plugin, such as "
        "GeneratorPlugin."
    )
