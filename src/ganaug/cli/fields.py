"""The fields of a config in words: type, default, and what its author wrote about it."""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ganaug.config import Config

__all__ = ["describe_fields"]

_LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def describe_fields(config: type[Config]) -> list[dict[str, str]]:
    """Return name, type, default and description of each field, as text.

    A description is the field's own, what the docstring says after ``name:``, or the comment at
    the end of its line, where ganaug's plugins keep units and papers. A class that inherits a
    field inherits its description, unless it gives another.
    """
    names = tuple(config.model_fields)
    described: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if issubclass(base, Config):
            described |= {**_comments(base), **_from_docstring(base, names)}
    return [
        {
            "name": name,
            "type": _type_text(field.annotation) + _limits(field.metadata),
            "default": "required" if field.is_required() else _value_text(field.get_default()),
            "description": field.description or described.get(name, ""),
        }
        for name, field in config.model_fields.items()
    ]


def _type_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is Literal:
        return " | ".join(str(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(_type_text(argument) for argument in arguments)
    if origin is tuple:
        items = [_type_text(argument) for argument in arguments if argument is not ...]
        return ", ".join(items) + (", ..." if ... in arguments else "")
    if annotation is type(None):
        return "none"
    return getattr(annotation, "__name__", str(annotation))


def _limits(metadata: list[Any]) -> str:
    """Return what pydantic's constraints ask of a number."""
    found = [
        f"{sign} {getattr(constraint, name):g}"
        for constraint in metadata
        for name, sign in _LIMITS.items()
        if isinstance(getattr(constraint, name, None), int | float)
    ]
    return f" ({', '.join(found)})" if found else ""


def _value_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return ", ".join(str(item) for item in value) or "empty"
    return str(value)


def _from_docstring(config: type[Config], names: Iterable[str]) -> dict[str, str]:
    """Return what ``name: text`` and ``name, name: text`` in a class's own docstring say."""
    any_name = "|".join(map(re.escape, names)) or r"(?!)"
    start = re.compile(rf"(?:^|(?<=\. ))((?:{any_name})(?:, (?:{any_name}))*): ")
    found = {}
    for paragraph in inspect.cleandoc(config.__doc__ or "").split("\n\n"):
        text = " ".join(paragraph.split())
        matches = list(start.finditer(text))
        ends = [match.start() for match in matches[1:]] + [len(text)]
        for match, end in zip(matches, ends, strict=False):
            for name in match[1].split(", "):
                found[name] = text[match.end() : end].strip().replace("``", "")
    return found


def _comments(config: type[Config]) -> dict[str, str]:
    """Return the comments at the end of fields' lines; none where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(config))
        (tree,) = ast.parse(source).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return {}
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {
        statement.target.id: comments[statement.end_lineno or 0]
        for statement in getattr(tree, "body", [])
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.end_lineno in comments
    }
