from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ganaug import files
from ganaug.errors import RunError


@pytest.fixture
def full_disk(monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    files.write_text(path, "one")
    files.write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_full_disk_keeps_the_old_file_and_leaves_no_half(tmp_path, full_disk):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RunError, match="The disk is full: .*file.txt was not written") as caught:
        files.write_text(path, "new")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write"):
        files.write_text(tmp_path / "file" / "below.txt", "x")


def test_a_place_that_cannot_hold_a_folder_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file is not a folder"):
        files.check_absent(tmp_path / "file" / "deep" / "out")
    with pytest.raises(RunError, match="output path is empty"):
        files.check_absent(Path())
    files.check_absent(tmp_path / "new" / "deep")


def test_a_new_folder_appears_at_the_end_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "out"
    with files.new_folder(out) as folder:
        (folder / "a.txt").write_text("a")
        assert not out.exists()
    assert (out / "a.txt").read_text() == "a"
    with pytest.raises(RunError, match="exists already"), files.new_folder(out):
        pass
    with pytest.raises(KeyError), files.new_folder(tmp_path / "other"):
        raise KeyError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep"]
