"""``ganaug data inspect``."""

from __future__ import annotations

import json

import pytest
from PIL import Image


def test_what_a_set_holds_is_shown(ganaug, photos):
    result = ganaug("data", "inspect", photos)
    assert (result.code, result.err) == (0, "")
    assert "photos: 17 images in 2 classes" in result.out
    lines = [line.split() for line in result.out.splitlines()]
    assert ["common", "12", "70.6%", "█" * 24] in lines
    assert ["rare", "5", "29.4%", "█" * 10] in lines
    assert "2.4 : 1" in result.out
    assert "16x16 (17)" in result.out
    assert "1 channel of uint8 (17)" in result.out
    assert "Note" not in result.out


def test_what_stands_in_the_way_of_a_fit_is_noted(ganaug, photos):
    (photos / "single").mkdir()
    Image.new("RGB", (20, 24)).save(photos / "single" / "0.png")
    out = ganaug("data", "inspect", photos).out
    assert "20x24 (1)" in out
    assert "give ganaug fit a --size" in out
    assert "Channels or bit depths differ" in out
    assert "Too few images to learn from: single" in out


def test_a_program_reads_json(ganaug, photos):
    found = json.loads(ganaug("data", "inspect", photos, "--json").out)
    assert found["data"] == "photos"
    assert found["counts"] == {"common": 12, "rare": 5}
    assert found["sizes"] == [{"height": 16, "width": 16, "images": 17}]


@pytest.mark.shared_data
def test_a_real_set_with_its_own_splits(ganaug, shared_data):
    result = ganaug("data", "inspect", shared_data / "ci_fixtures" / "pneumonia_28_ci.npz")
    assert result.code == 0
    assert "training" in result.out
    assert "holdout" in result.out
