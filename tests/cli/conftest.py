"""A command line to call, and small image sets to call it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.scenes import TINY, write_images
from ganaug.cli import main


@dataclass(frozen=True)
class Result:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def ganaug(capsys):
    """Run a command in this process."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of class folders: 12 images of a common class, 5 of a rare one; the cwd above it."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos" / "common", 12)
    write_images(tmp_path / "photos" / "rare", 5)
    return Path("photos")


@pytest.fixture
def fitted(ganaug, photos):
    """A run of the rare class."""
    alone = ("--class", "rare", "--conditioning", "conditional")
    assert ganaug("fit", photos, "--out", "run", *alone, *TINY).code == 0
    return Path("run")
