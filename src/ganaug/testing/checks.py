"""What a check is, how checks are run one by one, and how pytest is given them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, get_args

from ganaug.errors import ConfigError, PluginError, nearest

__all__ = [
    "BoundCheck",
    "Check",
    "CheckFailedError",
    "CheckResult",
    "check_table",
    "config_round_trip",
    "expect",
    "expect_kind",
    "failing",
    "marked",
]


class CheckFailedError(PluginError, AssertionError):
    """A plugin breaks a promise of its kind; says which plugin, which check, and how."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of a kind of plugin. run: takes the subject, raises CheckFailedError."""

    name: str
    promise: str
    run: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Whether a plugin keeps a promise. reason: why not, None when it does."""

    name: str
    promise: str
    reason: str | None

    @property
    def passed(self) -> bool:
        """Whether it is kept."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """A check of one plugin: call it; it raises CheckFailedError when the promise is broken."""

    check: Check
    owner: str
    subject: Any = field(repr=False)

    @property
    def name(self) -> str:
        """The check's name."""
        return self.check.name

    def __call__(self) -> None:
        """Run it. Raises CheckFailedError."""
        try:
            self.check.run(self.subject)
        except CheckFailedError as failure:
            raise CheckFailedError(f"{self.owner} fails {self.name!r}: {failure}") from failure
        except (Exception, SystemExit) as error:
            raise CheckFailedError(
                f"{self.owner} fails {self.name!r}: it raised {type(error).__name__}: {error}"
            ) from error

    def result(self) -> CheckResult:
        """Run it and say how that went."""
        try:
            self()
        except CheckFailedError as failure:
            return CheckResult(self.name, self.check.promise, str(failure))
        return CheckResult(self.name, self.check.promise, None)


def check_table() -> tuple[
    dict[str, Check], Callable[[Callable[[Any], None]], Callable[..., None]]
]:
    """Return an empty table of checks, and a decorator that adds a function to it.

    The function's name, with hyphens, is the check's, and its docstring's summary is the promise.
    """
    table: dict[str, Check] = {}

    def add(function: Callable[[Any], None]) -> Callable[[Any], None]:
        name = function.__name__.replace("_", "-")
        promise = (function.__doc__ or "").strip().partition("\n\n")[0]
        table[name] = Check(name, promise, function)
        return function

    return table, add


def expect(holds: bool, otherwise: str) -> None:
    """Raise CheckFailedError unless something holds."""
    if not holds:
        raise CheckFailedError(otherwise)


def expect_kind(found: object, kind: type[object], made_by: str) -> None:
    """Raise CheckFailedError, in one line, unless a plugin's function returned a kind of object.

    kind: a class that `ganaug` exports. made_by: the function's name, such as "build".
    """
    if not isinstance(found, kind):
        shown = shorten(repr(found), 80, placeholder=" ...")
        expect(False, f"{made_by} returned {shown}; expected a ganaug.{kind.__name__}")


def config_round_trip(subject: Any) -> None:
    """Its config survives being written to TOML and read again."""
    for name, info in type(subject.config).model_fields.items():
        optional = type(None) in get_args(info.annotation)
        expect(
            not optional or info.is_required() or info.default is None,
            f"the field {name!r} may be None and is {info.default!r} unless set; TOML has no "
            "None, so let None be the default, or take another value for it",
        )
    again = type(subject.config).from_fields(subject.config.to_fields())
    expect(again == subject.config, f"{subject.config!r} was read back as {again!r}")


def marked(checks: Sequence[BoundCheck], expected_failures: Mapping[str, str]) -> Iterator[Any]:
    """Yield pytest parameters; those that are expected to fail must.

    Raises ConfigError for a name that is no check's, and for one without a reason.
    """
    import pytest

    names = [check.name for check in checks]
    for name, why in expected_failures.items():
        if not why:
            raise ConfigError(f"The expected failure {name!r} needs a reason; got {why!r}.")
        if name not in names:
            raise ConfigError(
                f"There is no check {name!r}.{nearest(name, names)} The checks are "
                f"{', '.join(names)}."
            )
    for check in checks:
        reason = expected_failures.get(check.name)
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        yield pytest.param(check, id=check.name, marks=marks)


@contextmanager
def failing(with_error: type[Exception], otherwise: str) -> Iterator[None]:
    """Expect an error of a kind from the block."""
    try:
        yield
    except with_error:
        return
    except (Exception, SystemExit) as error:
        raise CheckFailedError(
            f"{otherwise}; expected {with_error.__name__}, got {type(error).__name__}: {error}"
        ) from error
    raise CheckFailedError(f"{otherwise}; expected {with_error.__name__}, and nothing was raised")
