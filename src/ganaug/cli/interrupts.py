"""Ctrl-C and SIGTERM, held back until everything is written down."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Inside the block a signal is only noted; `check` raises it where stopping loses nothing.

    So a step, its line of history and a checkpoint are never half done, however often Ctrl-C is
    pressed. For the main thread.
    """

    def __init__(self) -> None:
        self._received = False
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._note) for number in _SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came, once."""
        if self._received:
            self._received = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = True
