"""Metrics by name, on feature vectors that pass for images of one pixel."""

from __future__ import annotations

import torch

from ganaug import FeatureExtractor, Registry

#: The metrics that torch-fidelity has, and the inception score of pairs.
METRICS = ("kid", "fid", "prc", "is", "pairwise-is")


class Pixels(FeatureExtractor):
    """The pixels themselves, as features and as logits."""

    name = "pixels"
    fingerprint = "pixels"

    def extract(self, images):
        return images.flatten(1)

    def logits(self, images):
        return images.flatten(1)


class PixelsWithoutLogits(FeatureExtractor):
    name = "features-only"
    fingerprint = "features-only"

    def extract(self, images):
        return images.flatten(1)


def build(name, extractor=None, **fields):
    plugin = Registry(["ganaug.builtin.metrics.plugin"]).evaluators[name]
    return plugin.build(plugin.config(**fields), extractor or Pixels())


def score(name, synthetic, real, *, batch=10_000, extractor=None, **fields):
    """Scores of float32 feature vectors (N, D), given in batches as images of one pixel."""
    evaluator = build(name, extractor, **fields)
    for role, features in (("synthetic", synthetic), ("holdout", real)):
        for part in features[:, :, None, None].split(batch):
            evaluator.update(part, role=role)
    return evaluator.compute()


def samples(n_synthetic, n_real, dimension, *, shift=0.3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    synthetic = 1.2 * torch.randn(n_synthetic, dimension, generator=rng) + shift
    return synthetic.relu(), torch.randn(n_real, dimension, generator=rng).relu()
