import errno
import fcntl
import os
import subprocess
import sys

import pytest

from ganaug.benchmark.locks import claim, hold
from ganaug.errors import RunError

HOLDER = """
import sys
from pathlib import Path
from ganaug.benchmark.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a" / "lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def is_free(path):
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_lock_is_held_until_its_holder_is_killed(holder, tmp_path):
    path = tmp_path / "a" / "lock"
    assert not is_free(path)
    assert path.read_text() == f"{holder.pid}\n"
    holder.kill()
    with hold(path):  # waits for the kill
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_claim_does_not_wait_and_ends_with_its_descriptor(tmp_path):
    descriptor = claim(tmp_path)
    with pytest.raises(BlockingIOError):
        claim(tmp_path)
    os.close(descriptor)
    os.close(claim(tmp_path))


@pytest.mark.parametrize("lock", [claim, lambda folder: hold(folder / "lock").__enter__()])
def test_a_file_system_without_locks_is_one_clear_line(tmp_path, monkeypatch, lock):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"Cannot lock .*: No locks available\."):
        lock(tmp_path)


def test_a_lock_is_held_in_the_block_and_no_longer(tmp_path):
    with hold(tmp_path / "lock"):
        assert not is_free(tmp_path / "lock")
    assert is_free(tmp_path / "lock")


def test_an_error_in_the_block_lets_go_and_stays_as_it_is(tmp_path):
    with pytest.raises(OSError, match="mine"), hold(tmp_path / "lock"):
        raise OSError("mine")
    assert is_free(tmp_path / "lock")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot lock"), hold(tmp_path / "file" / "lock"):
        pass
