from __future__ import annotations

import gc
import multiprocessing
import os
import pickle

import numpy as np
import pytest

from ganaug.errors import RunError
from ganaug.pool import Pool


def make_pool(counts, wanted=None):
    batches = [(label, np.full((n, 1, 2, 2), label, np.uint8)) for label, n in counts.items()]
    return Pool.write((1, 2, 2), np.dtype(np.uint8), wanted or counts, batches)


def test_rows_of_a_class_lie_together():
    pool = make_pool({3: 2, 1: 4})
    assert len(pool) == 6
    assert pool.labels.tolist() == [3, 3, 1, 1, 1, 1]
    assert pool.take(1, np.array([0, 3])).shape == (2, 1, 2, 2)
    assert (pool.take(1, np.array([3])) == 1).all()
    assert (pool.rows(1) == 3).all()
    assert (pool.rows(2) == 1).all()


def test_a_class_that_fell_short_moves_the_next_one_up():
    pool = make_pool({3: 1, 1: 2}, wanted={3: 5, 1: 2})
    assert pool.counts == {3: 1, 1: 2}
    assert (pool.take(1, np.array([0, 1])) == 1).all()


def test_an_empty_pool_is_empty():
    assert len(make_pool({})) == 0
    assert len(make_pool({}, wanted={1: 3})) == 0


def test_it_is_pickled_as_path_and_shape_and_opened_where_it_is_read():
    pool = make_pool({0: 1000})
    pool.rows(0)
    text = pickle.dumps(pool)
    assert len(text) < 500
    assert (pickle.loads(text).rows(999) == 0).all()


def read_and_drop(pool, queue):
    queue.put(int(pool.rows(0).sum()))
    del pool
    gc.collect()


# Python warns of fork() beside threads; data loaders fork all the same.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_that_ends_leaves_the_file(method):
    pool = make_pool({2: 3})
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    worker = context.Process(target=read_and_drop, args=(pool, queue))
    worker.start()
    assert queue.get(timeout=60) == 8
    worker.join()
    assert pool.path.exists()


def test_the_file_goes_with_its_pool_and_a_reader_says_so():
    pool = make_pool({0: 1})
    text = pickle.dumps(pool)
    folder = pool.path.parent
    del pool
    gc.collect()
    assert not os.path.exists(folder)  # noqa: PTH110  # the path object went with the pool
    with pytest.raises(RunError, match="are gone"):
        pickle.loads(text).rows(0)
