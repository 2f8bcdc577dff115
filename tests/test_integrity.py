from __future__ import annotations

import hashlib
import json

import pytest

from ganaug.errors import RunError
from ganaug.integrity import check_intact, read_manifest, reseal, seal, unseal


@pytest.fixture
def folder(tmp_path):
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    seal(tmp_path)
    return tmp_path


def test_a_manifest_has_the_hash_of_every_file_and_none_of_itself(folder):
    seal(folder)
    listed = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.txt", "b.txt")}
    assert read_manifest(folder) == {
        **listed,
        "sub/c.txt": hashlib.sha256(b"sub/c.txt").hexdigest(),
    }


def test_a_file_that_was_changed_or_removed_is_damage_and_one_that_is_not_listed_is_none(folder):
    manifest = read_manifest(folder)
    check_intact(folder, folder / "sub/c.txt", manifest)
    (folder / "a.txt").write_text("other")
    (folder / "b.txt").unlink()
    for name in ("a.txt", "b.txt"):
        with pytest.raises(RunError, match=f"{name} is damaged"):
            check_intact(folder, folder / name, manifest)
    (folder / "new.txt").write_text("new")
    check_intact(folder, folder / "new.txt", manifest)


def test_only_files_that_are_named_are_sealed_again(folder):
    for name in ("a.txt", "sub/c.txt", "d.txt"):
        (folder / name).write_text("other")
    (folder / "b.txt").unlink()
    reseal(folder, [folder / name for name in ("a.txt", "b.txt", "d.txt")])
    manifest = read_manifest(folder)
    assert set(manifest) == {"a.txt", "sub/c.txt", "d.txt"}
    for name in ("a.txt", "d.txt"):
        check_intact(folder, folder / name, manifest)
    with pytest.raises(RunError, match="c.txt is damaged"):
        check_intact(folder, folder / "sub/c.txt", manifest)


def test_what_has_no_manifest_stays_without(folder):
    unseal(folder)
    unseal(folder)
    reseal(folder, [folder / "a.txt"])
    assert read_manifest(folder) == {}
    assert not (folder / "manifest.json").exists()


@pytest.mark.parametrize("content", ["{", json.dumps([1]), "\xff"])
def test_a_manifest_that_cannot_be_read_is_damage(folder, content):
    (folder / "manifest.json").write_text(content, "latin-1")
    with pytest.raises(RunError, match=r"manifest.json is damaged"):
        read_manifest(folder)
