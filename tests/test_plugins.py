from __future__ import annotations

import dataclasses

import pytest

from ganaug import (
    Config,
    DatasetPlugin,
    EvaluatorPlugin,
    FeatureExtractorPlugin,
    GeneratorPlugin,
    StoppingPolicyPlugin,
)
from ganaug.errors import PluginError

RECORDS = [
    DatasetPlugin,
    EvaluatorPlugin,
    FeatureExtractorPlugin,
    GeneratorPlugin,
    StoppingPolicyPlugin,
]
every_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)


def make(record, **changes):
    fields = {"name": "my-plugin-2", "summary": "Mine.", "config": Config}
    return record(**{**fields, **dict.fromkeys(callables(record), print), **changes})


def callables(record):
    known = {"name", "summary", "config"}
    return [field.name for field in dataclasses.fields(record) if field.name not in known]


@every_record
def test_a_record_is_frozen_and_has_no_room_for_more(record):
    made = make(record)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"
    assert not hasattr(made, "__dict__")


@every_record
def test_a_record_takes_keywords_only(record):
    with pytest.raises(TypeError, match="positional"):
        record("my-plugin", "Mine.", Config)


@every_record
@pytest.mark.parametrize("name", ["", "My", "a_b", "-a", "a-", "a--b", "a b", "a\n", "ä"])
def test_a_name_that_a_command_line_could_not_take_is_refused(record, name):
    with pytest.raises(PluginError, match="lower-case letters, digits and single hyphens; got"):
        make(record, name=name)


@every_record
@pytest.mark.parametrize("config", [dict, Config(), None], ids=["dict", "instance", "None"])
def test_a_config_must_be_a_class_of_ours(record, config):
    with pytest.raises(PluginError, match="'my-plugin-2' needs a config class derived from"):
        make(record, config=config)
