"""How far a benchmark is: cells done of all, and time left; on a terminal only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ganaug.cli.console import stderr
from ganaug.cli.progress import duration

__all__ = ["TimeLeft", "counting_cells"]


class TimeLeft:
    """How long the cells that are left will take, from how long others took.

    done: cells that were done before, and say nothing of the speed now. clock: seconds.
    """

    def __init__(
        self, total: int, done: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._began = clock()
        self._before, self._done, self._total = done, done, total

    def count(self) -> None:
        """Take note of a cell."""
        self._done += 1

    @property
    def seconds(self) -> float | None:
        """The time left; None before the first cell."""
        computed = self._done - self._before
        if not computed:
            return None
        return (self._clock() - self._began) / computed * (self._total - self._done)

    def __str__(self) -> str:
        """Say it."""
        seconds = self.seconds
        return "" if seconds is None else f"about {duration(seconds)} left"


@contextmanager
def counting_cells(total: int, done: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; yield a function that counts a cell."""
    console = stderr()
    if not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    left = TimeLeft(total, done)
    with Progress(
        TextColumn("Cells"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", style="cyan"),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total, completed=done, left="")

        def count() -> None:
            left.count()
            bar.update(task, advance=1, left=str(left))

        yield count
