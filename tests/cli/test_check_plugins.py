"""``ganaug plugins check`` and ``new``."""

from __future__ import annotations

import json

import pytest

from ganaug import Arm, Config, StoppingPolicy, StoppingPolicyPlugin, Study, hookimpl
from ganaug.registry import BrokenPlugin, Registry
from ganaug.testing.checks import Check, expect


class Stops(StoppingPolicy):
    """Stops before it began."""

    def __init__(self, config):
        self.patience = config.patience

    def reason_to_stop(self, history):
        return None if self.patience else "out of patience"


class StopsConfig(Config):
    patience: int = 0


class NeedyConfig(Config):
    images: int
    losses: str


class Stranger:
    @hookimpl
    def ganaug_stopping_policies(self):
        yield StoppingPolicyPlugin(name="hasty", summary="In a hurry.", config=StopsConfig,
                                   build=Stops)  # fmt: skip
        yield StoppingPolicyPlugin(name="shared", summary="Two kinds.", config=StopsConfig,
                                   build=Stops)  # fmt: skip
        yield StoppingPolicyPlugin(name="needy", summary="Asks much.", config=NeedyConfig,
                                   build=Stops)  # fmt: skip

    @hookimpl
    def ganaug_studies(self):
        for name in ("mine", "shared"):
            yield Study(name=name, summary="Mine.", arms=(Arm(name="a", summary="A."),))


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    registry = Registry([Stranger(), "ganaug.builtin.data.plugin", "ganaug.builtin.dcgan.plugin"])
    registry._broken.append(
        BrokenPlugin(name="cracked", distribution="ganaug-cracked 1.0", reason="it raised KeyError")
    )
    monkeypatch.setattr(Registry, "load", lambda: registry)


def test_a_broken_promise_is_named_and_the_exit_code_is_two(ganaug):
    result = ganaug("plugins", "check", "hasty")
    assert result.code == 2
    assert "silent-before-the-first-step" in result.out
    assert "before the first step it said 'out of patience'" in result.out
    assert "5 of 6 checks passed." in result.out


def test_a_plugin_that_keeps_its_promises_exits_zero(ganaug):
    result = ganaug("plugins", "check", "hasty", "--set", "patience=3")
    assert (result.code, result.err) == (0, "")
    assert "6 of 6 checks passed." in result.out


def test_a_program_can_read_the_results(ganaug):
    (found,) = json.loads(ganaug("plugins", "check", "hasty", "--json").out)
    assert found["name"] == "hasty"
    failed = [check["name"] for check in found["checks"] if check["reason"]]
    assert failed == ["silent-before-the-first-step"]


def test_a_program_can_read_the_results_of_a_name_of_two_kinds(ganaug):
    result = ganaug("plugins", "check", "shared", "--json")
    found = json.loads(result.out)
    assert [item["kind"] for item in found] == ["stopping_policies", "studies"]
    assert result.code == 2  # the stopping policy fails
    assert [any(check["reason"] for check in item["checks"]) for item in found] == [True, False]


def test_a_dataset_plugin_is_checked_on_a_location(ganaug, tmp_path):
    result = ganaug("plugins", "check", "npz")
    assert result.code == 2
    assert "the dataset plugin 'npz' need something to open: give a location" in result.err
    assert "on the command line --location PATH" in result.err


def test_a_study_has_no_fields_to_set(ganaug):
    result = ganaug("plugins", "check", "mine", "--set", "a=b")
    assert (result.code, result.out) == (2, "")
    assert "A study has no fields to set." in result.err


def test_fields_that_are_needed_are_asked_for_once(ganaug):
    result = ganaug("plugins", "check", "needy")
    assert (result.code, result.out) == (2, "")
    assert "The checks of 'needy' need values of images, losses: give settings" in result.err
    assert "--set images=... --set losses=..." in result.err


def test_a_size_is_of_generators_and_feature_extractors(ganaug):
    result = ganaug("plugins", "check", "hasty", "--size", "48")
    assert (result.code, result.out) == (2, "")
    assert "Only generators and feature extractors are tried with images of a size" in result.err


def test_generators_are_tried_with_images_of_a_size(ganaug, monkeypatch):
    monkeypatch.setattr("ganaug.testing.generators.CHECKS", {"size": Check("size", "", asked_for)})
    result = ganaug("plugins", "check", "dcgan", "--size", "48")
    assert "asked for 48" in result.out


def asked_for(subject):
    expect(False, f"asked for {subject.size}")


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


def test_a_new_plugin_has_a_name_of_its_own(ganaug, tmp_path):
    result = ganaug("plugins", "new", "dcgan", "--out", tmp_path)
    assert result.code == 2
    assert "There is a generator 'dcgan' already. Choose another name." in result.err
    assert list(tmp_path.iterdir()) == []
