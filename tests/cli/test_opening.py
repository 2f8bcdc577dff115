from __future__ import annotations

import pytest

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
