"""``ganaug plugins check`` and ``new``."""

from __future__ import annotations

import json

import pytest

from ganaug import Config, StoppingPolicy, StoppingPolicyPlugin, hookimpl
from ganaug.registry import BrokenPlugin, Registry


class Stops(StoppingPolicy):
    """Stops before it began."""

    def __init__(self, config):
        self.patience = config.patience

    def reason_to_stop(self, history):
        return None if self.patience else "out of patience"


class StopsConfig(Config):
    patience: int = 0


class Stranger:
    @hookimpl
    def ganaug_stopping_policies(self):
        yield StoppingPolicyPlugin(name="hasty", summary="In a hurry.", config=StopsConfig,
                                   build=Stops)  # fmt: skip


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    registry = Registry([Stranger(), "ganaug.builtin.data.plugin"])
    registry._broken.append(
        BrokenPlugin(name="cracked", distribution="ganaug-cracked 1.0", reason="it raised KeyError")
    )
    monkeypatch.setattr(Registry, "load", lambda: registry)


def test_a_broken_promise_is_named_and_the_exit_code_is_two(ganaug):
    result = ganaug("plugins", "check", "hasty")
    assert result.code == 2
    assert "silent-before-the-first-step" in result.out
    assert "before the first step it said 'out of patience'" in result.out
    assert "4 of 5 checks passed." in result.out


def test_a_plugin_that_keeps_its_promises_exits_zero(ganaug):
    result = ganaug("plugins", "check", "hasty", "--set", "patience=3")
    assert (result.code, result.err) == (0, "")
    assert "5 of 5 checks passed." in result.out


def test_a_program_can_read_the_results(ganaug):
    found = json.loads(ganaug("plugins", "check", "hasty", "--json").out)
    assert found["name"] == "hasty"
    failed = [check["name"] for check in found["checks"] if check["reason"]]
    assert failed == ["silent-before-the-first-step"]


def test_a_dataset_plugin_is_checked_on_a_location(ganaug, tmp_path):
    result = ganaug("plugins", "check", "npz")
    assert result.code == 2
    assert "the dataset plugin 'npz' need something to open: give a location" in result.err


def test_a_plugin_that_could_not_be_loaded_says_why(ganaug):
    result = ganaug("plugins", "check", "cracked")
    assert result.code == 2
    assert "'cracked' of ganaug-cracked 1.0 could not be loaded: it raised KeyError" in result.err


def test_an_unknown_plugin_is_told_the_nearest(ganaug):
    result = ganaug("plugins", "check", "hastie")
    assert result.code == 2
    assert "No plugin is named 'hastie'. Did you mean 'hasty'?" in result.err


def test_a_setting_without_a_value_is_refused(ganaug):
    result = ganaug("plugins", "check", "hasty", "--set", "patience")
    assert result.code == 2
    assert "--set takes FIELD=VALUE; got 'patience'" in result.err


def test_a_new_plugin_says_what_to_do_next(ganaug, tmp_path):
    result = ganaug("plugins", "new", "mygan", "--out", tmp_path)
    assert result.code == 0
    assert f"pip install --editable {tmp_path / 'ganaug-mygan'}" in result.out
    assert "ganaug plugins check mygan" in result.out
