"""The errors ganaug raises.

Each also inherits the built-in it resembles, so `except ValueError` keeps working::

    GanaugError
    ├── ConfigError (ValueError)               an option or a config field is wrong
    ├── DataError (ValueError)                 images or labels that cannot be used
    │   └── TooFewImagesError                  fewer images than a metric needs
    ├── ShapeError (ValueError)                a size or shape that cannot be used
    ├── LeakageError (ValueError)              rows to judge by that a run was trained on
    ├── PluginError (RuntimeError)             a plugin breaks the contract of its hook
    │   ├── UnknownPluginError (LookupError)   no plugin has that name
    │   └── PluginConflictError                two plugins have that name, or claim the same data
    ├── NotFittedError (ValueError)            a method that needs `fit` was called before it
    ├── RunError (OSError)                     a run is missing, damaged, newer or in the way
    └── TrainingFailedError (ArithmeticError)  the losses stay non-finite; gave up

A message says what was wrong, what was expected, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DataError",
    "GanaugError",
    "LeakageError",
    "NotFittedError",
    "PluginConflictError",
    "PluginError",
    "RunError",
    "ShapeError",
    "TooFewImagesError",
    "TrainingFailedError",
    "UnknownPluginError",
    "nearest",
]


class GanaugError(Exception):
    """Root of every error that ganaug raises on purpose."""


class ConfigError(GanaugError, ValueError):
    """An option or a config field is unknown, of the wrong type or out of range."""


class DataError(GanaugError, ValueError):
    """Images or labels that cannot be used as they are."""


class TooFewImagesError(DataError):
    """Fewer images than a metric needs to mean anything."""


class ShapeError(GanaugError, ValueError):
    """A size or shape that the receiver cannot work with."""


class LeakageError(GanaugError, ValueError):
    """Rows that are meant to judge a run overlap with rows that it was trained on."""


class PluginError(GanaugError, RuntimeError):
    """A plugin breaks the contract of its hook, or could not be imported."""


class UnknownPluginError(PluginError, LookupError):
    """No plugin of that kind has that name."""


class PluginConflictError(PluginError):
    """Two plugins have one name, or claim the same data equally."""


class NotFittedError(GanaugError, ValueError):
    """A method that needs a fitted object was called before `fit`."""


class RunError(GanaugError, OSError):
    """A run directory is missing, damaged, of a newer version, or in the way."""


class TrainingFailedError(GanaugError, ArithmeticError):
    """The losses stayed non-finite after every retry; the last good state is kept."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest choice, or an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
