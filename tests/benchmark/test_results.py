"""Outcomes in one SQLite file."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing

import numpy as np
import pytest

from benchmark.fakes import CLASSES, STUDY, TEN, origin, outcome_of, predictions, rows_of
from ganaug.benchmark.origins import Origin
from ganaug.benchmark.outcomes import Cell, Outcome
from ganaug.benchmark.results import Results
from ganaug.errors import RunError

HUNDRED = [Cell(arm="a", fraction=1.0, repeat=n, fold=0) for n in range(100)]

FACTS = {
    "data": "skin.npz",
    "study": {"name": "skin", "classifier": "small-cnn"},
    "budget": {"folds": 5, "repeats": 5},
    "versions": {"ganaug": "0.1.0"},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.sqlite"


@pytest.fixture
def three(path):
    """A file with outcomes of three cells."""
    with Results.create(path, origin(**FACTS)) as results:
        for cell in TEN[:3]:
            results.add(outcome_of(cell))
    return path


def add_all(results, cells):
    for cell in cells:
        results.add(outcome_of(cell))


def check_equal(found, expected):
    assert (found.cell, found.class_names, found.details) == (
        *(expected.cell, expected.class_names),
        expected.details,
    )
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(found, part), getattr(expected, part)
        assert (ours.ids, ours.groups) == (theirs.ids, theirs.groups)
        for name in ("labels", "probabilities"):
            one, other = getattr(ours, name), getattr(theirs, name)
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            np.testing.assert_array_equal(one, other)


def test_outcomes_are_read_back_as_they_were_written(path):
    written = [outcome_of(cell) for cell in TEN]
    with Results.create(path, origin()) as results:
        for outcome in written:
            results.add(outcome)
    with Results(path) as results:
        found = {outcome.cell: outcome for outcome in results.outcomes()}
        assert results.done() == set(found) == set(TEN)
        assert len(results) == len(TEN)
    for outcome in written:
        check_equal(found[outcome.cell], outcome)


def test_a_cell_without_validation_images_is_read_back_too(path):
    rng = np.random.default_rng(0)
    none = predictions(rng, 0)
    some = predictions(rng, 3)
    outcome = Outcome(
        cell=TEN[0], class_names=CLASSES, train=some, validation=none, test=some, details={}
    )
    with Results.create(path, origin()) as results:
        results.add(outcome)
        check_equal(results.outcomes()[0], outcome)


def test_what_the_results_follow_from_is_read_back(three):
    with Results(three) as results:
        assert results.origin == Origin(fingerprint="f" * 64, facts=FACTS)


def test_the_order_of_outcomes_does_not_follow_from_when_they_were_done(path, tmp_path):
    other = tmp_path / "other.sqlite"
    for file, cells in ((path, TEN), (other, TEN[::-1])):
        with Results.create(file, origin()) as results:
            for cell in cells:
                results.add(outcome_of(cell))
    with Results(path) as one, Results(other) as two:
        assert [o.cell for o in one.outcomes()] == [o.cell for o in two.outcomes()]
    assert rows_of(path) == rows_of(other)


def test_a_cell_has_one_outcome(three):
    before = rows_of(three)
    with Results(three) as results:
        with pytest.raises(RunError, match=r"outcome of cell untreated/1/0/1 already"):
            results.add(outcome_of(TEN[1], steps=8))
        results.add(outcome_of(TEN[3]))
    assert [row for row in rows_of(three) if row[0] != TEN[3].key] == before


# --- other results -----------------------------------------------------------------------------


def test_results_of_the_same_origin_are_gone_on_with(three):
    with Results(three) as results:
        results.check(Origin(fingerprint="f" * 64, facts={**FACTS, "data": "./skin.npz"}))


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        ({"budget": {"folds": 3, "repeats": 5}}, "budget.folds was 5, and is 3 now"),
        ({"study": {**FACTS["study"], "size": 28}}, "study.size was not set, and is 28 now"),
        ({}, "its images, or the versions that it ran with, were others"),
    ],
)
def test_results_of_another_origin_are_refused_and_what_differs_is_said(three, changes, mentions):
    other = Origin(fingerprint="e" * 64, facts={**FACTS, **changes})
    with Results(three) as results, pytest.raises(RunError) as caught:
        results.check(other)
    assert mentions in str(caught.value)
    assert "choose another --out" in str(caught.value)


def test_arms_may_join_and_are_known_from_then_on(three):
    arms = {"a": {"mixup": 0.0}, "b": {"mixup": 0.2}}
    one, two = ({name: arms[name] for name in names} for names in ("a", "ab"))
    for joining in (one, two, one):
        with Results(three) as results:
            results.check(Origin(fingerprint="f" * 64, facts=FACTS, arms=joining))
    with Results(three) as results:
        assert results.origin.arms == arms
        assert len(results) == 3
        other = {**arms, "b": {"mixup": 0.4}}
        with pytest.raises(RunError, match=r"arms\.b\.mixup was 0\.2, and is 0\.4 now"):
            results.check(Origin(fingerprint="f" * 64, facts=FACTS, arms=other))


def test_of_many_differences_a_few_are_named(three):
    other = Origin(fingerprint="e" * 64, facts={"data": "x", **{f"a{n}": n for n in range(9)}})
    with Results(three) as results, pytest.raises(RunError) as caught:
        results.check(other)
    assert "another benchmark: data was skin.npz, and is x now; " in str(caught.value)
    assert str(caught.value).count("; ") == 5
    assert re.search(r"; and 1\d more\. Give", str(caught.value))


def test_a_study_can_be_a_fact(path):
    from dataclasses import asdict

    facts = {"study": json.loads(json.dumps(asdict(STUDY)))}
    Results.create(path, origin(**facts)).close()
    changed = {"study": {**facts["study"], "classifier": "mammo"}}
    with Results(path) as results, pytest.raises(RunError, match="study.classifier was small-cnn"):
        results.check(Origin(fingerprint="e" * 64, facts=changed))


# --- files that are missing, damaged, newer or in the way ----------------------------------------


def test_a_file_that_is_not_there(path):
    with pytest.raises(RunError, match="results.sqlite is not there"):
        Results(path)
    assert not path.exists()


def test_a_file_that_is_in_the_way_stays(three):
    before = three.read_bytes()
    with pytest.raises(RunError, match="exists already"):
        Results.create(three, origin())
    assert three.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be one" * 100])
def test_a_file_of_something_else(path, content):
    path.write_bytes(content)
    with pytest.raises(RunError, match="damaged, or no results of a benchmark"):
        Results(path)


def test_a_truncated_file(three):
    three.write_bytes(three.read_bytes()[:-4096])
    with pytest.raises(RunError, match="cannot be read"):
        Results(three)


def test_no_damage_goes_unnoticed(three):
    content = three.read_bytes()
    with Results(three) as results:
        expected = {outcome.cell: outcome for outcome in results.outcomes()}
    rng = np.random.default_rng(0)
    refused = []
    for position in [int(p) for p in rng.integers(0, len(content), 100)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        three.write_bytes(damaged)
        try:
            with Results(three) as results:
                found = results.outcomes()
                assert results.origin.facts == FACTS
        except RunError as error:
            refused.append(str(error))
        else:  # a byte that means nothing, such as one of an unused part of a page
            assert {outcome.cell for outcome in found} == set(expected)
            for outcome in found:
                check_equal(outcome, expected[outcome.cell])
    assert len(refused) > 30
    assert "\n" not in "".join(refused)


def test_a_changed_row_is_damage(three):
    with closing(sqlite3.connect(three)) as connection, connection:
        connection.execute("UPDATE cells SET details = '{}' WHERE fold = 2")
    with pytest.raises(RunError, match="cell untreated/1/0/2 is not as it was written"):
        Results(three)


def test_a_newer_format_is_refused(three):
    with closing(sqlite3.connect(three)) as connection, connection:
        connection.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    with pytest.raises(RunError, match=r"written by ganaug 0\.1\.0.*newer format.*Upgrade"):
        Results(three)


# --- full disks --------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_rows_that_were_there(three):
    before = rows_of(three)
    with Results(three) as results:
        (pages,) = results._connection.execute("PRAGMA page_count").fetchone()
        results._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RunError, match=r"The disk is full: .*results.sqlite cannot grow"):
            add_all(results, TEN[3:])
        kept = rows_of(three)
        assert [row for row in kept if row in before] == before
        results._connection.execute(f"PRAGMA max_page_count = {10 * pages}")
        assert {row[0] for row in kept} == {cell.key for cell in results.done()}
        add_all(results, [cell for cell in TEN if cell not in results.done()])
    assert [row for row in rows_of(three) if row in kept] == kept
    assert len(rows_of(three)) == len(TEN)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with Results.create(disk / "results.sqlite", origin()) as results:
            with pytest.raises(RunError, match="The disk is full"):
                add_all(results, HUNDRED)
            kept = results.done()
        assert kept
        with Results(disk / "results.sqlite") as results:
            assert results.done() == kept
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- one process at a time -----------------------------------------------------------------------


def test_two_processes_do_not_compute_into_the_same_results(three):
    with Results(three) as one, Results(three) as two:
        with one.claimed():
            with pytest.raises(RunError, match="Another process is computing"), two.claimed():
                pass
            assert len(two.outcomes()) == 3
        with two.claimed():
            pass
