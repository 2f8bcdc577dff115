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
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def checks_for(
    record: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    location: str | Path | None = None,
    owner: str = "",
) -> list[BoundCheck]:
    """Return the checks of a plugin record, bound to it.

    settings: fields of its config, such as small widths that make it quick. location: something
    that a dataset plugin opens. owner: who provides it, for messages.

    Raises PluginError for what is no record of a plugin, ConfigError for a dataset plugin without
    a location.
    """
    subject, table = _subject(record, dict(settings or {}), location)
    name = f"{type(record).__name__} {record.name!r}" + (f" of {owner}" if owner else "")
    return [BoundCheck(check, name, subject) for check in table.values()]


def parametrize_checks(
    record: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    location: str | Path | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrize a test function by ``check``, one for each promise of the record's kind.

    settings, location: as `checks_for` takes them. expected_failures: names of checks that it
    fails, and why; a check that passes in spite of it is a failure.

    Raises ConfigError for a name that is no check's, PluginError for what is no plugin's record.
    """
    import pytest

    checks = checks_for(record, settings=settings, location=location)
    return pytest.mark.parametrize("check", list(marked(checks, expected_failures or {})))


def _subject(
    record: Any, settings: dict[str, Any], location: str | Path | None
) -> tuple[Any, Mapping[str, Check]]:
    """Return what the checks of a record look at, and the checks."""
    if isinstance(record, GeneratorPlugin):
        from ganaug.testing import generators

        return generators.GeneratorSubject(record, settings), generators.CHECKS
    if isinstance(record, DatasetPlugin):
        from ganaug.testing import datasets

        if location is None:
            raise ConfigError(
                f"The checks of the dataset plugin {record.name!r} need something to open: give "
                "a location."
            )
        return datasets.DatasetSubject(record, settings, Path(location)), datasets.CHECKS
    if isinstance(record, EvaluatorPlugin):
        from ganaug.testing import evaluators

        return evaluators.EvaluatorSubject(record, settings), evaluators.CHECKS
    if isinstance(record, FeatureExtractorPlugin):
        from ganaug.testing import extractors

        return extractors.ExtractorSubject(record, settings), extractors.CHECKS
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
