"""How far a training or an export is: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ganaug.cli.console import stderr

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from ganaug.stopping import Progress

__all__ = [
    "Budget",
    "Report",
    "counting",
    "duration",
    "losses_text",
    "open_report",
    "score_text",
    "stage_text",
]

#: Steps over which the speed is averaged.
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a part trains: images, seconds, or whichever is over first."""

    images: int | None
    seconds: float | None

    def fraction(self, progress: Progress) -> float:
        """Return the share that is done, 0 to 1."""
        shares = [0.0]
        if self.images:
            shares.append(progress.images_seen / self.images)
        if self.seconds:
            shares.append(progress.seconds / self.seconds)
        return min(max(shares), 1.0)

    def seconds_left(self, progress: Progress, speed: float) -> float | None:
        """Return the time left at a speed in images a second; None when it is not known."""
        left = []
        if self.images and speed > 0:
            left.append((self.images - progress.images_seen) / speed)
        if self.seconds:
            left.append(self.seconds - progress.seconds)
        return max(min(left), 0.0) if left else None


class Report(ABC):
    """Tells the user how the parts of a training go. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._budget = Budget(None, None)
        self._recent: deque[Progress] = deque(maxlen=_STEPS)
        self._label = self._scores = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, label: str, budget: Budget) -> None:
        """Begin a part."""
        self._label, self._budget = label, budget
        self._recent.clear()
        self._scores = ""

    def update(self, progress: Progress) -> None:
        """Take note of a step."""
        self._recent.append(progress)
        self._scores = score_text(progress) or self._scores

    @abstractmethod
    def say(self, text: str) -> None:
        """Print a line about the part."""

    @abstractmethod
    def saved(self) -> None:
        """Take note of a checkpoint."""

    @abstractmethod
    def end(self, reason: str) -> None:
        """End a part."""

    def _figures(self) -> tuple[str, str, str, str]:
        """Return images, speed, stage with losses and newest score, and time left as text."""
        first, last = self._recent[0], self._recent[-1]
        elapsed = last.seconds - first.seconds
        speed = (last.images_seen - first.images_seen) / elapsed if elapsed > 0 else 0.0
        total = f"/{self._budget.images:,}" if self._budget.images else ""
        left = self._budget.seconds_left(last, speed)
        return (
            f"{last.images_seen:,}{total} images",
            f"{speed:,.0f}/s" if speed else "",
            " ".join(filter(None, (stage_text(last), losses_text(last), self._scores))),
            "" if left is None else f"{duration(left)} left",
        )


class _Bar(Report):
    """A bar for each part, with images, images/s, losses and time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        def text(field: str, style: str) -> TextColumn:
            return TextColumn(field, style=style, markup=False, table_column=Column(no_wrap=True))

        self._bar = Progress(
            text("{task.description}", "bold"),
            BarColumn(bar_width=None),
            text("{task.fields[images]}", "none"),
            text("{task.fields[speed]}", "cyan"),
            text("{task.fields[losses]}", "none"),
            text("{task.fields[left]}", "cyan"),
            console=console,
            expand=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, label: str, budget: Budget) -> None:
        super().start(label, budget)
        self._task = self._bar.add_task(
            label, total=1.0, images="", speed="", losses="", left="starting"
        )

    def update(self, progress: Progress) -> None:
        super().update(progress)
        images, speed, losses, left = self._figures()
        self._show(
            self._budget.fraction(progress), images=images, speed=speed, losses=losses, left=left
        )

    def say(self, text: str) -> None:
        self._bar.console.print(f"{self._label}: {text}", markup=False, soft_wrap=True)

    def saved(self) -> None:
        return None

    def end(self, reason: str) -> None:
        self._show(1.0 if self._recent else None, left="done")

    def _show(self, completed: float | None, **fields: Any) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=completed, **fields)


class _Lines(Report):
    """A line when a part begins, at each checkpoint, and at the end."""

    def start(self, label: str, budget: Budget) -> None:
        super().start(label, budget)
        self.say("training")

    def saved(self) -> None:
        if self._recent:
            self.say(", ".join(filter(None, self._figures())))

    def end(self, reason: str) -> None:
        self.say(f"done, {reason}")

    def say(self, text: str) -> None:
        self._console.print(f"{self._label}: {text}", soft_wrap=True)


def open_report() -> Report:
    """Return a bar when stderr is a terminal, plain lines on stdout otherwise."""
    from ganaug.cli.console import output

    console = stderr()
    return _Bar(console) if console.is_terminal else _Lines(output())


@contextmanager
def counting(label: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar of things done, on a terminal only; yield a function that counts one."""
    console = stderr()
    if not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def losses_text(progress: Progress) -> str:
    """Return the sum of each phase's losses, phases by their initials where these differ."""
    sums: dict[str, float] = {}
    for name, value in progress.losses.items():
        phase = name.partition("/")[0]
        sums[phase] = sums.get(phase, 0.0) + value
    initials = {phase: phase[:1].upper() for phase in sums}
    if len(set(initials.values())) < len(initials):
        initials = {phase: phase for phase in sums}
    return " ".join(f"{initials[phase]} {value:.2f}" for phase, value in sums.items())


def stage_text(progress: Progress) -> str:
    """Return the pixels a side of a generator that grows, and whether they still fade in."""
    if progress.resolution is None:
        return ""
    return f"{progress.resolution} px {'fading in' if progress.is_fading else 'stable'}"


def score_text(progress: Progress) -> str:
    """Return the first score on validation rows, or nothing where there is none."""
    return next((f"{name} {value:.3g}" for name, value in progress.metrics.items()), "")


def duration(seconds: float) -> str:
    """Return ``m:ss``, or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
