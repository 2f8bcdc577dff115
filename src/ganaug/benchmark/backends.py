"""Where the cells of a benchmark are computed: processes here, this process, a Dask cluster."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ganaug.errors import ConfigError, nearest

__all__ = ["BACKENDS", "THREADS", "Backend", "open_backend"]

#: Threads of a cell. Sums of floating-point numbers depend on it, so it is the same for all: what
#: a cell gives does not follow from how many others ran beside it.
THREADS = 1

#: Where cells are computed: in processes here, in this process, or on a Dask cluster.
BACKENDS = ("loky", "sequential", "dask")

#: Seconds after which a worker notices that nobody waits for it any more.
_ORPHANED = 0.5

#: Seconds after which a worker that has nothing more to do ends.
_IDLE = 30.0

#: Seconds to wait for a Dask scheduler and its first worker.
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where cells are computed.

    name: one of `BACKENDS`. jobs: cells at a time. address: of a Dask scheduler.
    """

    name: str
    jobs: int
    address: str = ""

    def __str__(self) -> str:
        """Say it in words."""
        where = {"dask": f" on the Dask cluster {self.address}"}.get(self.name, "")
        at_once = f"{self.jobs} cells at a time" if self.jobs > 1 else "one cell at a time"
        return f"{at_once}{where}, {THREADS} thread each"

    @contextmanager
    def opened(self, jobs: int) -> Iterator[dict[str, Any]]:
        """Yield the arguments of `joblib.parallel_config` for some cells at a time."""
        if self.name == "dask":
            with _dask_client(self.address) as client:
                yield {"backend": "dask", "client": client}
        elif jobs == 1:
            yield {"backend": "sequential"}
        else:
            yield {
                "backend": "loky",
                "inner_max_num_threads": THREADS,  # for libraries that read it when imported
                "idle_worker_timeout": _IDLE,
                "initializer": _start_worker,
                "initargs": (os.getpid(),),
            }


def open_backend(text: str = "loky", jobs: int | None = None) -> Backend:
    """Return the backend of a text: ``loky``, ``sequential`` or ``dask:ADDRESS``.

    jobs: processes of loky; as many as there are cores unless given, and with more than that a
    warning. A Dask cluster takes as many cells as it has workers.
    Raises ConfigError for anything else, when Dask is not installed, or when no scheduler of
    single-threaded workers answers at the address.
    """
    name, _, address = text.partition(":")
    if name not in BACKENDS or (address and name != "dask"):
        raise ConfigError(
            f"No backend is named {text!r}.{nearest(name, BACKENDS)} Choose from loky (processes "
            "on this machine), sequential (one cell at a time) or dask:ADDRESS (a Dask cluster)."
        )
    if name == "dask" and jobs is not None:
        raise ConfigError("A Dask cluster takes as many cells as it has workers; leave --jobs out.")
    if name == "sequential" and jobs not in (None, 1):
        raise ConfigError(f"Backend sequential computes one cell at a time; got --jobs {jobs}.")
    if name == "dask":
        return Backend(name=name, jobs=_dask_workers(address), address=address)
    return Backend(name=name, jobs=1 if name == "sequential" else _local_jobs(jobs))


def _local_jobs(jobs: int | None) -> int:
    from joblib import cpu_count

    cores = max(int(cpu_count()) // THREADS, 1)
    if jobs is None:
        return cores
    if jobs < 1:
        raise ConfigError(f"--jobs is how many cells to compute at a time, 1 or more; got {jobs}.")
    if jobs > cores:
        warnings.warn(
            f"{jobs} cells at a time on {cores} core{'s'[: cores > 1]} get in each other's way.",
            stacklevel=3,
        )
    return jobs


def _dask_workers(address: str) -> int:
    """Return how many workers a cluster has."""
    if not address:
        raise ConfigError(
            "Backend dask needs the address of a scheduler, as dask:ADDRESS, such as "
            "dask:tcp://192.168.0.1:8786."
        )
    if importlib.util.find_spec("distributed") is None:
        raise ConfigError(
            "Backend dask needs the package distributed, which is not installed. Install it with: "
            "pip install 'ganaug[dask]'"
        )
    with _dask_client(address) as client:
        threads = client.nthreads()
    if max(threads.values()) > 1:
        raise ConfigError(
            f"The workers of the Dask cluster {address} have up to {max(threads.values())} "
            "threads each, which cells would share. Start them with: dask worker --nthreads 1 "
            f"--nworkers N {address}"
        )
    return len(threads)


@contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    """Yield a client of a scheduler that has workers. Raises ConfigError when there is none."""
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No Dask scheduler answers at {address}: {error}. Check the address."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise ConfigError(
                f"The Dask scheduler {address} has no workers. Start some with: dask worker "
                f"--nthreads 1 --nworkers N {address}"
            ) from error
        yield client


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone: a kill reaches it alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ORPHANED)
        os._exit(1)

    threading.Thread(target=watch, name="ganaug-orphan-watch", daemon=True).start()
