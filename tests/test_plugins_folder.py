"""The distributions in plugins/ stand where strangers' do: on the public names of ganaug alone."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

import ganaug
from ganaug.scaffold import write_plugin

FOLDER = Path(__file__).parents[1] / "plugins"
PLUGINS = [path.parent for path in sorted(FOLDER.glob("*/pyproject.toml"))]
PUBLIC = ("ganaug", "ganaug.errors", "ganaug.testing")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="plugins/ is not part of the sdist")


def private_imports(code):
    """What code imports of ganaug that is not public, as dotted names."""
    private = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            private += [name for name in names if _is_ganaug(name) and name not in PUBLIC]
        elif isinstance(node, ast.ImportFrom) and not node.level and _is_ganaug(node.module):
            home = importlib.import_module(node.module)
            public = {*home.__all__, "__version__"} if node.module in PUBLIC else set()
            names = [alias.name for alias in node.names if alias.name not in public]
            private += [
                dotted for name in names if (dotted := f"{node.module}.{name}") not in PUBLIC
            ]
    return private


def _is_ganaug(module):
    return module == "ganaug" or module.startswith("ganaug.")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from ganaug import Config, Loss", []),
        ("import ganaug.testing, torch", []),
        ("from ganaug.errors import ShapeError", []),
        ("from ganaug import errors, losses", ["ganaug.losses"]),
        ("import ganaug.losses", ["ganaug.losses"]),
        ("def f():\n    from ganaug.builtin.dcgan.network import DCGAN",
         ["ganaug.builtin.dcgan.network.DCGAN"]),
        ("from ganaug.testing.images import example_images",
         ["ganaug.testing.images.example_images"]),
        ("from ganaug_mine import losses", []),
        ("from ganaug import *", ["ganaug.*"]),
    ],
)  # fmt: skip
def test_an_import_of_what_is_not_public_is_found(code, found):
    assert private_imports(code) == found


def test_there_are_the_plugins_that_the_documentation_names():
    assert {path.name for path in PLUGINS} >= {
        "ganaug-diffusion",
        "ganaug-medmnist",
        "ganaug-r3gan",
        "ganaug-tinygan",
    }


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_public_names_only(path):
    files = sorted(path.rglob("*.py"))
    private = {str(file): private_imports(file.read_text("utf-8")) for file in files}
    assert {file: names for file, names in private.items() if names} == {}
    assert any("ganaug" in file.read_text("utf-8") for file in files)


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_is_a_complete_distribution(path):
    project = tomllib.loads((path / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == path.name
    assert f"ganaug>={ganaug.__version__}" in project["dependencies"]
    (module,) = project["entry-points"]["ganaug"].values()
    assert (path / "src" / module / "__init__.py").is_file()
    assert "parametrize_checks" in (path / "tests" / "test_conformance.py").read_text("utf-8")
    assert (path / "README.md").read_text("utf-8").startswith(f"# {path.name}\n")


def test_tinygan_is_what_plugins_new_writes(tmp_path):
    written = write_plugin("tinygan", tmp_path)
    kept = FOLDER / "ganaug-tinygan"
    files = {
        str(path.relative_to(written)): path for path in written.rglob("*.*") if path.is_file()
    }
    differing = [
        name for name, file in files.items() if (kept / name).read_text() != file.read_text()
    ]
    assert differing == []
