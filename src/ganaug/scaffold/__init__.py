"""A new plugin as a complete distribution, which passes its own tests as it is written."""

from __future__ import annotations

import builtins
import keyword
import re
from pathlib import Path

from ganaug import __version__
from ganaug.errors import ConfigError
from ganaug.files import check_place, new_folder

__all__ = ["write_plugin"]

#: Letters; folders and modules are named after it, and file systems have a limit.
_LONGEST_NAME = 60

_FILES = {
    "pyproject.toml": "pyproject.toml.jinja",
    "README.md": "README.md.jinja",
    "noxfile.py": "noxfile.py.jinja",
    "tests/test_conformance.py": "tests/test_conformance.py.jinja",
    "src/{package}/__init__.py": "src/package/__init__.py.jinja",
}


#: What the module imports and calls by these names.
_IMPORTED = {"Config", "Generator", "GeneratorPlugin", "Loss", "Phase", "ShapeError"}


def write_plugin(name: str, folder: Path) -> Path:
    """Write a generator plugin of that name into ``folder/ganaug-NAME``, and return that path.

    It has a pyproject with the entry point, one module, tests by the conformance kit, a nox
    session and a README. Raises ConfigError for a bad name, RunError when the folder is there.
    """
    from jinja2 import Environment, PackageLoader

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > _LONGEST_NAME:
        raise ConfigError(
            "A plugin's name begins with a lower-case letter and has lower-case letters, digits "
            f"and single hyphens, at most {_LONGEST_NAME} of them; got {name!r}."
        )
    path = folder / f"ganaug-{name}"
    check_place(path)
    templates = Environment(
        loader=PackageLoader("ganaug.scaffold", "plugin"),
        autoescape=False,  # what is written is no HTML, and the name is checked
        keep_trailing_newline=True,
    )
    words = {
        "name": name,
        "package": f"ganaug_{name.replace('-', '_')}",
        "class_name": _class_name(name),
        "ganaug_version": __version__,
    }
    with new_folder(path) as new:
        for target, template in _FILES.items():
            file = new / target.format(**words)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(templates.get_template(template).render(words), encoding="utf-8")
    return path


def _class_name(name: str) -> str:
    """Return a class's name that is none of Python's, nor of what the module imports."""
    found = "".join(word.capitalize() for word in name.split("-"))
    taken = keyword.iskeyword(found) or hasattr(builtins, found) or found in _IMPORTED
    return f"{found}GAN" if taken else found
