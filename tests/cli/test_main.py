"""The program as a whole: help, version, exit codes."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import ganaug as package
from ganaug import cli
from ganaug.cli import app
from ganaug.errors import DataError, TrainingFailedError

COMMANDS = [
    *(("fit",), ("sample",), ("augment",), ("data",), ("data", "inspect")),
    *(("plugins",), ("plugins", "list"), ("plugins", "show")),
]


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_help_imports_nothing_heavy():
    result = run_python(
        "import sys; from ganaug.cli import main; main(['--help']);"
        "heavy = {'torch', 'sklearn', 'PIL', 'lightning_fabric', 'imblearn', 'numpy', 'pydantic'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage: ganaug" in result.stdout


def test_the_module_is_the_program():
    command = [sys.executable, "-m", "ganaug.cli", "data", "inspect", "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "Error: There is nothing at nowhere. Check the path.\n"


def test_the_version(ganaug):
    assert ganaug("--version").out == f"ganaug {package.__version__}\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_has_an_example_and_fits_80_columns(ganaug, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    result = ganaug(*words, "--help")
    assert (result.code, result.err) == (0, "")
    assert f"\n ganaug {words[0]}" in result.out
    assert "Example" in result.out
    assert max(map(len, result.out.splitlines())) <= 80


@pytest.mark.parametrize("words", [(), ("data",), ("plugins",)])
def test_a_group_alone_shows_its_help(ganaug, words):
    result = ganaug(*words)
    assert result.code == 0
    assert "Usage: ganaug" in result.out


@pytest.fixture
def failing(monkeypatch, ganaug):
    """Make `data inspect` fail with an error and run it."""

    def run(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("ganaug.sources.open_images", fail)
        return ganaug("data", "inspect", "digits")

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("two\nlines"), 2, "Error: two lines\n"),
        (TrainingFailedError("gave up"), 3, "Error: gave up\n"),
        (KeyboardInterrupt(), 3, "Interrupted; nothing was written.\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(failing, error, code, line):
    result = failing(error)
    assert (result.code, result.err) == (code, line)


def test_a_bug_keeps_its_traceback(failing):
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_a_full_disk_under_stdout_is_one_line():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ganaug.cli", "plugins", "list"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: The disk is full")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_is_no_error(monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    command = [sys.executable, "-m", "ganaug.cli", "plugins", "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_own_warnings_are_lines_and_others_are_not_shown(ganaug, monkeypatch):
    def warn(*_, **__):
        warnings.warn("a library\nchats", FutureWarning, stacklevel=1)
        warnings.warn_explicit("mind\nthis", UserWarning, "model.py", 1, module="ganaug.model")
        raise DataError("end")

    monkeypatch.setattr("ganaug.sources.open_images", warn)
    assert ganaug("data", "inspect", "digits").err == "Warning: mind this\nError: end\n"


def test_every_command_is_registered():
    names = {command.callback.__name__ for command in app.registered_commands}
    assert {"fit", "sample", "augment"} <= names
    assert cli.__all__ == sorted(cli.__all__)
