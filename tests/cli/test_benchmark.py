"""``ganaug benchmark``: options, exit codes, what it says; most cells are made up."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from benchmark.fakes import Fake, begun, rows_of

from cli.scenes import tree, write_images
from ganaug import Registry
from ganaug.benchmark import experiment as experiments
from ganaug.benchmark.origins import Origin
from ganaug.benchmark.outcomes import Cell
from ganaug.benchmark.results import Results
from ganaug.cli.benchmark_progress import TimeLeft
from ganaug.cli.benchmark_request import BenchmarkRequest, make_budget, make_study
from ganaug.study import Budget

ARMS = ("--arm", "untreated", "--arm", "oversample", "--arm", "synthetic")
TINY = (*ARMS, "--folds", 2, "--repeats", 2, "--backend", "sequential")


@dataclass(frozen=True, kw_only=True)
class Made(Fake):
    """An experiment whose outcomes follow from the names of cells; made as the real one is.

    better: of which arm nearly all test images are told right; worse: hardly any.
    """

    budget: Budget
    seed: int
    counts: Mapping[str, int] = field(default_factory=lambda: {"common": 4_000, "rare": 60})
    left_out: Mapping[str, int] = field(default_factory=lambda: {"blurred": 7})
    better: str = ""
    worse: str = ""
    computes_on: str = "cpu, float32"

    @property
    def origin(self):
        facts = {"study": asdict(self.study), "folds": self.budget.folds, "seed": self.seed}
        facts = json.loads(json.dumps(facts))
        return Origin(fingerprint=str(hash(json.dumps(facts))), facts=facts)

    def run(self, cell):
        outcome = super().run(cell)
        labels, test = outcome.test.labels, outcome.test
        truth = np.eye(3)[labels] * 0.9 + 0.1 / 3
        if cell.arm == self.better:
            truth[cell.fold] = truth[cell.fold].mean()  # never right in the same way
            test = replace(test, probabilities=truth / truth.sum(1, keepdims=True))
        if cell.arm == self.worse:
            test = replace(test, probabilities=(1.0 - truth) / (1.0 - truth).sum(1, keepdims=True))
        return replace(outcome, test=test)


@pytest.fixture
def made(photos, monkeypatch):
    """Made-up experiments in place of real ones; what is set here, they have."""
    settings = {}

    class Factory:
        @staticmethod
        def of(data, study, *, out, budget, seed, fields, device):
            cells = tuple(
                Cell(arm=arm.name, fraction=fraction, repeat=repeat, fold=fold)
                for arm in study.arms
                for fraction in budget.fractions
                for repeat in range(budget.repeats)
                for fold in range(budget.folds)
            )
            log = Path("log").resolve()
            given = {"log": log, "cells": cells, "study": study, "budget": budget, "seed": seed}
            return Made(**{**given, **settings})

    monkeypatch.setattr(experiments, "Experiment", Factory)
    return settings


@pytest.fixture
def refused(ganaug, tmp_path, made):
    """Run a benchmark that is refused with one line, before anything is written."""

    def run(*arguments, mentions):
        before = tree(tmp_path)
        result = ganaug("benchmark", "photos", *arguments)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("Error: ")
        assert result.err.count("\n") == 1
        for text in [mentions] if isinstance(mentions, str) else mentions:
            assert text in result.err
        assert tree(tmp_path) == before

    return run


# --- what it says and writes ---------------------------------------------------------------------


def test_it_says_what_is_compared_and_then_the_verdict_and_the_arms(ganaug, made):
    result = ganaug("benchmark", "photos", "--out", "out/first", *TINY)
    assert (result.code, result.err) == (0, "")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert max(map(len, lines)) <= 80
    facts = {line.split("  ")[0]: line for line in lines}
    assert facts["Classes"].endswith("  common 4,000, rare 60; left out: blurred 7")
    assert "untreated, oversample, synthetic" in facts["Arms"]
    assert "2 folds x 2 repeats, a screening; claims are made at 5 x 5" in facts["Protocol"]
    assert "seed 0" in facts["Protocol"]
    assert "12; one cell at a time, 1 thread each" in facts["Cells"]
    assert "out/first" in facts["Results"]
    assert "Generator" in facts
    (verdict,) = [line for line in lines if line.startswith("synthetic: ")]
    said = " ".join(lines[lines.index(verdict) :])
    assert re.match(
        r"synthetic: no benefit shown \(could detect [\d.]+ points\), against \w+; 95 % interval "
        r"[-+\d.]+ to [-+\d.]+\. ",
        said,
    )
    headline = " ".join(lines[: lines.index(verdict)])
    assert "In this screening, no benefit of synthetic images was shown" in headline
    table = [line.split() for line in lines if line.startswith(" ") and line.strip()]
    assert {"untreated", "oversample", "synthetic"} <= {words[0] for words in table}
    assert lines.index(verdict) < next(n for n, line in enumerate(lines) if "reference" in line)
    assert "Screening" in facts
    with Results("out/first/results.sqlite") as results:
        assert len(results) == 12
    assert sorted(path.name for path in Path("out/first").iterdir()) == [
        "report.html",
        "results.csv",
        "results.json",
        "results.sqlite",
    ]
    assert "Report: out/first/report.html" in lines


@pytest.mark.parametrize(
    ("better", "worse", "word"),
    [("synthetic", "untreated", "helps"), ("untreated", "synthetic", "harms")],
)
def test_the_verdict_follows_from_the_results(ganaug, made, better, worse, word):
    made.update(better=better, worse=worse)
    result = ganaug("benchmark", "photos", "--out", "out", *TINY, "--reference", "untreated")
    assert result.code == 0
    assert re.search(rf"^synthetic: {word} \([+-]\d+\.\d points\)", result.out, re.M)


def test_the_reference_is_the_one_that_was_named(ganaug, made):
    result = ganaug("benchmark", "photos", "--out", "out", *TINY, "--reference", "synthetic")
    assert "untreated: no benefit shown" not in result.out
    lines = map(str.rstrip, result.out.splitlines())
    reference = next(line for line in lines if line.endswith("reference"))
    assert reference.split()[0] == "synthetic"


def test_arms_without_synthetic_images_get_verdicts_where_there_are_no_others(ganaug, made):
    arguments = ("--arm", "untreated", "--arm", "mixup", "--folds", 2, "--backend", "sequential")
    result = ganaug("benchmark", "photos", "--out", "out", *arguments)
    assert result.code == 0
    assert re.search(r"^(untreated|mixup): .*against (untreated|mixup)", result.out, re.M)
    assert "Generator" not in result.out


def test_each_training_size_has_a_table(ganaug, made):
    sizes = ("--fraction", 0.25, "--fraction", 1)
    result = ganaug("benchmark", "photos", "--out", "out", *TINY, *sizes)
    assert result.code == 0
    assert result.out.count("synthetic: ") == 2
    assert ", on 25% of the training groups; 95 % interval" in " ".join(result.out.split())
    assert result.out.count("95 % interval") == 4  # a sentence and a column each


def test_five_by_five_is_no_screening(ganaug, made):
    arguments = (*TINY, "--budget", "full", "--folds", 5, "--repeats", 5)
    result = ganaug("benchmark", "photos", "--out", "out", *arguments)
    assert result.code == 0
    assert "screening" not in result.out.lower()


def test_json_is_all_there_is_on_stdout(ganaug, made):
    result = ganaug("benchmark", "photos", "--out", "out", *TINY, "--json")
    assert (result.code, result.err) == (0, "")
    record = json.loads(result.out)
    assert (record["study"], record["measure"]) == ("any", "balanced_accuracy")
    assert (record["folds"], record["repeats"], record["cells"]) == (2, 2, 12)
    assert record["screening"] is True
    assert {"arm", "mean", "low", "high", "p_holm", "words"} <= set(record["differences"][0])
    assert result.out == Path("out/results.json").read_text()
    assert len(record["differences"]) == 2
    assert "NaN" not in result.out


def test_options_change_the_study_and_its_budget(ganaug, made):
    options = ("--generator", "aegan", "--set", "latent_dim=8", "--images", 32, "--steps", 7)
    result = ganaug("benchmark", "photos", "--out", "out", *TINY, *options)
    assert result.code == 0
    assert "aegan, latent_dim=8, 32 images in each training part" in result.out
    assert "7 steps" in result.out
    with Results("out/results.sqlite") as results:
        assert results.origin.facts["study"]["settings"] == {"latent_dim": "8"}


@pytest.mark.parametrize(
    ("options", "settings", "of_budget"),
    [
        ((), {}, {"first_side": "16", "images_per_phase": "800"}),
        (("--set", "images_per_phase=9"), {"images_per_phase": "9"}, {"first_side": "16"}),
        (("--generator", "pggan"), {}, {"first_side": "16", "images_per_phase": "800"}),
        (("--generator", "dcgan", "--set", "width=9"), {"width": "9"}, {}),
    ],
)
def test_settings_of_a_budget_give_way_to_those_that_are_asked_for(options, settings, of_budget):
    names = {"--set": "settings", "--generator": "generator"}
    given = {names[option]: value for option, value in zip(*[iter(options)] * 2, strict=True)}
    if "settings" in given:
        given["settings"] = [given["settings"]]
    request = BenchmarkRequest(data="x", out=Path("out"), study="headct-pggan", **given)
    study = make_study(request, Registry.load())
    assert (study.settings, make_budget(request, study).settings) == (settings, of_budget)


def test_conditioning_and_filters_are_the_studys_unless_given():
    request = BenchmarkRequest(data="x", out=Path("out"), study="headct-pggan")
    study = make_study(request, Registry.load())
    assert (study.conditioning, study.filters) == ("per-class", ("copies",))
    given = replace(request, conditioning="conditional", filters=("copies", "discriminator"))
    study = make_study(given, Registry.load())
    assert (study.conditioning, study.filters) == ("conditional", ("copies", "discriminator"))


# --- going on -----------------------------------------------------------------------------------


def test_resume_computes_what_is_missing_and_says_the_same(ganaug, made):
    first = ganaug("benchmark", "photos", "--out", "out", *TINY)
    rows = rows_of("out/results.sqlite")
    with closing(sqlite3.connect("out/results.sqlite")) as connection, connection:
        connection.execute("DELETE FROM cells WHERE fold = 1")
    before = len(begun(Path("log")))
    second = ganaug("benchmark", "photos", "--out", "out", *TINY, "--resume")
    assert second.code == 0
    assert "12, of which 6 are done" in second.out
    assert all(key.endswith("/1") for key in begun(Path("log"))[before:])
    assert rows_of("out/results.sqlite") == rows
    assert first.out.partition("\n\n")[2] == second.out.partition("\n\n")[2]


def test_more_repeats_can_be_computed_later_and_fewer_be_looked_at(ganaug, made):
    assert ganaug("benchmark", "photos", "--out", "out", *TINY).code == 0
    more = ganaug("benchmark", "photos", "--out", "out", *TINY, "--repeats", 3, "--resume")
    assert "18, of which 12 are done" in more.out
    fewer = ganaug("benchmark", "photos", "--out", "out", *TINY, "--repeats", 1, "--resume")
    assert "6, of which 6 are done" in fewer.out
    assert len(begun(Path("log"))) == 18


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(ganaug, made, monkeypatch):
    rows = []

    def interrupted(self, cell):
        if len(begun(self.log)) == 5:
            signal.raise_signal(signal.SIGINT)
        return run(self, cell)

    run = Made.run
    with monkeypatch.context() as patch:
        patch.setattr(Made, "run", interrupted)
        result = ganaug("benchmark", "photos", "--out", "a b", *TINY, "--seed", 3)
    assert result.code == 3
    assert "Interrupted with 5 of 12 cells done; saved in a b." in result.err
    rows = rows_of("a b/results.sqlite")
    words = shlex.split(result.err.splitlines()[-1])
    assert words[:2] == ["ganaug", "benchmark"]
    result = ganaug(*words[1:])
    assert result.code == 0
    assert "12, of which 5 are done" in result.out
    assert [row for row in rows_of("a b/results.sqlite") if row in rows] == rows
    assert len(begun(Path("log"))) == 12


def test_sigterm_ends_it_as_ctrl_c_does(ganaug, made, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Made, "run", lambda self, cell: signal.raise_signal(signal.SIGTERM))
    result = ganaug("benchmark", "photos", "--out", "out", *TINY)
    assert result.code == 3
    assert "Interrupted with 0 of 12 cells done" in result.err
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_command_that_goes_on_has_every_option():
    request = BenchmarkRequest(
        data="s k.csv",
        out=Path("out"),
        fields={"group_column": "patient"},
        study="any",
        arms=("untreated", "classical+synthetic"),
        reference="untreated",
        classifier="mammo",
        generator="aegan",
        settings=("width=8",),
        conditioning="per-class",
        filters=("copies", "classifier"),
        budget="full",
        folds=4,
        repeats=2,
        fractions=(0.25, 1.0),
        steps=9,
        images=10,
        seed=1,
        backend="sequential",
        jobs=1,
        json=True,
    )
    assert request.resume_command() == (
        "ganaug benchmark 's k.csv' --out out --open group_column=patient --arm untreated "
        "--arm classical+synthetic --set width=8 --filter copies --filter classifier "
        "--fraction 0.25 --fraction 1.0 --study any --reference untreated --classifier mammo "
        "--generator aegan --conditioning per-class --budget full --folds 4 --repeats 2 "
        "--steps 9 --images 10 --seed 1 --backend sequential --jobs 1 --json --resume"
    )


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (("--study", "ham-bbc"), ["'ham-bbc'", "Did you mean 'ham-bcc'?"]),
        (("--arm", "oversampel", "--arm", "untreated"), "'oversampel'"),
        (("--generator", "dcgam"), ["'dcgam'", "'dcgan'"]),
        (("--set", "width"), "--set expects FIELD=VALUE"),
        (("--backend", "lokky"), ["'lokky'", "'loky'"]),
        (("--backend", "dask"), "dask:ADDRESS"),
        (("--backend", "sequential", "--jobs", 2), "one cell at a time"),
        (("--reference", "mixup"), ["--reference mixup", "class-weights"]),
        (("--arm", "untreated"), "nothing to compare untreated with"),
        (("--arm", "synthetic", "--arm", "synthetic-only"), "All arms have synthetic images"),
        (("--arm", "untreated", "--arm", "mixup", "--images", 9), "--images is for arms with"),
        (
            ("--arm", "untreated", "--arm", "mixup", "--filter", "classifier"),
            "--filter is for arms with",
        ),
        (("--arm", "untreated", "--arm", "untreated"), "different names"),
        (("--budget", "medium"), "'small', 'full'"),
        (("--folds", 1), "--folds"),
        (("--jobs", 0), "--jobs"),
        (("--resume",), "out holds no results of a benchmark"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(refused, arguments, mentions):
    refused("--out", "out", *arguments, mentions=mentions)


def test_a_folder_that_is_in_the_way(refused, made):
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    refused("--out", "out", *TINY, mentions="out exists already. Choose another path, remove it.")
    refused("--out", "photos", *TINY, mentions="photos exists already")


def test_results_that_are_there_are_gone_on_with_or_left_alone(ganaug, made, refused):
    assert ganaug("benchmark", "photos", "--out", "out", *TINY).code == 0
    refused("--out", "out", *TINY, mentions="remove it or go on with --resume")


def test_an_empty_folder_is_as_good_as_none(ganaug, made):
    Path("out").mkdir()
    assert ganaug("benchmark", "photos", "--out", "out", *TINY).code == 0


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (("--folds", 3), "folds was 2, and is 3 now"),
        (("--seed", 1), "seed was 0, and is 1 now"),
        (("--classifier", "mammo"), "study.classifier was small-cnn, and is mammo now"),
        (("--arm", "mixup"), "study.arms was untreated, oversample, synthetic, and is"),
    ],
)
def test_results_of_another_recipe(ganaug, made, refused, options, mentions):
    assert ganaug("benchmark", "photos", "--out", "out", *TINY).code == 0
    arguments = ("--out", "out", *TINY, *options, "--resume")
    refused(*arguments, mentions=[mentions, "results of another benchmark"])


def test_damaged_results(ganaug, made, refused):
    assert ganaug("benchmark", "photos", "--out", "out", *TINY).code == 0
    path = Path("out/results.sqlite")
    path.write_bytes(path.read_bytes()[:5000])
    refused(
        "--out", "out", *TINY, "--resume", mentions=["results.sqlite cannot be read", "damaged"]
    )


def test_a_cell_that_fails_is_one_line_and_the_others_are_kept(ganaug, made):
    made["faulty"] = ("oversample/1/1/0",)
    result = ganaug("benchmark", "photos", "--out", "out", *TINY)
    assert result.code == 2
    assert result.err == "Error: Cell oversample/1/1/0: No test image is malignant.\n"
    del made["faulty"]
    kept = rows_of("out/results.sqlite")
    assert kept
    assert ganaug("benchmark", "photos", "--out", "out", *TINY, "--resume").code == 0
    assert [row for row in rows_of("out/results.sqlite") if row in kept] == kept


def test_a_full_disk_is_one_line_and_the_others_are_kept(ganaug, made, monkeypatch):
    write = Results.add

    def add(self, outcome):
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {pages}")
        write(self, outcome)

    monkeypatch.setattr(Results, "add", add)
    result = ganaug("benchmark", "photos", "--out", "out", *TINY)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("Error: The disk is full: ")
    monkeypatch.setattr(Results, "add", write)
    assert ganaug("benchmark", "photos", "--out", "out", *TINY, "--resume").code == 0


def test_a_disk_that_is_full_at_once_leaves_nothing(refused, monkeypatch):
    connect = sqlite3.connect

    def on_a_full_disk(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(sqlite3, "connect", on_a_full_disk)
    refused("--out", "new/out", *TINY, mentions="The disk is full")


# --- time --------------------------------------------------------------------------------------


def test_time_left_follows_from_the_cells_of_this_run():
    now = [100.0]
    left = TimeLeft(30, 10, clock=lambda: now[0])
    assert (left.seconds, str(left)) == (None, "")
    now[0] += 60
    left.count()
    left.count()
    assert left.seconds == 30 * 18
    assert str(left) == "about 9:00 left"


# --- the real thing -------------------------------------------------------------------------------


def test_real_cells_from_images_to_verdict(ganaug, photos):
    """Images of noise, so that nothing can help."""
    write_images(Path("many/common"), 20)
    write_images(Path("many/rare"), 12)
    arguments = ("--arm", "untreated", "--arm", "synthetic", "--folds", 2, "--repeats", 1)
    tiny = ("--steps", 4, "--images", 32, "--set", "width=8", "--backend", "sequential")
    result = ganaug("benchmark", "many", "--out", "out", *arguments, *tiny)
    assert (result.code, result.err) == (0, "")
    assert "synthetic: no benefit shown" in result.out
    with Results("out/results.sqlite") as results:
        outcomes = results.outcomes()
    assert [outcome.details["ratio"] is None for outcome in outcomes] == [False, True] * 2
    tested = [id_ for outcome in outcomes for id_ in outcome.test.ids]
    assert len(tested) == 2 * len(set(tested)) == 2 * 32  # each image once by each arm
    again = ganaug("benchmark", "many", "--out", "out", *arguments, *tiny, "--resume")
    assert again.out.partition("\n\n")[2] == result.out.partition("\n\n")[2]
