from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ganaug
from ganaug import errors

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.GanaugError)
}


def documented():
    """The tree of the module's docstring: name to (parent, built-in bases)."""
    tree, stack = {}, []
    for line in errors.__doc__.splitlines():
        if found := re.match(r" {4}([│├└─ ]*)(\w+)(?: \(([\w, ]+)\))?", line):
            depth = len(found[1]) // 4
            stack[depth:] = [found[2]]
            tree[found[2]] = (stack[depth - 1] if depth else None, found[3])
    return tree


def test_the_tree_in_the_docstring_is_the_real_one():
    real = {
        name: (
            next((base.__name__ for base in cls.__bases__ if base in CLASSES.values()), None),
            ", ".join(b.__name__ for b in cls.__bases__ if b not in CLASSES.values()) or None,
        )
        for name, cls in CLASSES.items()
    }
    real["GanaugError"] = (None, None)
    assert documented() == real


def test_every_error_is_public():
    assert sorted(errors.__all__) == errors.__all__
    assert set(CLASSES) == set(errors.__all__) - {"nearest"}


def called():
    """The names of everything that the package calls: an error that is raised is built first."""
    for path in Path(ganaug.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id


def test_every_error_is_raised_somewhere():
    assert set(CLASSES) - {"GanaugError"} - set(called()) == set()


def test_every_error_says_what_it_is_for_and_is_in_the_api_page():
    assert all((cls.__doc__ or "").endswith(".") for cls in CLASSES.values())
    page = Path(__file__).resolve().parents[1] / "docs" / "api.md"
    assert ".. automodule:: ganaug.errors\n" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("dcgn", " Did you mean 'dcgan'?"), ("zzz", ""), ("", "")],
)
def test_the_nearest_choice_is_named_if_there_is_one(word, expected):
    assert errors.nearest(word, iter(["pggan", "dcgan"])) == expected


def test_without_choices_nothing_is_near():
    assert errors.nearest("dcgan", []) == ""
