"""New plugins: complete, short, and good as they are written."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib

import pytest
import torch

from ganaug import Batch, ImageSpec
from ganaug.errors import ConfigError, RunError
from ganaug.scaffold import write_plugin
from ganaug.testing.generators import CHECKS


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
    assert f"{len(CHECKS)} passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("mygan", "Mygan"),
        ("my-gan", "MyGan"),
        ("none", "NoneGAN"),
        ("true", "TrueGAN"),
        ("exception", "ExceptionGAN"),
        ("loss", "LossGAN"),
        ("shape-error", "ShapeErrorGAN"),
        ("config", "ConfigGAN"),
        ("generator-plugin", "GeneratorPluginGAN"),
    ],
)
def test_its_class_has_a_name_that_nothing_else_has(tmp_path, monkeypatch, name, class_name):
    package = f"ganaug_{name.replace('-', '_')}"
    monkeypatch.syspath_prepend(write_plugin(name, tmp_path) / "src")
    [record] = importlib.import_module(package).ganaug_generators()
    assert (record.name, record.build.__name__) == (name, class_name)
    assert record.config.__name__ == f"{class_name}Config"
    spec = ImageSpec(channels=1, height=8, width=8, class_names=("a", "b"))
    generator = record.build(record.config(width=8), spec)
    labels = torch.tensor([0, 1, 1])
    images = generator.sample(labels, rng=torch.Generator())
    assert generator.score(images, labels).shape == (3,)
    (_, phase) = generator.phases()
    assert phase.loss(Batch(images, labels), torch.Generator()).terms["adversarial"].ndim == 0


@pytest.mark.parametrize("name", ["MyGAN", "1gan", "my_gan", "my--gan", "-x", "../x", ""])
def test_a_bad_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="A plugin's name begins with a lower-case letter"):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "ganaug-mygan").mkdir()
    with pytest.raises(RunError, match="ganaug-mygan exists already"):
        write_plugin("mygan", tmp_path)
