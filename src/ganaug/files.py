"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganaug.errors import RunError

__all__ = ["append_line", "check_absent", "check_place", "new_folder", "write_bytes", "write_text"]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line that says what is safe."""
    try:
        yield
    except OSError as error:
        if isinstance(error, RunError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"The disk is full: {path} was not written, and what was there before is intact. "
                "Free some space and run the command again."
            ) from error
        raise RunError(f"Cannot write {path}: {error.strerror or error}.") from error


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file through a temporary one beside it, fsync and rename.

    Raises RunError when the disk is full or the place cannot be written; the old file stays.
    """
    path = Path(path)
    with _explained(path), _parents(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        work = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            work.chmod(0o666 & ~_umask())
            work.replace(path)
        except BaseException:  # Ctrl-C too: no half file stays
            work.unlink(missing_ok=True)
            raise


def write_text(path: str | Path, content: str) -> None:
    """Write a UTF-8 text file whole; see `write_bytes`."""
    write_bytes(path, content.encode("utf-8"))


def append_line(path: str | Path, line: str) -> None:
    """Append a line; a reader drops a torn last one. Raises RunError when it cannot."""
    path = Path(path)
    with _explained(path), path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def check_absent(path: Path) -> None:
    """Raise RunError when a new folder cannot be made at a path, or something is there."""
    check_place(path)
    if path.exists():
        raise RunError(
            f"{path} exists already; nothing was written. Choose another path (--out), or remove "
            "it."
        )


def check_place(path: Path) -> None:
    """Raise RunError unless files can be written at a path, its folders made where missing."""
    if path == Path():
        raise RunError("The output path is empty, or this very folder; name a new one.")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise RunError(f"Cannot write {path}: {above} is not a folder. Choose another path.")
    if not os.access(above, os.W_OK):
        raise RunError(f"Cannot write {path}: {above} is read-only. Choose another path.")


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` at the end, or vanishes on any error.

    Raises RunError when `path` exists already, or when it cannot be written.
    """
    path = Path(path)
    check_absent(path)
    with _explained(path), _parents(path):
        work = Path(tempfile.mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}."))
        try:
            yield work
            work.chmod(0o777 & ~_umask())
            work.rename(path)
        except BaseException:  # Ctrl-C too: no half folder stays
            shutil.rmtree(work, ignore_errors=True)
            raise


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above a path; those that were made go again when the block fails."""
    folder = path.absolute().parent
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:  # Ctrl-C too: no empty folder stays
        with suppress(OSError):  # somebody else has put something there
            for parent in made:
                parent.rmdir()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
