"""``ganaug plugins list`` and ``show``."""

from __future__ import annotations

import json

import pytest

from ganaug import Config, DatasetPlugin, StoppingPolicyPlugin, hookimpl
from ganaug.registry import BrokenPlugin, Registry


class SharpConfig(Config):
    """How sharp."""

    edge: int = 3


class Stranger:
    """A plugin with two records of one name."""

    @hookimpl
    def ganaug_datasets(self):
        yield DatasetPlugin(
            name="sharp", summary="Reads knives.", config=SharpConfig, open=print, claims=id
        )

    @hookimpl
    def ganaug_stopping_policies(self):
        yield StoppingPolicyPlugin(name="sharp", summary="Cuts short.", config=Config, build=print)


@pytest.fixture
def installed(monkeypatch):
    """A stranger's plugin, and a broken one, beside the built-ins."""
    registry = Registry([Stranger(), "ganaug.builtin.dcgan.plugin"])
    registry._broken.append(
        BrokenPlugin(name="cracked", distribution="ganaug-cracked 1.0", reason="no [module] glue")
    )
    monkeypatch.setattr(Registry, "load", lambda: registry)


def test_plugins_are_listed_with_their_providers(ganaug):
    result = ganaug("plugins", "list")
    assert (result.code, result.err) == (0, "")
    for name in ("dcgan", "folder", "digits", "divergence", "ganaug 0.1.0 (built-in)"):
        assert name in result.out


def test_broken_plugins_are_listed_with_their_reason(ganaug, installed):
    out = ganaug("plugins", "list").out
    for text in ("could not be loaded", "cracked", "ganaug-cracked 1.0", "no [module] glue"):
        assert text in out
    found = json.loads(ganaug("plugins", "list", "--json").out)
    assert found["broken"][0]["reason"] == "no [module] glue"
    assert found["plugins"][0] == {
        "kind": "generators",
        "name": "dcgan",
        "summary": found["plugins"][0]["summary"],
        "provider": "ganaug.builtin.dcgan.plugin",
    }


def test_a_name_in_several_kinds_is_shown_for_each(ganaug, installed):
    out = ganaug("plugins", "show", "sharp").out
    for text in ("Reads knives.", "Cuts short.", "edge = 3", "It has no fields to set."):
        assert text in out
    found = json.loads(ganaug("plugins", "show", "sharp", "--json").out)
    assert [item["kind"] for item in found] == ["datasets", "stopping_policies"]
    assert found[0]["fields"] == [
        {"name": "edge", "type": "int", "default": "3", "description": ""}
    ]


def test_fields_are_shown_with_what_their_author_wrote(ganaug):
    out = ganaug("plugins", "show", "dcgan").out
    assert "loss = bce\n    bce | hinge | relativistic" in out
    assert "\n    None: with hinge only (Miyato et al. 2018)" in out
    assert "--set preset=..." in out
