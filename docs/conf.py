"""How Sphinx builds these pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ganaug

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from fingerprint import fingerprint  # noqa: E402  # found by the line above

project = "ganaug"
author = "The ganaug authors"
project_copyright = "2026, the ganaug authors"
release = version = ganaug.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
smartquotes = False  # it makes one dash of the two before an option
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# The notebook runs again when it or ganaug has changed; an error in it is an error of the build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "notebooks" / fingerprint()[:16])
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell

html_theme = "furo"
html_title = f"ganaug {version}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}

_FIELD = re.compile(r"[A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)*: ")


def _mark_up(text: str) -> str:
    """Make plain docstring text safe for reStructuredText: `name` is code, * is a star."""
    parts = re.split(r"(``.+?``|`.+?`)", text)
    return "".join(
        f"``{part.strip('`')}``" if part.startswith("`") else part.replace("*", "\\*")
        for part in parts
    )


def _docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn lines such as ``size: pixels a side`` into a list; leave literal blocks alone."""
    marked: list[str] = []
    literal = in_item = False
    for line in lines:
        if literal and line and not line.startswith(" "):
            literal = False
        if literal:
            marked.append(line)
            continue
        literal = line.endswith("::")
        field = _FIELD.match(line)
        if field:
            names = field.group().removesuffix(": ")
            in_item = True
            marked += ["", f"- **{names}**: {_mark_up(line[field.end() :])}"]
        else:
            in_item = bool(line) and (in_item or line.startswith(" "))
            marked.append(("  " if in_item else "") + _mark_up(line.strip()))
    lines[:] = [*marked, ""]


def _draw(app: Any) -> None:
    """Make what pages include: trainings of seconds for the gallery, and the diagram of imports.

    GALLERY_IMAGES: that each training of the gallery sees, where a build is only to be checked.
    """
    images = os.environ.get("GALLERY_IMAGES")
    few = ["--images", images] if images else []
    for script, *arguments in (
        ("draw_layers.py", DOCS / "_build" / "layers.html"),
        ("make_gallery.py", DOCS / "_build" / "gallery", *few),
    ):
        subprocess.run([sys.executable, DOCS / script, *arguments], check=True)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", _draw)
    app.connect("autodoc-process-docstring", _docstring)
