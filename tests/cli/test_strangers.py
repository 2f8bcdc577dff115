"""A plugin that ganaug knows nothing of, installed beside it: every command takes it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from distributions import write_dist_info

from cli.scenes import write_images
from ganaug.scaffold import write_plugin

FEW = ("--images", 64, "--set", "width=8", "--precision", "32-true")


@pytest.fixture
def mygan(tmp_path, monkeypatch):
    """What ``ganaug plugins new mygan`` writes, installed."""
    source = write_plugin("mygan", tmp_path / "elsewhere") / "src"
    write_dist_info(source, "mygan", {"mygan": "ganaug_mygan"})
    monkeypatch.syspath_prepend(str(source))
    monkeypatch.delitem(sys.modules, "ganaug_mygan", raising=False)
    yield "mygan"
    sys.modules.pop("ganaug_mygan", None)


def test_it_is_listed_and_shown_as_its_own_distribution(ganaug, mygan):
    assert "ganaug-mygan 1.2.0" in ganaug("plugins", "list").out
    shown = ganaug("plugins", "show", "mygan").out
    assert "ganaug-mygan 1.2.0" in shown
    assert "width = 32" in shown


def test_it_fits_samples_and_is_evaluated(ganaug, mygan, photos):
    result = ganaug("fit", photos, "--generator", "mygan", *FEW, "--holdout", 0.4, "--out", "run")
    assert (result.code, result.err) == (0, "")
    assert 'generator = "mygan"' in Path("run", "run.toml").read_text()
    assert ganaug("sample", "run", "-n", 3, "--class", "rare", "--out", "rare").code == 0
    assert len(list(Path("rare").rglob("*.png"))) >= 3
    result = ganaug("evaluate", "run", "--data", photos, "--metric", "colour-stats")
    assert result.code == 0, result.err
    assert Path("run", "evaluation", "scores.json").is_file()


def test_it_is_benchmarked(ganaug, mygan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write_images(tmp_path / "cells" / name, 16)
    result = ganaug(
        *("benchmark", "cells", "--out", "out", "--generator", "mygan", "--set", "width=8"),
        *("--arm", "untreated", "--arm", "synthetic", "--folds", 2, "--repeats", 1),
        *("--steps", 2, "--images", 64, "--backend", "sequential", "--no-pictures"),
    )
    assert result.code == 0, result.err
    assert Path("out", "report.html").is_file()


def test_a_name_that_is_not_there_offers_it(ganaug, mygan):
    result = ganaug("fit", "digits", "--generator", "mygam", "--out", "run")
    assert result.code == 2
    assert "Did you mean 'mygan'?" in result.err
