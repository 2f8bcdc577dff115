"""The cells of a benchmark, many at once, their outcomes written as they come in."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Protocol

from ganaug.benchmark.backends import THREADS, Backend, open_backend
from ganaug.benchmark.outcomes import Cell, Outcome
from ganaug.benchmark.results import Results
from ganaug.errors import GanaugError, RunError
from ganaug.interrupts import interrupt_at_the_end

if TYPE_CHECKING:
    from ganaug.study import Arm, Study

__all__ = ["Cells", "order_cells", "run_cells"]


class Cells(Protocol):
    """What a grid computes: `ganaug.benchmark.experiment.Experiment`, or what is like it.

    It goes to every worker with every cell, so it is picklable and small; what a process needs
    repeatedly, it keeps there by itself.
    """

    @property
    def study(self) -> Study:
        """What is compared; its arms are those of the cells."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What there is to compute."""

    def run(self, cell: Cell) -> Outcome:
        """Compute a cell."""


def run_cells(
    experiment: Cells,
    results: Results,
    *,
    backend: str | Backend = "loky",
    jobs: int | None = None,
    on_done: Callable[[Outcome], None] | None = None,
) -> None:
    """Compute the cells that the results lack, and write each outcome as soon as it is known.

    This process alone writes. Each cell has one thread, so that as many as there are cores do not
    get in each other's way. Whatever ends this early (Ctrl-C, a kill, an error), outcomes that
    were written stay, workers end, and a further call goes on.

    on_done: called after an outcome was written.
    Raises the GanaugError of a cell, which then names the cell; RunError when a worker dies,
    another process computes into the same results, or the disk is full; and what `open_backend`
    raises.
    """
    chosen = backend if isinstance(backend, Backend) else open_backend(backend, jobs)
    with results.claimed():
        done = results.done()
        pending = [cell for cell in experiment.cells if cell not in done]
        under_way: set[Cell] = set()
        tasks = _tasks(
            experiment, order_cells(pending, experiment.study.arms, chosen.jobs), under_way
        )
        warned: set[str] = set()
        with _explained(results, under_way), _computed(tasks, chosen, len(pending)) as found:
            for outcome, messages in found:
                with interrupt_at_the_end():
                    results.add(outcome)
                under_way.discard(outcome.cell)
                _warn_once(messages, warned)
                if on_done is not None:
                    on_done(outcome)


def order_cells(cells: Iterable[Cell], arms: Sequence[Arm], jobs: int) -> list[Cell]:
    """Return cells in an order in which workers seldom wait for the same generator.

    A generator belongs to a training part; the first cell that needs it trains it, and others
    wait until then. So `jobs` generators are trained side by side, then the next ones, and cells
    that need one come when it is there. Those that need none are left for the end, when there may
    be fewer generators to train than workers.
    """
    synthetic = {arm.name for arm in arms if arm.needs_generator}
    parts: dict[tuple[int, int, float], list[Cell]] = {}
    plain = []
    for cell in sorted(cells, key=lambda cell: (cell.repeat, cell.fold, cell.fraction)):
        if cell.arm in synthetic:
            parts.setdefault((cell.repeat, cell.fold, cell.fraction), []).append(cell)
        else:
            plain.append(cell)
    ordered: list[Cell] = []
    trained: list[list[Cell]] = []
    queue, jobs = list(parts.values()), max(jobs, 1)
    for start in range(0, len(queue), jobs):
        wave = queue[start : start + jobs]
        ordered += [part[0] for part in wave] + _in_turn(trained)
        trained = [part[1:] for part in wave]
    return ordered + plain + _in_turn(trained)


def _in_turn(lists: Iterable[Sequence[Cell]]) -> list[Cell]:
    """Return the first of each list, then the second of each, and so on."""
    return [cell for cell in chain.from_iterable(zip_longest(*lists)) if cell is not None]


def _tasks(experiment: Cells, cells: Sequence[Cell], under_way: set[Cell]) -> Iterator[Any]:
    """Yield what joblib hands to workers, and note what was handed out."""
    from joblib import delayed

    for cell in cells:
        under_way.add(cell)
        yield delayed(_run_cell)(experiment, cell)


@contextmanager
def _computed(
    tasks: Iterator[Any], backend: Backend, n: int
) -> Iterator[Iterator[tuple[Outcome, list[str]]]]:
    """Yield an iterator of n outcomes with warnings, as they become known.

    Leaving the block ends what is still under way.
    """
    from joblib import Parallel, parallel_config

    if not n:
        yield iter(())
        return
    jobs = min(backend.jobs, n)
    with backend.opened(jobs) as options, parallel_config(**options):
        parallel = Parallel(
            n_jobs=jobs,
            return_as="generator_unordered",
            pre_dispatch=jobs,  # so that what was handed out is what is under way
            batch_size=1,  # so that no outcome waits for the next
            max_nbytes=None,  # no arrays on disk
        )
        found = parallel(tasks)
        try:
            yield found
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib says that cells are given up; so do we
                found.close()


def _run_cell(experiment: Cells, cell: Cell) -> tuple[Outcome, list[str]]:
    """Compute a cell, in a worker; return what ganaug warned of with it."""
    with warnings.catch_warnings(record=True) as caught, _limited_threads():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module=r"ganaug(\.|$)")
        try:
            outcome = experiment.run(cell)
        except GanaugError as error:
            if len(error.args) == 1:
                error.args = (f"Cell {cell.key}: {error}",)
            raise
        except Exception as error:  # whatever it is, it goes on with the name of its cell
            error.add_note(f"This happened in cell {cell.key}.")
            raise
    return outcome, [str(warning.message) for warning in caught]


@contextmanager
def _limited_threads() -> Iterator[None]:
    """Give torch and the libraries of linear algebra as many threads as a cell has."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with threadpool_limits(THREADS):
            yield
    finally:
        torch.set_num_threads(before)


def _warn_once(messages: Iterable[str], warned: set[str]) -> None:
    for message in messages:
        if message not in warned:
            warned.add(message)
            warnings.warn(message, stacklevel=2)


@contextmanager
def _explained(results: Results, under_way: set[Cell]) -> Iterator[None]:
    """Turn the death of a worker into one line that names the cells that it may have had."""
    try:
        yield
    except Exception as error:  # Dask's own error can be told by its name only; others go on
        dask_says_so = type(error).__name__ == "KilledWorker"
        if not isinstance(error, BrokenExecutor) and not dask_says_so:
            raise
        cells = ", ".join(sorted(cell.key for cell in under_way))
        raise RunError(
            f"A worker process died, killed or out of memory; under way were {cells}. "
            f"{len(results):,} cells are in {results.path}: go on with --resume, with fewer "
            "--jobs if memory ran out."
        ) from error
