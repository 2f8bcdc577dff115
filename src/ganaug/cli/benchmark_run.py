"""Benchmarks begun and gone on with: everything is checked before anything is computed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ganaug.cli.benchmark_progress import counting_cells
from ganaug.cli.benchmark_request import BenchmarkRequest, make_budget, make_study
from ganaug.cli.benchmark_summary import (
    Comparison,
    header_pairs,
    print_comparison,
    print_header,
    protocol_fields,
    version_pairs,
)
from ganaug.cli.console import output, status, stderr

if TYPE_CHECKING:
    from pathlib import Path

    from ganaug.benchmark.experiment import Experiment
    from ganaug.benchmark.outcomes import Outcome
    from ganaug.benchmark.results import Results
    from ganaug.report import Findings

__all__ = ["run_benchmark"]

_INTERRUPTED = 3

#: The results, in the folder of a benchmark.
_FILE = "results.sqlite"


def run_benchmark(request: BenchmarkRequest) -> int:
    """Begin a benchmark or go on with one; return the exit code. Raises GanaugError."""
    from ganaug.benchmark import experiment as experiments
    from ganaug.benchmark.backends import open_backend
    from ganaug.benchmark.grid import run_cells
    from ganaug.registry import Registry

    _check_out(request)
    study = make_study(request, Registry.load())
    budget = make_budget(request, study)
    backend = open_backend(request.backend, request.jobs)
    with status("Reading images"):
        experiment = experiments.Experiment.of(
            request.data,
            study,
            out=request.out,
            budget=budget,
            seed=request.seed,
            fields=request.fields,
            device=request.device,
        )
    with _opened(request, experiment) as results:
        cells = set(experiment.cells)
        done = len(cells & results.done())
        if not request.json:
            print_header(request, experiment, str(backend), done)
        try:
            with _stoppable(), counting_cells(len(cells), done) as count:
                run_cells(experiment, results, backend=backend, on_done=lambda _: count())
        except KeyboardInterrupt:
            _explain(request, len(cells & results.done()), len(cells))
            return _INTERRUPTED
        outcomes = [found for found in results.outcomes() if found.cell in cells]
    _compare(request, experiment, outcomes)
    return 0


def _check_out(request: BenchmarkRequest) -> None:
    """Raise RunError unless a benchmark can begin in DIR, or go on there."""
    from ganaug.benchmark.results import Results
    from ganaug.errors import RunError
    from ganaug.files import check_place

    out = request.out
    check_place(out)
    if request.resume:
        Results(out / _FILE).close()
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        resume = " or go on with --resume" if (out / _FILE).exists() else ""
        raise RunError(f"{out} exists already. Choose another path, remove it{resume}.")


@contextmanager
def _opened(request: BenchmarkRequest, experiment: Experiment) -> Iterator[Results]:
    """Open the results in DIR: those of the same experiment, or new ones."""
    from ganaug.benchmark.results import Results

    path = request.out / _FILE
    if not request.resume:
        _create(path, experiment)
    with Results(path) as results:
        results.check(experiment.origin)
        yield results


def _create(path: Path, experiment: Experiment) -> None:
    """Make the folder with its results, whole or not at all."""
    from ganaug.benchmark.results import Results
    from ganaug.files import new_folder

    if path.parent.exists():  # and is empty
        Results.create(path, experiment.origin).close()
        return
    with new_folder(path.parent) as folder:
        Results.create(folder / path.name, experiment.origin).close()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end a benchmark as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _explain(request: BenchmarkRequest, done: int, total: int) -> None:
    stderr().print(
        f"Interrupted with {done:,} of {total:,} cells done; saved in {request.out}. Go on with:\n"
        f"  {request.resume_command()}",
        soft_wrap=True,
    )


def _compare(request: BenchmarkRequest, experiment: Experiment, outcomes: list[Outcome]) -> None:
    """Print what the results say, and write the report."""
    from ganaug.report import write_report

    with status("Comparing"):
        comparison = Comparison.of(experiment, outcomes, reference=request.reference)
    findings = _find(request, experiment, comparison, outcomes)
    if not request.json:
        print_comparison(comparison, findings.headline)
    with status("Writing the report"):
        page, table, tree = write_report(request.out, findings)
    if request.pictures:
        _add_pictures(request, experiment, findings)
    if request.json:
        print(tree.read_text("utf-8"), end="")
        return
    names = f"{table.name}, {tree.name}"
    output().print(f"\nReport: {page}\nFor programs: {names}, {_FILE}", soft_wrap=True)


def _find(
    request: BenchmarkRequest,
    experiment: Experiment,
    comparison: Comparison,
    outcomes: list[Outcome],
) -> Findings:
    """Sum up what the report says."""
    from ganaug.report import Findings

    return Findings(
        study=experiment.study,
        outcomes=outcomes,
        differences=comparison.differences,
        effects=comparison.effects,
        protocol=protocol_fields(request, experiment),
        facts=dict([*header_pairs(request, experiment), *version_pairs(experiment)]),
        is_screening=comparison.is_screening,
    )


def _add_pictures(request: BenchmarkRequest, experiment: Experiment, findings: Findings) -> None:
    """Write the report again, with pictures; it stays without them where they cannot be drawn."""
    from ganaug.errors import GanaugError
    from ganaug.report import write_report
    from ganaug.report.images import look_at_images

    try:
        with status("Drawing pictures"):
            looked = look_at_images(experiment, findings.outcomes)
    except GanaugError as error:
        stderr().print(f"The report has no pictures: {error}", soft_wrap=True)
        return
    write_report(request.out, replace(findings, pictures=looked.pictures, scores=looked.scores))
