"""New plugins: complete, short, and good as they are written."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from ganaug.errors import ConfigError, RunError
from ganaug.scaffold import write_plugin


def test_a_new_plugin_is_a_complete_distribution(tmp_path):
    path = write_plugin("my-gan", tmp_path)
    assert path == tmp_path / "ganaug-my-gan"
    found = {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}
    assert found == {
        "README.md",
        "noxfile.py",
        "pyproject.toml",
        "src/ganaug_my_gan/__init__.py",
        "tests/test_conformance.py",
    }
    project = tomllib.loads((path / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["ganaug"] == {"my-gan": "ganaug_my_gan"}


def test_its_module_is_shorter_than_sixty_lines(tmp_path):
    module = write_plugin("mygan", tmp_path) / "src" / "ganaug_mygan" / "__init__.py"
    assert len(module.read_text().splitlines()) < 60


def test_it_passes_its_own_tests_as_it_is_written(tmp_path, monkeypatch):
    path = write_plugin("mygan", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(path / "src"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "13 passed" in done.stdout


@pytest.mark.parametrize("name", ["MyGAN", "1gan", "my_gan", "my--gan", "-x", "../x", ""])
def test_a_bad_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="A plugin's name begins with a lower-case letter"):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "ganaug-mygan").mkdir()
    with pytest.raises(RunError, match="ganaug-mygan exists already"):
        write_plugin("mygan", tmp_path)
