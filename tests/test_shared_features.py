from __future__ import annotations

import torch

from ganaug import FeatureExtractor
from ganaug.shared_features import SharedExtractor


class Sums(FeatureExtractor):
    """The sum of each image. Counts how often it is asked."""

    name, dimension, channels, size, dtype, resize = "sums", 1, 3, (4, 4), "uint8", "to 4 px"

    def __init__(self):
        self.asked = 0

    def extract(self, images):
        self.asked += 1
        return images.flatten(1).sum(1, keepdim=True)

    def logits(self, images):
        self.asked += 1
        return images.flatten(1)[:, :2]

    @property
    def fingerprint(self):
        return "abc"


def test_it_passes_for_the_extractor_that_it_wraps():
    shared = SharedExtractor(Sums())
    assert (shared.name, shared.dimension, shared.channels) == ("sums", 1, 3)
    assert (shared.size, shared.dtype, shared.resize) == ((4, 4), "uint8", "to 4 px")
    assert shared.fingerprint == "abc"


def test_a_batch_that_is_kept_is_looked_at_once_for_each_kind():
    sums, batch = Sums(), torch.rand(2, 3, 4, 4)
    shared = SharedExtractor(sums)
    shared.keep([batch])
    assert torch.equal(shared.extract(batch), shared.extract(batch))
    assert torch.equal(shared.logits(batch), shared.logits(batch))
    assert sums.asked == 2
    assert torch.equal(shared.extract(batch), batch.flatten(1).sum(1, keepdim=True))
    assert shared.logits(batch).shape == (2, 2)


def test_what_is_not_kept_or_forgotten_is_looked_at_anew():
    sums, batch = Sums(), torch.rand(2, 3, 4, 4)
    shared = SharedExtractor(sums)
    shared.extract(batch)
    shared.keep([batch])
    shared.extract(batch)
    shared.forget([batch])
    batch += 1
    assert torch.equal(shared.extract(batch), batch.flatten(1).sum(1, keepdim=True))
    assert sums.asked == 3
