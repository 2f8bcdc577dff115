"""The base of every config: typed, strict, frozen; TOML and command-line strings in, TOML out."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ganaug.errors import ConfigError, nearest

__all__ = ["Config", "split_choice"]


def split_choice(text: str) -> tuple[str, dict[str, str]]:
    """Take ``NAME`` or ``NAME:FIELD=VALUE,...`` apart: a plugin's name, and its config's fields.

    Raises ConfigError for a field without a value.
    """
    name, _, fields = text.partition(":")
    assignments = {}
    for assignment in filter(None, fields.split(",")):
        field, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: expected NAME:FIELD=VALUE,...; got {assignment!r}.")
        assignments[field.strip()] = value.strip()
    return name, assignments


class Config(BaseModel):
    """Strict, frozen configuration: unknown fields, wrong types and bad values are refused.

    Building one directly raises pydantic's `ValidationError`; the ``from_*`` constructors, which
    take what users write, raise `ConfigError` with one line that names the field.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Build from values as TOML or JSON give them: a list stands for a tuple."""
        try:
            text = json.dumps(dict(fields))
        except TypeError as error:
            raise ConfigError(f"{cls.__name__}: {error}; expected plain TOML values.") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(cls._explain(error)) from error

    @classmethod
    def from_strings(cls, assignments: Mapping[str, str]) -> Self:
        """Build from ``--set FIELD=VALUE`` strings; ``a,b`` or ``[a, b]`` stands for a tuple."""
        values: dict[str, Any] = {}
        for name, text in assignments.items():
            field = cls.model_fields.get(name)
            is_tuple = field is not None and "tuple" in str(field.annotation)
            parts = [part.strip() for part in text.strip("[]() ").split(",")]
            values[name] = [part for part in parts if part] if is_tuple else text
        try:
            return cls.model_validate(values, strict=False)  # strings mode takes no lists
        except ValidationError as error:
            raise ConfigError(cls._explain(error)) from error

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Build from a TOML file of fields."""
        try:
            return cls.from_fields(tomllib.loads(Path(path).read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"Cannot read the config {path}: {error}.") from error

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as TOML can hold them: no None (optional fields default to it)."""
        fields: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return fields

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        # A misspelt field comes before the required one that it was meant to be.
        errors = error.errors(include_url=False)
        first = min(errors, key=lambda each: each["type"] != "extra_forbidden")
        name = ".".join(str(part) for part in first["loc"])
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            fields = sorted(cls.model_fields)
            choices = f"The fields are {', '.join(fields)}." if fields else "It has no fields."
            return f"{cls.__name__} has no field {name!r}.{nearest(name, fields)} {choices}{more}"
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        if not name:  # about several fields, which the message names
            return f"{cls.__name__}: {message}.{more}"
        if first["type"] == "missing":
            return f"{cls.__name__}.{name}: {message[0].lower()}{message[1:]}, but missing.{more}"
        return f"{cls.__name__}.{name}: {message}; got {first.get('input')!r}.{more}"
