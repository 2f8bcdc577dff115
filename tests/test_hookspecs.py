from __future__ import annotations

import inspect
import re
import sys
import textwrap
from types import ModuleType

import numpy as np
import pytest
import torch

from ganaug import Generator, History, ImageSpec, Progress, Registry, hookspecs
from ganaug.registry import KINDS

HOOKS = [name for name in vars(hookspecs.Hooks) if name.startswith("ganaug_")]

#: Stands for the network.py that the generator's example imports when it builds.
NETWORK = """
import torch
from ganaug import Generator

class MyGAN(Generator):
    def __init__(self, config, spec):
        super().__init__()
        self.spec = spec
        self.network = torch.nn.Linear(config.latent_dim, 1)

    def phases(self):
        return ()

    def sample(self, labels, *, rng):
        return torch.zeros(len(labels), *self.spec.shape)
"""


def code_of(hook):
    docstring = inspect.getdoc(getattr(hookspecs.Hooks, hook))
    return textwrap.dedent(docstring.split("::\n", 1)[1])


@pytest.fixture
def example(monkeypatch):
    """Execute a hook's docstring example as a module; return the registry that holds it."""

    def run(hook):
        package = f"example_{hook}"
        for name, text in (
            (package, ""),
            (f"{package}.network", NETWORK),
            (f"{package}.plugin", code_of(hook)),
        ):
            module = ModuleType(name)
            module.__package__ = package
            module.__path__ = []
            monkeypatch.setitem(sys.modules, name, module)
            exec(compile(text, name, "exec"), vars(module))
        return Registry([module])

    return run


def test_there_is_a_hook_for_every_kind():
    assert [f"ganaug_{kind}" for kind in KINDS] == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_takes_nothing_and_its_docstring_has_one_whole_example(hook, example):
    assert not inspect.signature(getattr(hookspecs.Hooks, hook)).parameters
    assert re.search(rf"@hookimpl\ndef {hook}\(\):", code_of(hook))
    listings = example(hook).listings
    assert [f"ganaug_{item.kind}" for item in listings] == [hook]
    assert listings[0].summary.endswith(".")


def test_the_generator_example_builds(example):
    record = example("ganaug_generators").generators["mygan"]
    spec = ImageSpec(channels=1, height=16, width=16, class_names=("a",))
    generator = record.build(record.config(latent_dim=3), spec)
    assert isinstance(generator, Generator)
    assert generator.network.in_features == 3


def test_the_dataset_example_claims_and_opens_its_own(example, tmp_path):
    record = example("ganaug_datasets").datasets["npy"]
    location = tmp_path / "images.npy"
    np.save(location, np.zeros((3, 1, 4, 5), dtype=np.uint8))
    assert record.claims(location) > 0
    assert record.claims(tmp_path) == 0
    images = record.open(record.config(label="cell"), location)
    assert images.counts == {"cell": 3}
    assert images.spec.shape == (1, 4, 5)


def test_the_evaluator_example_measures(example):
    record = example("ganaug_evaluators").evaluators["brightness"]
    evaluator = record.build(record.config(), None)
    for _ in range(2):
        evaluator.reset()
        evaluator.update(torch.full((2, 1, 4, 4), 0.5), role="holdout")
        evaluator.update(torch.full((3, 1, 4, 4), -0.25), role="synthetic")
        evaluator.update(torch.ones((9, 1, 4, 4)), role="train")
        assert evaluator.compute() == {"brightness-gap": pytest.approx(0.75)}


def test_the_feature_extractor_example_extracts(example):
    record = example("ganaug_feature_extractors").feature_extractors["thumbnails"]
    spec = ImageSpec(channels=3, height=16, width=16, class_names=("a",))
    extractor = record.build(record.config(), spec)
    assert extractor.extract(torch.zeros(2, 3, 16, 16)).shape == (2, extractor.dimension)
    assert extractor.fingerprint


def test_the_stopping_policy_example_stops(example):
    record = example("ganaug_stopping_policies").stopping_policies["max-passes"]
    policy = record.build(record.config(epochs=2))
    history = History()
    assert policy.reason_to_stop(history) is None
    history.append(Progress(images_seen=1, step=1, epoch=1, losses={}))
    assert policy.reason_to_stop(history) is None
    history.append(Progress(images_seen=2, step=2, epoch=2, losses={}))
    assert policy.reason_to_stop(history) == "2 epochs are over"


def test_the_study_example_has_arms(example):
    study = example("ganaug_studies").studies["my-study"]
    assert [arm.name for arm in study.arms] == ["untreated", "synthetic"]
