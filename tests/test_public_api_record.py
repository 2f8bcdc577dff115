"""The public names of ganaug with their signatures are those of public_api.txt.

After a change on purpose, write that file anew: ``python tests/test_public_api_record.py``.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

RECORD = Path(__file__).with_name("public_api.txt")
API_PAGE = Path(__file__).parents[1] / "docs" / "api.md"
SPECIAL = ("__init__", "__call__")
MODULES = ("ganaug", "ganaug.errors", "ganaug.testing", "ganaug.hookspecs")


def public_names() -> dict[str, list[str]]:
    """The names of each public module: all of some, and of others what the API page describes."""
    names = {name: sorted(importlib.import_module(name).__all__) for name in MODULES}
    page = API_PAGE.read_text("utf-8")
    for module, name in sorted(re.findall(r"^\.\. auto\w+:: (ganaug\.[\w.]+)\.(\w+)$", page, re.M)):
        if module not in MODULES:
            names.setdefault(module, []).append(name)
    return names


def public_api() -> str:
    """Names and signatures of what a plugin or a program can import, as text."""
    lines: list[str] = []
    for name, found in public_names().items():
        module = importlib.import_module(name)
        lines += [f"# {name}", ""]
        for public in found:
            lines += [*described(public, getattr(module, public)), ""]
    return "\n".join(lines)


def described(name: str, thing: object) -> Iterator[str]:
    """Lines about one public name: its signature, and those of its members."""
    if isinstance(thing, type):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from members(thing)
    elif inspect.isfunction(thing):
        yield f"{name}{inspect.signature(thing)}"
    else:
        yield f"{name}: {type(thing).__name__}"


def members(cls: type) -> Iterator[str]:
    """Lines about what a class, or a class of ganaug's that it derives from, defines itself."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("ganaug"):
            continue
        for name, annotation in inspect.get_annotations(base).items():
            found[name] = f"{name}: {annotation}"
        for name, value in vars(base).items():
            if not name.startswith("_") or (name in SPECIAL and inspect.isfunction(value)):
                found[name] = member(name, value) or found.get(name, "")
    shown = sorted(name for name in found if not name.startswith("_") or name in SPECIAL)
    yield from (f"    {found[name]}" for name in shown if found[name])


def member(name: str, value: object) -> str:
    """A line about one member; nothing where its annotation says it all."""
    if isinstance(value, property):
        return f"{name}: property -> {inspect.signature(value.fget).return_annotation}"
    for kind in (classmethod, staticmethod):
        if isinstance(value, kind):
            return f"{kind.__name__} {name}{inspect.signature(value.__func__)}"
    if inspect.isfunction(value):
        abstract = "abstract " if getattr(value, "__isabstractmethod__", False) else ""
        return f"{abstract}{name}{inspect.signature(value)}"
    return ""


def test_the_public_api_is_the_one_that_is_recorded():
    before, now = RECORD.read_text("utf-8").splitlines(), public_api().splitlines()
    changes = list(difflib.unified_diff(before, now, "recorded", "found", lineterm="", n=2))
    assert not changes, "\n".join(
        [
            "The public API changed. If that is meant: bump the version of ganaug, note the change "
            "in CHANGELOG.md, and run: python tests/test_public_api_record.py",
            *changes,
        ]
    )


def test_a_signature_a_default_and_a_member_are_recorded():
    class One:
        size: int

        def draw(self, n: int = 1) -> int:
            return n

    class Two(One):
        __module__ = "ganaug.made_up"

        def draw(self, n: int = 2) -> int:
            return n

        @property
        def area(self) -> int:
            return 1

    One.__module__ = "ganaug.made_up"
    One.draw.__module__ = Two.draw.__module__ = "ganaug.made_up"
    assert list(described("Two", Two)) == [
        "class Two(One)",
        "    area: property -> int",
        "    draw(self, n: 'int' = 2) -> 'int'",
        "    size: int",
    ]


if __name__ == "__main__":
    RECORD.write_text(public_api(), "utf-8")
