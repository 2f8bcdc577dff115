from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def gallery(monkeypatch, tmp_path):
    """The script, with shared image sets in a folder that is empty."""
    monkeypatch.syspath_prepend(DOCS)
    monkeypatch.setenv("GANAUG_SHARED_DATA", str(tmp_path / "shared"))
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_gallery", module)  # for its dataclasses
    spec.loader.exec_module(module)
    return module


def write_lesions(folder):
    """A set of noise under the names of the shared one: 12 images of each of four classes."""
    path = folder / "shared" / "ham10000_28" / "ham10000_28.npz"
    path.parent.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 28, 28, 3), dtype=np.uint8)
    names = ["bcc", "df", "nv", "vasc"]
    np.savez(path, images=pixels, labels=np.repeat(range(4), 12), class_names=names)


def only(gallery, monkeypatch, *names, **changes):
    chosen = [replace(p, **changes) for p in gallery.PICTURES if p.name in names]
    monkeypatch.setattr(gallery, "PICTURES", chosen)


def test_every_generator_has_a_picture_and_its_page_says_how_it_was_made(gallery, tmp_path):
    drawn = gallery.make(tmp_path / "out", total_images=32)
    assert drawn == ["digits-dcgan", "digits-aegan", "digits-pggan"]
    for name in drawn:
        generator = name.removeprefix("digits-")
        text = (tmp_path / "out" / f"{name}.md").read_text("utf-8")
        assert f"\n`{generator}` with " in text
        assert "400 images (100 of each class) until it had seen 32, repeats included" in text
        assert "of 32 images drawn" in text
        for theme in ("light", "dark"):
            assert f"/_build/gallery/{name}-{theme}.png\n:class: only-{theme}\n" in text
            with Image.open(tmp_path / "out" / f"{name}-{theme}.png") as sheet:
                assert f":width: {sheet.width // 2}px" in text


def test_a_picture_shows_real_images_above_synthetic_ones_above_the_nearest(
    gallery, tmp_path, monkeypatch
):
    only(gallery, monkeypatch, "digits-dcgan", columns=1, shown=3)
    [picture] = gallery.PICTURES
    images = gallery._images(picture)
    real = np.asarray(images.pixels)[images.labels == 0]
    blank = gallery.Trained(
        synthetic=np.concatenate([real[5:8], np.full((9, 1, 16, 16), 7, np.uint8)]),
        classes=np.repeat(["0", "3", "8", "9"], 3),
        seconds=1.0,
        drawn=12,
        dropped=0,
        warnings=("it copies.",),
    )
    monkeypatch.setattr(gallery, "_train", lambda *_: blank)
    text = gallery._draw(picture, 32, tmp_path)
    assert "ganaug warned: it copies." in text
    left, step = gallery._LEFT, 2 * picture.tile + gallery._GAP
    sheet = np.asarray(Image.open(tmp_path / "digits-dcgan-light.png"))
    for row, expected in enumerate((real[:3], real[5:8], real[5:8])):
        for column, image in enumerate(expected):
            top, x = gallery._HEAD + row * step, left + column * step
            tile = sheet[top : top + 64 : 4, x : x + 64 : 4, 0]
            assert np.array_equal(tile, image[0]), (row, column)


def test_pictures_of_an_unchanged_ganaug_are_kept(gallery, tmp_path, monkeypatch):
    only(gallery, monkeypatch, "digits-aegan")
    assert gallery.make(tmp_path, total_images=32) == ["digits-aegan"]
    assert gallery.make(tmp_path, total_images=32) == []
    monkeypatch.setattr(gallery, "fingerprint", lambda *parts: "another ganaug")
    assert gallery.make(tmp_path, total_images=32) == ["digits-aegan"]


def test_without_the_shared_sets_the_page_says_what_was_left_out(gallery, tmp_path, monkeypatch):
    only(gallery, monkeypatch, "lesions-dcgan")
    assert gallery.make(tmp_path, total_images=32) == []
    assert "Left out" in (tmp_path / "lesions-dcgan.md").read_text("utf-8")


def test_a_shared_set_that_comes_later_replaces_the_note(gallery, tmp_path, monkeypatch):
    only(gallery, monkeypatch, "lesions-dcgan", shown=2)
    gallery.make(tmp_path, total_images=32)
    write_lesions(tmp_path)
    assert gallery.make(tmp_path, total_images=32) == ["lesions-dcgan"]
    text = (tmp_path / "lesions-dcgan.md").read_text("utf-8")
    assert "Left out" not in text
    assert "36 images (12 of each class)" in text


@pytest.mark.shared_data
def test_the_shared_set_has_the_classes_that_are_shown(gallery, shared_data, monkeypatch):
    monkeypatch.setenv("GANAUG_SHARED_DATA", str(shared_data))
    [picture] = [each for each in gallery.PICTURES if each.shared_set]
    assert gallery._images(picture).counts == {"bcc": 264, "df": 60, "vasc": 80}


def test_the_page_includes_every_picture(gallery):
    page = (DOCS / "gallery.md").read_text("utf-8")
    for picture in gallery.PICTURES:
        assert f":::{{include}} _build/gallery/{picture.name}.md\n:::" in page


def test_a_fingerprint_follows_from_every_part_and_from_the_sources(gallery, tmp_path, monkeypatch):
    import fingerprint as module

    monkeypatch.setattr(module, "_SOURCES", tmp_path)
    (tmp_path / "a.py").write_text("one = 1")
    first = module.fingerprint(b"x", b"y")
    assert first == module.fingerprint(b"x", b"y")
    assert first != module.fingerprint(b"xy")
    (tmp_path / "a.py").write_text("one = 2")
    assert first != module.fingerprint(b"x", b"y")
