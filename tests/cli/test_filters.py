from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import pytest

TINY = ("--set", "width=4", "--images", "32", "--size", "16")


def test_a_filter_is_recorded_applied_and_logged(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", "--filter", "discriminator", *TINY)
    assert result.code == 0, result.err
    recipe = tomllib.loads(Path("run/run.toml").read_text("utf-8"))["recipe"]
    assert recipe["filters"] == ["copies", "discriminator"]
    assert "filters/discriminator.safetensors" in Path("run/manifest.json").read_text("utf-8")
    assert "- discriminator: Drops images" in Path("run/card.md").read_text("utf-8")
    result = ganaug("sample", "run", "--out", "drawn", "-n", 20)
    assert result.code == 0
    log = json.loads(Path("drawn/filters.json").read_text("utf-8"))
    assert list(log["filters"]) == ["copies", "discriminator"]
    dropped = sum(each["dropped"]["discriminator"] for each in log["classes"].values())
    assert dropped > 0
    assert f"images that the discriminator scores low ({dropped})" in result.out
    with Path("drawn/manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(each["kept"] for each in log["classes"].values())


def test_a_classifier_of_a_handful_of_images_is_refused_before_anything_is_written(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", "--filter", "classifier", *TINY)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "training images; the filter 'classifier' needs at least 10" in result.err
    assert not Path("run").exists()


@pytest.mark.parametrize("given", ["copies", "classifier"])
def test_other_filters_cannot_be_had_when_a_run_goes_on(ganaug, photos, given):
    assert ganaug("fit", photos, "--out", "run", *TINY).code == 0
    result = ganaug("fit", photos, "--out", "run", "--resume", "--filter", given)
    assert result.code == (0 if given == "copies" else 2)
    if result.code:
        assert "--filter is copies in this run and cannot be changed by --resume" in result.err
