"""Sessions that check ganaug: ``nox`` runs all of them, ``nox -s lint`` one.

Environments come from uv where it is there (quick, as it links what it has), from virtualenv
where it is not. Versions are those of constraints.txt, except in `minimums`.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
DEFAULT_PYTHON = "3.12"
ROOT = Path(__file__).parent
CONSTRAINTS = ["--constraint", str(ROOT / "constraints.txt")]
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")


def _install(session: nox.Session, *groups: str) -> None:
    """Install ganaug in place, and dependency groups."""
    packages = nox.project.dependency_groups(GROUPS, *groups)
    session.install(*CONSTRAINTS, "--editable", str(ROOT), *packages)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after ``--`` go to pytest."""
    _install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[0], venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    packages = nox.project.dependency_groups(GROUPS, "test")
    session.install("--resolution", "lowest-direct", "--editable", str(ROOT), *packages)
    session.run("pytest", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def lint(session: nox.Session) -> None:
    """Check style, format and the direction of imports."""
    session.install(*CONSTRAINTS, *nox.project.dependency_groups(GROUPS, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": str(ROOT / "src")})


@nox.session(python=DEFAULT_PYTHON)
def types(session: nox.Session) -> None:
    """Check type hints."""
    _install(session, "types")
    session.run("mypy")


@nox.session(python=DEFAULT_PYTHON)
def docs(session: nox.Session) -> None:
    """Build the documentation with warnings as errors, and execute its examples."""
    _install(session, "docs", "test")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "docs/_build/html")
    session.run("pytest", "tests/test_docs.py")


@nox.session(python=DEFAULT_PYTHON)
def plugins(session: nox.Session) -> None:
    """Install every distribution in plugins/ beside ganaug and run its tests."""
    folders = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
    if not folders:
        session.log("There are no plugins in plugins/ yet.")
        return
    _install(session, "test")
    for folder in folders:
        session.install(*CONSTRAINTS, "--editable", str(folder))
    for folder in folders:
        session.run("pytest", "--rootdir", str(folder), str(folder / "tests"))
