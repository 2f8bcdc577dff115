from __future__ import annotations

from pathlib import Path

import pytest

from cli.scenes import TINY
from ganaug.cli.opening import open_fields
from ganaug.errors import ConfigError


def test_options_become_fields_of_the_dataset_plugin():
    fields = open_fields(["group_column=patient", "every = 2"], "40,80", allow_burned_in=True)

    assert fields == {
        "group_column": "patient",
        "every": "2",
        "window": "40,80",
        "allow_burned_in": "true",
    }


def test_nothing_given_is_no_field():
    assert open_fields(None) == {}


@pytest.mark.parametrize(
    ("assignments", "window", "message"),
    [
        (["patient"], None, "--open expects FIELD=VALUE"),
        (["a=1", "a=2"], None, "--open gives 'a' twice"),
        (["window=bone"], "brain", "Give --window or --open window=..., not both"),
    ],
)
def test_what_cannot_be_meant_is_refused(assignments, window, message):
    with pytest.raises(ConfigError, match=message):
        open_fields(assignments, window)


def test_a_run_goes_on_with_the_fields_it_was_opened_with(ganaug, photos):
    rows = [f"common/{n}.png,a,p{n}" for n in range(12)] + [
        f"rare/{n}.png,b,q{n}" for n in range(5)
    ]
    (photos / "labels.csv").write_text("path,label,patient\n" + "\n".join(rows) + "\n")
    opening = ("--open", "file_column=path", "--open", "group_column=patient")
    assert ganaug("fit", photos, "--out", "run", *opening, *TINY).code == 0

    resumed = ganaug("fit", photos, "--out", "run", "--resume", "--images", 128)
    other = ganaug("fit", photos, "--out", "run", "--resume", "--open", "group_column=label")

    assert resumed.code == 0
    assert (other.code, "--open group_column is patient in this run" in other.err) == (2, True)


def test_a_field_that_the_source_lacks_is_refused_and_nothing_is_written(ganaug, photos):
    result = ganaug("fit", photos, "--out", "run", "--window", "brain", *TINY)

    assert result.code == 2
    assert "window" in result.err
    assert not Path("run").exists()
