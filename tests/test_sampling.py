from __future__ import annotations

import numpy as np

from ganaug.sampling import BalancedSampler

LABELS = np.array([0] * 50 + [1] * 5 + [2] * 2)


def test_classes_come_up_equally_often():
    rows = BalancedSampler(LABELS, seed=0).draw(300)
    assert np.bincount(LABELS[rows]).tolist() == [100, 100, 100]


def test_every_row_of_a_class_comes_up_before_any_comes_again():
    rows = BalancedSampler(LABELS, seed=0).draw(150)
    common = rows[LABELS[rows] == 0]
    assert sorted(common.tolist()) == list(range(50))


def test_passes_are_shuffled_anew_and_the_seed_decides():
    sampler = BalancedSampler(np.zeros(20, dtype=np.int64), seed=0)
    first, second = sampler.draw(20).tolist(), sampler.draw(20).tolist()
    assert first != second
    assert sorted(first) == sorted(second)
    assert BalancedSampler(np.zeros(20, dtype=np.int64), seed=1).draw(20).tolist() != first


def test_the_stream_goes_on_from_a_position_whatever_the_batches_were():
    whole = BalancedSampler(LABELS, seed=3).draw(400)
    resumed = BalancedSampler(LABELS, seed=3)
    resumed.position = 123
    parts = [resumed.draw(n) for n in (1, 50, 226)]
    assert np.concatenate(parts).tolist() == whole[123:].tolist()
