"""Locks between the processes of a benchmark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ganaug.errors import RunError

__all__ = ["claim", "hold"]


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file in the block; wait while another process or thread has it.

    The operating system lets go of the lock when its holder ends, however it ends, so that no
    lock is ever stale. The file stays; what it holds is the number of the last process to lock it.
    Raises RunError where the file cannot be written or its file system has no locks.
    """
    with _lock(path):
        yield


def claim(folder: Path) -> int:
    """Lock a folder without waiting; return its file descriptor, which holds the lock until closed.

    Raises BlockingIOError while another process has the lock, RunError where its file system has
    no locks.
    """
    import fcntl

    with _explained(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def _lock(path: Path) -> TextIO:
    import fcntl

    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
        except OSError:
            stream.close()
            raise
    return stream


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the system refuses, but a lock that another process has, into one line."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise RunError(f"Cannot lock {path}: {error.strerror or error}.") from error
