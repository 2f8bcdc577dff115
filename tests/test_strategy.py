from __future__ import annotations

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler

from ganaug.errors import ConfigError, DataError
from ganaug.strategy import counts_to_add

NAMES = ("common", "some", "rare")
Y = np.array([0] * 30 + [1] * 12 + [2] * 5)
TWO = Y[Y != 1] // 2


def grow_rare(y):
    return {2: int((y == 0).sum())}


@pytest.mark.parametrize(
    ("strategy", "labels"),
    [
        ("auto", Y),
        ("minority", Y),
        ("not minority", Y),
        ("not majority", Y),
        ("all", Y),
        ("auto", TWO),
        ("minority", TWO),
        ("all", TWO),
        (0.5, TWO),
        (1.0, TWO),
        ({1: 20, 2: 20}, Y),
        ({0: 30, 2: 6}, Y),
        ({2: 5}, Y),
        (grow_rare, Y),
        ("auto", np.array([0, 0, 1, 1])),
    ],
)
def test_counts_are_those_of_imbalanced_learn(strategy, labels):
    theirs = RandomOverSampler(sampling_strategy=strategy, random_state=0)
    theirs.fit_resample(labels[:, None], labels)
    ours = counts_to_add(strategy, labels, NAMES[: labels.max() + 1])
    assert ours == {int(k): int(v) for k, v in theirs.sampling_strategy_.items()}


@pytest.mark.parametrize(
    ("strategy", "labels"),
    [
        ("majority", Y),
        ("most", Y),
        (0.5, Y),
        (0.01, TWO),
        (1.5, TWO),
        ({2: 3}, Y),
        ({0: -1}, Y),
        ([2], Y),
    ],
)
def test_what_imbalanced_learn_refuses_is_refused(strategy, labels):
    with pytest.raises((ValueError, TypeError)):
        RandomOverSampler(sampling_strategy=strategy).fit_resample(labels[:, None], labels)
    with pytest.raises(ConfigError, match="sampling_strategy"):
        counts_to_add(strategy, labels, NAMES[: labels.max() + 1])


def test_a_dict_may_name_classes():
    assert counts_to_add({"rare": 9, 1: 12}, Y, NAMES) == {1: 0, 2: 4}
    with pytest.raises(ConfigError, match="no class 'rar'. Did you mean 'rare'"):
        counts_to_add({"rar": 9}, Y, NAMES)
    with pytest.raises(ConfigError, match="names class 3"):
        counts_to_add({3: 9}, Y, NAMES)
    with pytest.raises(ConfigError, match="whole number; got 9.5"):
        counts_to_add({"rare": 9.5}, Y, NAMES)


def test_one_class_grows_only_to_a_stated_count():
    labels = np.zeros(4, dtype=np.int64)
    with pytest.raises(DataError, match="two classes or more; got 'image' only") as caught:
        counts_to_add("auto", labels, ("image",))
    assert """--sampling-strategy '{"image": 8}' (sampling_strategy={'image': 8}).""" in str(
        caught.value
    )
    assert counts_to_add({"image": 10}, labels, ("image",)) == {0: 6}
    with pytest.raises(ConfigError, match="cannot grow to 3"):
        counts_to_add({"image": 3}, labels, ("image",))
