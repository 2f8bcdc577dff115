"""manifest.json: the SHA-256 of every file of a folder, by which damage is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ganaug.errors import RunError
from ganaug.files import write_text

__all__ = ["check_intact", "read_manifest", "reseal", "seal", "unseal"]

_MANIFEST = "manifest.json"


def seal(folder: Path) -> None:
    """Write the manifest: the SHA-256 of every file by its path below the folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != _MANIFEST)
    _write(folder, {path.relative_to(folder).as_posix(): _sha256(path) for path in files})


def reseal(folder: Path, files: Sequence[Path]) -> None:
    """Bring the manifest up to date with files that were added, changed or removed.

    What it says of all others stays, so that a file that was damaged before is not taken for
    whole now; a folder that has none, being unfinished, stays without.
    """
    known = read_manifest(folder)
    manifest = dict(known)
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.exists():
            manifest[name] = _sha256(path)
        else:
            manifest.pop(name, None)
    if known and manifest != known:
        _write(folder, manifest)


def unseal(folder: Path) -> None:
    """Remove the manifest while the files change."""
    (folder / _MANIFEST).unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 by file; none where there is no manifest. Raises RunError for damage."""
    path = folder / _MANIFEST
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def check_intact(folder: Path, path: Path, manifest: dict[str, str]) -> None:
    """Raise RunError when a file is not the one that the folder's manifest lists, if it does."""
    expected = manifest.get(path.relative_to(folder).as_posix())
    if expected is not None and (not path.exists() or expected != _sha256(path)):
        raise RunError(
            f"{path} is damaged: it is not the file that {_MANIFEST} lists. Restore it "
            "from a copy, or fit the run again."
        )


def _write(folder: Path, digests: dict[str, str]) -> None:
    text = json.dumps(dict(sorted(digests.items())), indent=2)
    write_text(folder / _MANIFEST, f"{text}\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
