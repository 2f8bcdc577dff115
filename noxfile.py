"""Sessions that check ganaug: ``nox`` runs all of them, ``nox -s lint`` one.

Environments come from uv where it is there (quick, as it links what it has), from virtualenv
where it is not. Versions are those of constraints.txt, except in `minimums`.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
DEFAULT_PYTHON = "3.12"
ROOT = Path(__file__).parent
CONSTRAINTS = ["--constraint", str(ROOT / "constraints.txt")]
NEW_PLUGIN = "ganaug-mygan"  # written by `ganaug plugins new` in a session
PLUGINS = [*sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")), NEW_PLUGIN]
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
    """Build the documentation with warnings as errors, and execute its examples.

    ``-- check`` leaves the examples and the notebook to the tests, of which they are a part, and
    trains the generators of the gallery for a moment only.
    """
    _install(session, "docs", "test")
    check = session.posargs == ["check"]
    build = ["sphinx-build", "-W", "--keep-going", "docs", "docs/_build/html"]
    if check:
        build += ["-D", "nb_execution_mode=off"]
    session.run(*build, env={"GALLERY_IMAGES": "64"} if check else {})
    if not check:
        session.run("pytest", "-n", "auto", "tests/test_docs.py")


@nox.session(python=DEFAULT_PYTHON)
@nox.parametrize("plugin", PLUGINS)
def plugins(session: nox.Session, plugin: str) -> None:
    """Install the wheels of ganaug and of one plugin into an empty environment and run its tests.

    Each of plugins/ in an environment of its own, so that what it needs must be what it asks for;
    and `mygan`, which ``ganaug plugins new`` writes there, and which every command then takes.
    """
    place = Path(session.create_tmp()).resolve()
    shutil.rmtree(place)
    place.mkdir()
    session.install(*CONSTRAINTS, _wheel(session, ROOT, place))
    session.chdir(place)  # nothing is imported from the checkout
    folder = ROOT / "plugins" / plugin
    if plugin == NEW_PLUGIN:
        folder = place / plugin
        session.run("ganaug", "plugins", "new", "mygan")
    project = nox.project.load_toml(folder / "pyproject.toml")
    test = nox.project.dependency_groups(project, "test")
    session.install(*CONSTRAINTS, _wheel(session, folder, place), *test)
    if plugin == NEW_PLUGIN:
        _run_own_nox(session, folder, place)
        _use_mygan(session)
    else:
        pytest = ["pytest", "-p", "no:cacheprovider", "--rootdir", str(folder)]
        session.run(*pytest, str(folder / "tests"))
    for name in project["project"]["entry-points"]["ganaug"]:
        session.run("ganaug", "plugins", "show", name)


def _wheel(session: nox.Session, folder: Path, place: Path) -> str:
    """Build the wheel of a distribution in a place and return where it is."""
    before = set(place.glob("*.whl"))
    if session.venv_backend == "uv":
        session.run("uv", "build", "--wheel", "--out-dir", str(place), str(folder))
    else:
        build = ["python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir"]
        session.run(*build, str(place), str(folder))
    (wheel,) = set(place.glob("*.whl")) - before
    return str(wheel)


def _run_own_nox(session: nox.Session, folder: Path, place: Path) -> None:
    """Run the sessions that a plugin came with, on the wheel of ganaug that is in a place."""
    tool = "UV" if session.venv_backend == "uv" else "PIP"
    session.run(
        *(sys.executable, "-m", "nox", "--noxfile", str(folder / "noxfile.py")),
        *("--envdir", str(place / "nox"), "--default-venv-backend", session.venv_backend),
        env={f"{tool}_FIND_LINKS": str(place), f"{tool}_CONSTRAINT": CONSTRAINTS[1]},
        external=True,
    )


def _use_mygan(session: nox.Session) -> None:
    """Check, train, sample, evaluate and benchmark a plugin that ganaug knows nothing of."""
    ganaug = partial(session.run, "ganaug")
    ganaug("plugins", "check", "mygan", "--set", "width=8")
    ganaug("fit", "digits", "--generator", "mygan", "--images", "128", "--out", "out/mygan")
    ganaug("sample", "out/mygan", "-n", "8", "--out", "out/samples")
    ganaug("evaluate", "out/mygan", "--data", "digits", "--metric", "kid")
    small = ["--folds", "2", "--repeats", "1", "--steps", "5", "--images", "64"]
    arms = ["--arm", "untreated", "--arm", "synthetic", "--generator", "mygan"]
    ganaug("benchmark", "digits", "--out", "out/benchmark", *arms, *small)
