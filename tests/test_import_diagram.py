from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def diagram():
    spec = importlib.util.spec_from_file_location("draw_layers", DOCS / "draw_layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path):
    """A package of four: a module, a package of two files, and two that they import."""
    sources = {
        "__init__.py": "from ganaug.top import everything",
        "top.py": "import ganaug.middle\nfrom ganaug import Config\nfrom other.middle import x",
        "middle/__init__.py": "def f():\n    from ganaug.config import Config\n",
        "middle/inner.py": "from ganaug.middle import f\nfrom ganaug.errors import DataError",
        "config.py": "if TYPE_CHECKING:\n    from ganaug.top import something\n",
        "errors.py": "import json",
    }
    (tmp_path / "middle").mkdir()
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def svg_of(html):
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", html, re.S)[0])


def test_imports_within_functions_count_and_those_for_type_checkers_do_not(diagram, package):
    assert diagram.imports_between(package) == {
        "top": {"middle", "config"},  # a public name counts as the module that has it
        "middle": {"config", "errors"},
        "config": set(),
        "errors": set(),
    }


def test_each_layer_has_its_modules_and_an_arc_for_each_layer_that_it_imports(diagram):
    imports = {"top": {"a", "b", "low"}, "a": {"low"}, "b": {"a"}, "low": set()}
    html = diagram.render([["top"], ["a", "b"], ["low"]], imports)
    groups = svg_of(html).findall("g")
    names = [[text.text for text in group.iter("text")] for group in groups]
    assert names == [["top"], ["a", "b"], ["low"]]
    assert [len(list(group.iter("path"))) for group in groups] == [2, 1, 0]
    assert "top imports a, b, low" in html
    assert "5 imports of one module by another, 1 of them within a layer and none upwards" in html


def test_an_import_upwards_would_be_told(diagram):
    html = diagram.render([["top"], ["low"]], {"top": set(), "low": {"top"}})
    assert "1 upwards" in html


def test_names_stay_within_the_drawing(diagram):
    layer = [f"module_number_{k}" for k in range(30)]
    drawing = svg_of(diagram.render([layer], {name: set() for name in layer}))
    _, _, width, height = map(float, drawing.get("viewBox").split())
    chips = [rect for rect in drawing.iter("rect") if rect.get("class") == "chip"]
    assert len(chips) == 30
    assert max(float(r.get("x")) + float(r.get("width")) for r in chips) <= width
    assert max(float(r.get("y")) + float(r.get("height")) for r in chips) <= height


def test_every_module_of_ganaug_is_drawn_and_no_import_points_upwards(diagram):
    layers, imports = diagram.read_layers(), diagram.imports_between(diagram._PACKAGE)
    assert sorted(name for layer in layers for name in layer) == sorted(imports)
    assert "none upwards" in diagram.render(layers, imports)
    assert {"registry", "fitting"} <= imports["augmenter"]
