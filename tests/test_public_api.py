from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ganaug

MODULES = [
    module.name
    for module in pkgutil.walk_packages(ganaug.__path__, "ganaug.")
    if not module.name.endswith("__main__")
]


def heavy_imports_of(statement):
    code = f"""
import sys
{statement}
heavy = {{"torch", "sklearn", "PIL", "monai", "matplotlib", "imblearn", "lightning", "scipy"}}
print(*sorted(heavy & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_public_names_are_sorted_and_have_a_home_each():
    assert sorted(ganaug.__all__) == ganaug.__all__
    assert list(ganaug._HOMES) == ganaug.__all__
    assert set(ganaug.__all__) <= set(dir(ganaug))


@pytest.mark.parametrize("name", ganaug.__all__)
def test_a_public_name_can_be_imported_and_is_public_at_home(name):
    home = importlib.import_module(f"ganaug.{ganaug._HOMES[name]}")
    assert getattr(ganaug, name) is getattr(home, name)
    assert name in home.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'ganaug' has no attribute 'Discriminator'"):
        _ = ganaug.Discriminator


@pytest.mark.parametrize("name", MODULES)
def test_a_module_declares_what_is_public_and_has_it(name):
    module = importlib.import_module(name)
    if hasattr(module, "__path__") and not hasattr(module, "__all__"):
        return  # a package that only holds modules
    assert len(set(module.__all__)) == len(module.__all__)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []
    assert module.__doc__


def test_what_modules_import_of_each_other_is_declared():
    package = Path(ganaug.__file__).parent
    undeclared = [
        f"{path.relative_to(package)} imports {name} of {node.module}"
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganaug")
        for name in {alias.name for alias in node.names} - _declared(node.module)
    ]
    assert undeclared == []


def _declared(module):
    found = importlib.import_module(module)
    modules = {m.name for m in pkgutil.iter_modules(getattr(found, "__path__", ()))}
    return {*getattr(found, "__all__", ()), "__version__", *modules}


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_makes_public_is_documented(name):
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        thing = getattr(module, public)
        if getattr(thing, "__module__", None) == name and callable(thing):
            assert thing.__doc__, f"{public} has no docstring"


def test_importing_ganaug_imports_nothing_heavy():
    assert heavy_imports_of("import ganaug") == []


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith(".plugin")])
def test_a_builtin_plugin_lists_what_it_has_without_heavy_imports(name):
    statement = f"from ganaug import Registry\nassert Registry([{name!r}]).listings"
    assert heavy_imports_of(statement) == []


def test_importing_ganaug_leaves_random_numbers_and_warnings_alone():
    code = """
import random, warnings
state, filters = random.getstate(), list(warnings.filters)
import ganaug
from ganaug import Registry
assert random.getstate() == state
assert warnings.filters == filters
"""
    subprocess.run([sys.executable, "-c", code], check=True)
