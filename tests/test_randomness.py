from __future__ import annotations

import pytest
import torch

from ganaug.randomness import seeded


def test_the_block_is_seeded_and_the_callers_state_comes_back():
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.randn(4)
    with seeded(3):
        assert torch.equal(torch.randn(4), first)
    with pytest.raises(KeyError), seeded(4):
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)
