"""ganaug: grow rare image classes with generative models, and find out whether it helped."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ganaug.augmenter import SyntheticAugmenter
    from ganaug.config import Config
    from ganaug.evaluator import Evaluator, FeatureEvaluator, FeatureExtractor
    from ganaug.generator import Generator, Loss, Phase
    from ganaug.hookspecs import hookimpl
    from ganaug.plugins import (
        DatasetPlugin,
        EvaluatorPlugin,
        FeatureExtractorPlugin,
        GeneratorPlugin,
        StoppingPolicyPlugin,
    )
    from ganaug.registry import Registry
    from ganaug.spec import Batch, ImageSpec, LabelledImages
    from ganaug.stopping import AllOf, AnyOf, History, Progress, StoppingPolicy
    from ganaug.study import Arm, Budget, Reported, Study
    from ganaug.training import Training, train

#: Where each public name lives; imported when it is first used (PEP 562), so that
#: ``import ganaug`` stays quick and has no effects.
_HOMES = {
    "AllOf": "stopping",
    "AnyOf": "stopping",
    "Arm": "study",
    "Batch": "spec",
    "Budget": "study",
    "Config": "config",
    "DatasetPlugin": "plugins",
    "Evaluator": "evaluator",
    "EvaluatorPlugin": "plugins",
    "FeatureEvaluator": "evaluator",
    "FeatureExtractor": "evaluator",
    "FeatureExtractorPlugin": "plugins",
    "Generator": "generator",
    "GeneratorPlugin": "plugins",
    "History": "stopping",
    "ImageSpec": "spec",
    "LabelledImages": "spec",
    "Loss": "generator",
    "Phase": "generator",
    "Progress": "stopping",
    "Registry": "registry",
    "Reported": "study",
    "StoppingPolicy": "stopping",
    "StoppingPolicyPlugin": "plugins",
    "Study": "study",
    "SyntheticAugmenter": "augmenter",
    "Training": "training",
    "hookimpl": "hookspecs",
    "train": "training",
}

__all__ = [
    "AllOf",
    "AnyOf",
    "Arm",
    "Batch",
    "Budget",
    "Config",
    "DatasetPlugin",
    "Evaluator",
    "EvaluatorPlugin",
    "FeatureEvaluator",
    "FeatureExtractor",
    "FeatureExtractorPlugin",
    "Generator",
    "GeneratorPlugin",
    "History",
    "ImageSpec",
    "LabelledImages",
    "Loss",
    "Phase",
    "Progress",
    "Registry",
    "Reported",
    "StoppingPolicy",
    "StoppingPolicyPlugin",
    "Study",
    "SyntheticAugmenter",
    "Training",
    "hookimpl",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
