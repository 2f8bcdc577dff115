"""What commands do about a run whose generator hands out its training images."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.scenes import TINY
from ganaug import fitting


@pytest.fixture
def memorised(ganaug, photos, monkeypatch):
    """What fitting the rare class printed, when two draws in three are training images."""
    original, known = fitting.copies_of, []

    def copies_of(parts):
        known.append(np.asarray(parts[0].images.pixels))
        return original(parts)

    def sample(self, class_, n, rng):
        rows = torch.randint(len(known[0]), (n,), generator=rng).numpy()
        copies = known[0][rows]
        noise = torch.randint(256, copies.shape, generator=rng, dtype=torch.uint8).numpy()
        is_copy = torch.rand(n, generator=rng).numpy() < 2 / 3
        return np.where(is_copy[:, None, None, None], copies, noise)

    monkeypatch.setattr(fitting, "copies_of", copies_of)
    monkeypatch.setattr("ganaug.model.ImageModel._sample", sample)
    result = ganaug("fit", photos, "--out", "run", "--class", "rare", *TINY)
    assert result.code == 0
    return result


def test_fit_says_so_and_the_run_and_its_card_keep_it(memorised):
    assert "Warning: run has memorised training images: " in memorised.err
    found = json.loads(Path("run/memorisation.json").read_text("utf-8"))
    assert found["drawn"]["rare"]["images"] == 256
    assert 150 < found["drawn"]["rare"]["flagged"] < 190
    assert found["holdout"]["images"] == 1
    card = Path("run/card.md").read_text("utf-8")
    assert "**Memorised**" in card
    assert f"| rare | 256 | {found['drawn']['rare']['flagged']} |" in card
    assert "does not prove" in card
    assert "memorisation.json" in Path("run/manifest.json").read_text("utf-8")


def test_augment_refuses_it_in_one_line(ganaug, photos, memorised):
    result = ganaug("augment", photos, "--run", "run", "--out", "new")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "of the generator's raw draws are near copies of training images" in result.err
    assert "of the held-out real images, 0.0% (0 of 1)" in result.err
    assert "--allow-memorised" in result.err
    assert not Path("new").exists()


def test_augment_drops_copies_and_says_how_many_when_it_is_allowed(ganaug, photos, memorised):
    given = ("augment", photos, "--run", "run", "--out", "new", "--allow-memorised")
    result = ganaug(*given)
    assert result.code == 0
    assert re.search(r"draws? dropped: near copies of training images \(\d+\)\.", result.out)
    kept = [np.asarray(Image.open(path)) for path in Path("new/rare").glob("synthetic*")]
    real = [np.asarray(Image.open(path)) for path in photos.glob("rare/*")]
    assert len(kept) == 6
    assert not any((one == other).all() for one in kept for other in real)


def test_sample_warns_in_one_line(ganaug, memorised):
    result = ganaug("sample", "run", "--out", "new", "-n", 2)
    assert result.code == 0
    assert result.err.startswith("Warning: run has memorised training images: ")
    assert result.err.count("\n") == 1


def test_an_honest_run_is_used_without_a_word(ganaug, photos, fitted):
    assert "No memorisation was found" in (fitted / "card.md").read_text("utf-8")
    result = ganaug("augment", photos, "--run", fitted, "--out", "new")
    assert (result.code, result.err) == (0, "")
    assert "dropped" not in result.out


def test_a_run_that_lost_what_the_audit_found_is_not_used(ganaug, photos, fitted):
    (fitted / "memorisation.json").unlink()
    result = ganaug("augment", photos, "--run", fitted, "--out", "new")
    assert result.code == 2
    assert "memorisation.json is damaged" in result.err
    (fitted / "manifest.json").unlink()
    assert "cannot be read" in ganaug("augment", photos, "--run", fitted, "--out", "new").err
