"""Cells at once, each once, whatever happens to the processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from benchmark.fakes import STUDY, TEN, Fake, begun, origin, outcome_of, rows_of
from ganaug.benchmark import backends
from ganaug.benchmark.backends import THREADS, open_backend
from ganaug.benchmark.grid import order_cells, run_cells
from ganaug.benchmark.outcomes import Cell
from ganaug.benchmark.results import Results
from ganaug.errors import ConfigError, DataError, RunError

TESTS = Path(__file__).resolve().parents[1]

#: Cells of four arms, two of them with generators, on three folds.
GRID = tuple(
    Cell(arm=arm.name, fraction=1.0, repeat=0, fold=fold) for arm in STUDY.arms for fold in range(3)
)


@pytest.fixture
def two_cores(monkeypatch):
    """Two cores, whatever this machine has."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)


@pytest.fixture
def results(tmp_path):
    with Results.create(tmp_path / "results.sqlite", origin()) as results:
        yield results


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path / "log")


@pytest.fixture
def undisturbed(tmp_path):
    """The rows of a grid that nothing happened to, but for the threads that it says it had."""
    path = tmp_path / "undisturbed.sqlite"
    with Results.create(path, origin()) as results:
        for cell in TEN:
            results.add(outcome_of(cell, threads=THREADS))
    return rows_of(path)


def start(folder, *arguments):
    """Begin a grid, or go on with it, in a process of its own."""
    code = f"from benchmark.fakes import compute; compute({str(folder)!r}, *{arguments!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )


# --- what is computed --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_every_cell_is_computed_once(fake, results, undisturbed, two_cores, backend):
    told = []
    run_cells(fake, results, backend=backend, on_done=lambda outcome: told.append(outcome.cell))
    assert Counter(begun(fake.log)) == Counter(cell.key for cell in TEN)
    assert sorted(map(str, told)) == sorted(map(str, TEN))
    assert rows_of(results.path) == undisturbed


def test_cells_that_have_an_outcome_are_left_alone(fake, results, undisturbed):
    for cell in TEN[2:9]:
        results.add(outcome_of(cell, threads=THREADS))
    run_cells(fake, results, backend="sequential")
    assert set(begun(fake.log)) == {cell.key for cell in (*TEN[:2], TEN[9])}
    assert rows_of(results.path) == undisturbed
    run_cells(fake, results)
    assert len(begun(fake.log)) == 3


def test_an_outcome_is_on_disk_before_the_next_cell_begins(fake, results):
    seen = []
    run_cells(
        fake,
        results,
        backend="sequential",
        on_done=lambda outcome: seen.append((len(begun(fake.log)), len(rows_of(results.path)))),
    )
    assert seen == [(n, n) for n in range(1, 11)]


def test_what_ganaug_warns_of_in_a_cell_is_heard_once(fake, results, two_cores):
    noisy = replace(fake, noisy=tuple(cell.key for cell in TEN))
    with pytest.warns(UserWarning, match="12 near copies dropped") as heard:
        run_cells(noisy, results)
    assert len(heard) == 1


def test_two_grids_do_not_compute_into_the_same_results(fake, results):
    with (
        Results(results.path) as other,
        other.claimed(),
        pytest.raises(RunError, match="Another process"),
    ):
        run_cells(fake, results)
    assert begun(fake.log) == []


# --- threads -----------------------------------------------------------------------------------


def threads_of(results):
    return [outcome.details["threads"] for outcome in results.outcomes()]


def test_cells_side_by_side_have_no_more_threads_than_there_are_cores(
    fake, results, two_cores, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # what a worker would take from here
    backend = open_backend()
    run_cells(fake, results, backend=backend)
    workers = {line.split()[1] for line in fake.log.read_text().splitlines()}
    assert len(workers) <= backend.jobs == 2
    assert backend.jobs * max(threads_of(results)) <= joblib.cpu_count()


def test_a_cell_has_as_many_threads_alone_and_the_caller_gets_its_own_back(fake, results):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run_cells(fake, results, backend="sequential")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert set(threads_of(results)) == {THREADS}


# --- kills -------------------------------------------------------------------------------------


def test_a_grid_that_is_killed_at_ten_random_moments_has_the_rows_of_an_undisturbed_one(
    tmp_path, undisturbed
):
    rng = np.random.default_rng(0)
    path, log, kills = tmp_path / "results.sqlite", tmp_path / "log", 0
    while True:
        done = [row[0] for row in rows_of(path)] if path.exists() else []
        before = len(begun(log))
        # of the statements of a cell, the kill hits one of BEGIN, INSERT and COMMIT
        deadly = int(rng.integers(0, 6)) if kills < 10 else 1000
        process = start(tmp_path, "sequential", None, deadly)
        _, said = process.communicate()
        assert not set(done) & set(begun(log)[before:])
        assert len(begun(log)) - before <= len(rows_of(path)) - len(done) + 1
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
        kills += 1
    assert kills == 10
    assert rows_of(path) == undisturbed


def workers_of(log):
    return {int(line.split()[1]) for line in log.read_text().splitlines()}


def assert_ended(handles):
    """Wait until the processes behind handles ended; an idle worker would live for 300 s."""
    for handle in handles:
        assert select.select([handle], [], [], 60)[0], "a worker lives on"
        os.close(handle)


def test_workers_end_when_their_grid_is_killed_and_it_can_go_on(tmp_path, undisturbed):
    k = int(np.random.default_rng(1).integers(1, 6))
    process = start(tmp_path, "loky", 2)
    for _ in range(k):
        process.stdout.readline()
    handles = [os.pidfd_open(pid) for pid in workers_of(tmp_path / "log")]
    process.kill()
    process.communicate()
    assert_ended(handles)
    done = {row[0] for row in rows_of(tmp_path / "results.sqlite")}
    before = len(begun(tmp_path / "log"))
    assert k <= len(done) < 10
    process = start(tmp_path, "sequential", None, 1000)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert not done & set(begun(tmp_path / "log")[before:])
    assert rows_of(tmp_path / "results.sqlite") == undisturbed


def test_ctrl_c_ends_the_workers_at_once_and_keeps_what_is_done(fake, results, two_cores):
    handles = []

    def on_done(outcome):
        if len(results) == 3:
            handles.extend(os.pidfd_open(pid) for pid in workers_of(fake.log))
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_cells(fake, results, on_done=on_done)
    assert len(results) == 3
    assert handles
    assert_ended(handles)
    run_cells(fake, results, backend="sequential")
    assert results.done() == set(TEN)


def test_ctrl_c_while_an_outcome_is_written_waits_until_it_is(fake, results, monkeypatch):
    write = Results.add

    def add(self, outcome):
        signal.raise_signal(signal.SIGINT)
        write(self, outcome)

    monkeypatch.setattr(Results, "add", add)
    with pytest.raises(KeyboardInterrupt):
        run_cells(fake, results, backend="sequential")
    assert len(results) == len(begun(fake.log)) == 1


# --- cells that fail ---------------------------------------------------------------------------


def test_a_worker_that_dies_is_one_line_that_names_the_cells_under_way(
    fake, results, two_cores, undisturbed
):
    lethal = replace(fake, lethal=(TEN[4].key,))
    with pytest.raises(RunError, match=r"A worker process died, .*--resume") as caught:
        run_cells(lethal, results)
    assert TEN[4].key in str(caught.value)
    assert "\n" not in str(caught.value)
    kept = rows_of(results.path)
    assert 1 <= len(kept) < 10
    run_cells(lethal, results, backend="sequential")
    assert rows_of(results.path) == undisturbed


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_an_error_of_a_cell_names_it_and_the_others_are_kept(fake, results, two_cores, backend):
    faulty = replace(fake, faulty=(TEN[4].key,))
    with pytest.raises(DataError) as caught:
        run_cells(faulty, results, backend=backend)
    assert str(caught.value) == f"Cell {TEN[4].key}: No test image is malignant."
    kept = len(results)
    assert 1 <= kept < 10
    run_cells(fake, results, backend="sequential")
    assert results.done() == set(TEN)


def test_a_bug_in_a_cell_passes_through_and_names_it(fake, results):
    buggy = replace(fake, buggy=(TEN[4].key,))
    with pytest.raises(KeyError, match="nobody expected this") as caught:
        run_cells(buggy, results, backend="sequential")
    assert caught.value.__notes__ == [f"This happened in cell {TEN[4].key}."]


def test_a_disk_that_fills_up_keeps_the_rows_that_are_there(fake, results):
    (pages,) = results._connection.execute("PRAGMA page_count").fetchone()
    results._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(RunError, match="The disk is full"):
        run_cells(fake, results, backend="sequential")
    kept = rows_of(results.path)
    assert 1 <= len(kept) < 10
    results._connection.execute("PRAGMA max_page_count = 10000")
    run_cells(fake, results, backend="sequential")
    assert [row for row in rows_of(results.path) if row in kept] == kept
    assert results.done() == set(TEN)


# --- the order ---------------------------------------------------------------------------------


def test_generators_are_trained_side_by_side_and_needed_again_when_they_are_there():
    ordered = [f"{cell.arm} {cell.fold}" for cell in order_cells(GRID, STUDY.arms, jobs=2)]
    assert ordered == [
        *("synthetic 0", "synthetic 1"),
        *("synthetic 2", "warm-start 0", "warm-start 1"),
        *("untreated 0", "oversample 0", "untreated 1", "oversample 1"),
        *("untreated 2", "oversample 2", "warm-start 2"),
    ]


@pytest.mark.parametrize(("jobs", "waiting"), [(1, 0), (2, 0), (3, 0), (5, 6)])
def test_workers_do_not_wait_for_each_others_generators(jobs, waiting):
    """Cells take one unit of time, and training a generator six, of one worker alone."""
    synthetic = {arm.name for arm in STUDY.arms if arm.needs_generator}
    free, trained, waited = [0] * jobs, {}, 0
    for cell in order_cells(GRID, STUDY.arms, jobs):
        worker = min(range(jobs), key=free.__getitem__)
        if cell.arm in synthetic:
            if cell.fold not in trained:
                trained[cell.fold] = free[worker] = free[worker] + 6
            waited += max(trained[cell.fold] - free[worker], 0)
            free[worker] = max(trained[cell.fold], free[worker])
        free[worker] += 1
    assert waited == waiting


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_the_order_has_every_cell_once(jobs):
    assert sorted(map(str, order_cells(GRID, STUDY.arms, jobs))) == sorted(map(str, GRID))
    assert order_cells([], STUDY.arms, jobs) == []


# --- backends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "jobs", "mentions"),
    [
        ("lokky", None, "No backend is named 'lokky'. Did you mean 'loky'?"),
        ("loky:8786", None, "No backend is named 'loky:8786'"),
        ("loky", 0, "1 or more; got 0"),
        ("sequential", 2, "one cell at a time; got --jobs 2"),
        ("dask", None, "needs the address of a scheduler"),
        ("dask:tcp://127.0.0.1:1", 3, "leave --jobs out"),
    ],
)
def test_a_backend_that_cannot_be_used_is_refused(text, jobs, mentions):
    with pytest.raises(ConfigError) as caught:
        open_backend(text, jobs)
    assert mentions in str(caught.value)


def test_a_backend_has_as_many_jobs_as_there_are_cores_and_says_so_of_more(two_cores):
    assert (open_backend().jobs, open_backend("loky", 1).jobs) == (2, 1)
    assert open_backend("sequential").jobs == 1
    assert str(open_backend()) == "2 cells at a time, 1 thread each"
    with pytest.warns(UserWarning, match="3 cells at a time on 2 cores"):
        assert open_backend("loky", 3).jobs == 3


def test_dask_is_asked_for_by_name_when_it_is_missing(monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'ganaug\[dask\]'"):
        open_backend("dask:tcp://127.0.0.1:1")


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed", reason="needs ganaug[dask]")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_dask_cluster_computes_the_same_rows(cluster, fake, results, undisturbed):
    address = f"dask:{cluster.scheduler_address}"
    assert open_backend(address).jobs == 2
    run_cells(fake, results, backend=address)
    assert Counter(begun(fake.log)) == Counter(cell.key for cell in TEN)
    assert rows_of(results.path) == undisturbed


def test_a_cell_that_fails_on_a_dask_cluster_is_named(cluster, fake, results):
    faulty = replace(fake, faulty=(TEN[4].key,))
    with pytest.raises(DataError, match=f"Cell {TEN[4].key}: No test image"):
        run_cells(faulty, results, backend=f"dask:{cluster.scheduler_address}")


def test_a_dask_cluster_of_threads_is_refused():
    distributed = pytest.importorskip("distributed", reason="needs ganaug[dask]")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        address = f"dask:{cluster.scheduler_address}"
        with pytest.raises(ConfigError, match="--nthreads 1"):
            open_backend(address)


def test_a_dask_scheduler_that_does_not_answer_is_an_error(monkeypatch):
    pytest.importorskip("distributed", reason="needs ganaug[dask]")
    monkeypatch.setattr(backends, "_PATIENCE", 0.5)
    with pytest.raises(ConfigError, match="No Dask scheduler answers at tcp://127.0.0.1:1"):
        open_backend("dask:tcp://127.0.0.1:1")
