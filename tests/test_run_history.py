"""History on disk: what a rollback or a torn line made void is not read again."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ganaug import History, Progress
from ganaug.runs import Run


def record(step, loss=0.0):
    return Progress(images_seen=step * 10, step=step, epoch=0, losses={"g/g": loss})


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, config=None)


def test_steps_done_again_replace_those_that_were_rolled_back(run):
    history = History()
    for step, loss in ((1, 0.0), (2, 0.1), (3, 9.0), (2, 0.2), (3, 0.3)):
        history.record(record(step, loss))
        run.append_history(None, record(step, loss))
    assert [(each.step, each.losses["g/g"]) for each in history] == [(1, 0.0), (2, 0.2), (3, 0.3)]
    assert run.read_history(None, until_step=3) == history
    run.append_history(None, record(4))
    assert run.read_history(None, until_step=2) == history[:2]


def test_a_torn_last_line_is_dropped_and_the_file_is_cut(run):
    for step in (1, 2):
        run.append_history(None, record(step))
    path = run.path / "history.jsonl"
    path.write_text(path.read_text() + json.dumps(dataclasses.asdict(record(3)))[:-9])
    assert [each.step for each in run.read_history(None, until_step=9)] == [1, 2]
    assert len(path.read_text().splitlines()) == 2
