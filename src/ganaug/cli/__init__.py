"""The command line: ``ganaug``. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

import ganaug
from ganaug.cli import augment, benchmark, data, demo, evaluate, fit, plugins, reader_study, sample
from ganaug.cli.blame import blame
from ganaug.cli.console import line
from ganaug.errors import GanaugError, TrainingFailedError

__all__ = ["DONE", "INTERRUPTED", "REFUSED", "app", "main"]

#: Exit codes; 1, a bug in ganaug, is Python's own for an error that nobody expected.
DONE, REFUSED, INTERRUPTED = 0, 2, 3

#: What Typer returns for a Ctrl-C that a command did not handle.
_TYPER_INTERRUPTED = 130

# Typer keeps the base of its usage errors private; every version has it here.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_EPILOG = """[bold]Start here[/bold]

  ganaug data inspect photos/

  ganaug fit photos/ --out runs/photos --class rare --minutes 10

  ganaug augment photos/ --run runs/photos --out balanced/"""

app = typer.Typer(
    name="ganaug",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=_EPILOG,
)
demo.register(app)
fit.register(app)
sample.register(app)
augment.register(app)
evaluate.register(app)
reader_study.register(app)
benchmark.register(app)
data.register(app)
plugins.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ganaug {ganaug.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Grow rare image classes with generative models, and find out whether it helped."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what the user did wrong becomes one line.

    0 done; 2 what was given is wrong, or the disk is full; 3 interrupted or given up, with
    everything saved. An error that is none of these is a bug and passes through, traceback and all,
    unless an installed plugin's code raised it: then that is named.
    """
    with warnings.catch_warnings():
        _show_own_warnings()
        try:
            code = app(args=arguments, prog_name="ganaug", standalone_mode=False)
            sys.stdout.flush()
        except _UsageError as error:
            return _refuse(_usage(error))
        except TrainingFailedError as error:
            return _refuse(str(error), code=INTERRUPTED)
        except GanaugError as error:
            return _refuse(str(error))
        except BrokenPipeError:  # whoever read the output, such as `head`, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        except SystemExit as error:  # Typer's answer to a broken pipe
            if not isinstance(error.__context__, BrokenPipeError):
                raise
            return DONE
        except Exception as error:  # a full disk, a plugin's code, or else a bug
            message = _disk_full(error) or blame(error)
            if message is None:
                raise
            return _refuse(message)
    if code == _TYPER_INTERRUPTED:
        return _refuse("Interrupted; nothing was written.", code=INTERRUPTED, label="")
    return code if isinstance(code, int) else DONE


def _refuse(message: str, *, code: int = REFUSED, label: str = "Error: ") -> int:
    print(label + line(message), file=sys.stderr)
    return code


def _disk_full(error: Exception) -> str | None:
    """Say that the disk is full, where that is the error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {error}. Free some space and try again."
    return None


def _usage(error: Exception) -> str:
    """Return what Typer found wrong and where to read on."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "ganaug"
    message = getattr(error, "format_message", error.__str__)()
    end = "" if message.rstrip(".").endswith("?") else "."
    return f"{message.rstrip('.')}{end} See {command} --help."


def _show_own_warnings() -> None:
    """Print ganaug's warnings as a line each, and not those of libraries."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"Warning: {line(str(message))}", file=sys.stderr)

    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module=r"ganaug(\.|$)")
    warnings.showwarning = show
