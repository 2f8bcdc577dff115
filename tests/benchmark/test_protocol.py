from dataclasses import replace

import numpy as np
import pytest

from ganaug import LabelledImages
from ganaug.benchmark.protocol import Protocol, deal, folds
from ganaug.errors import ConfigError, DataError
from ganaug.study import Arm, Budget, Study

STUDY = Study(name="study", summary="", arms=(Arm(name="untreated", summary=""),))
BUDGET = Budget(folds=3, repeats=2)


def make_rows(counts, groups=None):
    labels = np.repeat(np.arange(len(counts)), counts)
    return LabelledImages(
        pixels=np.zeros((len(labels), 1, 1, 1), dtype=np.uint8),
        labels=labels,
        class_names=tuple("abcdefg"[: len(counts)]),
        value_range=(0.0, 255.0),
        groups=groups,
    )


def grouped(n_groups=60, seed=0):
    """Groups of one to six images, most of them of several classes; c is rare."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, n_groups)
    groups = np.repeat([f"g{i}" for i in range(n_groups)], sizes)
    labels = rng.choice(3, size=len(groups), p=[0.7, 0.2, 0.1])
    order = np.argsort(labels, kind="stable")
    images = make_rows(np.bincount(labels).tolist(), tuple(groups[order].tolist()))
    return replace(images, labels=labels[order])


def parts_of(fold):
    return fold.training, fold.validation, fold.test


def shares(images, rows):
    counts = np.bincount(images.labels[rows], minlength=len(images.class_names))
    return counts / np.bincount(images.labels)


def test_every_row_is_tested_once_a_repeat_and_is_in_one_part_of_each_fold():
    images = make_rows([40, 13, 9])
    found = folds(images, STUDY, BUDGET, seed=0)
    assert [(fold.repeat, fold.fold) for fold in found] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)
    ]  # fmt: skip
    for repeat in range(2):
        tested = np.concatenate([fold.test for fold in found if fold.repeat == repeat])
        assert sorted(tested) == list(range(len(images)))
    for fold in found:
        assert sorted(np.concatenate(parts_of(fold))) == list(range(len(images)))


def test_classes_are_in_proportion_in_every_part():
    images = make_rows([400, 60, 15])
    for fold in folds(images, STUDY, BUDGET, seed=0):
        assert np.bincount(images.labels[fold.test]).tolist()[1:] == [20, 5]
        assert shares(images, fold.validation) == pytest.approx(2 / 3 * 0.2, abs=0.01)


def test_groups_and_clusters_stay_whole():
    images = grouped()
    clusters = [(0, len(images) - 1), (3, 70, 90)]
    for fold in folds(images, STUDY, BUDGET, seed=0, clusters=clusters):
        part = np.empty(len(images), dtype=int)
        for number, rows in enumerate(parts_of(fold)):
            part[rows] = number
        for group in set(images.groups):
            assert len({p for p, g in zip(part, images.groups, strict=True) if g == group}) == 1
        for rows in clusters:
            assert len(set(part[list(rows)])) == 1


def test_groups_of_several_classes_are_dealt_in_proportion():
    images = grouped()
    for fold in folds(images, STUDY, BUDGET, seed=0):
        assert shares(images, fold.test) == pytest.approx(1 / 3, abs=0.06)
        assert shares(images, fold.validation) == pytest.approx(2 / 15, abs=0.06)


def test_folds_follow_from_seed_and_repeat_alone():
    images = make_rows([40, 13, 9])
    short = folds(images, STUDY, BUDGET, seed=5)
    long = folds(images, STUDY, replace(BUDGET, repeats=4), seed=5)
    for one, same in zip(short, long[: len(short)], strict=True):
        for rows, again in zip(parts_of(one), parts_of(same), strict=True):
            assert np.array_equal(rows, again)
    tests = {tuple(fold.test) for fold in (*long, *folds(images, STUDY, BUDGET, seed=6))}
    assert len(tests) == len(long) + len(short)


def test_a_share_is_rounded_to_the_nearest():
    labels = np.repeat([0, 1], [7, 3])
    bundles = [np.array([row]) for row in range(10)]
    parts = deal(labels, bundles, [0.8, 0.2], np.random.default_rng(0))
    assert np.bincount(parts[:7]).tolist() == [6, 1]
    assert np.bincount(parts[7:]).tolist() == [2, 1]


def test_fractions_are_nested_in_proportion_and_of_whole_groups():
    images = grouped(200)
    protocol = Protocol(images, STUDY, BUDGET, 0)
    fold = protocol.folds[1, 2]
    before = np.empty(0, dtype=int)
    for fraction in (0.1, 0.3, 0.5, 0.9, 1.0):
        rows = protocol.training(fold, fraction)
        assert set(before) <= set(rows) <= set(fold.training)
        inside = {images.groups[row] for row in rows}
        assert not inside & {images.groups[row] for row in set(fold.training) - set(rows)}
        expected = fraction * shares(images, fold.training)
        assert shares(images, rows) == pytest.approx(expected, abs=0.1)
        before = rows
    assert np.array_equal(before, fold.training)


def test_a_fraction_leaves_every_class_two_images():
    protocol = Protocol(make_rows([300, 9]), STUDY, BUDGET, 0)
    for fold in protocol.folds.values():
        rows = protocol.training(fold, 0.1)
        assert np.bincount(protocol.images.labels[rows]).tolist() == [16, 2]


def test_fractions_differ_between_folds_and_not_between_calls():
    protocol = Protocol(make_rows([60, 30]), STUDY, BUDGET, 0)
    first, second = (protocol.folds[0, number] for number in (0, 1))
    assert np.array_equal(protocol.training(first, 0.5), protocol.training(first, 0.5))
    shared = np.intersect1d(first.training, second.training)
    ours, theirs = (np.isin(shared, protocol.training(f, 0.5)) for f in (first, second))
    assert not np.array_equal(ours, theirs)


def test_rows_of_a_group_or_a_cluster_have_one_name():
    images = make_rows([8, 8], ("p", "p", *[""] * 7, "1", "1", *[""] * 5))
    protocol = Protocol(images, STUDY, Budget(folds=2, repeats=1), 0, clusters=[(2, 3)])
    assert protocol.groups[:5] == ("p", "p", "image 2", "image 2", "image 4")
    assert protocol.groups[9:12] == ("1", "1", "image 11")
    alone = Protocol(replace(images, groups=None), STUDY, Budget(folds=2, repeats=1), 0)
    assert alone.groups == images.ids


def test_fewer_groups_than_folds_are_an_error_that_says_what_to_do():
    images = make_rows([6, 6], tuple("xxxyyyxxxyyy"))
    with pytest.raises(DataError, match=r"3 folds need 3 groups.*there are 2 groups.*--folds 2"):
        folds(images, STUDY, BUDGET, seed=0)


def test_a_class_of_fewer_groups_than_folds_is_named():
    with pytest.raises(DataError, match=r"Class 'c' would be absent.*there are 2 images of it"):
        folds(make_rows([40, 13, 2]), STUDY, BUDGET, seed=0)
    one = make_rows([9, 4], ("", *"abcdefgh", *"xxxx"))
    with pytest.raises(DataError, match=r"Class 'b'.*there is 1 group of it.*Give more images"):
        folds(one, STUDY, BUDGET, seed=0)


def test_a_class_that_cannot_be_trained_and_validated_is_named():
    with pytest.raises(DataError, match=r"Class 'b' has 0 images in the validation part of fold"):
        folds(make_rows([40, 3]), STUDY, BUDGET, seed=0)


def test_a_class_that_only_comes_with_rarer_ones_can_miss_a_fold_and_is_named():
    # b has three groups, of one image each beside many of the rarer c
    images = make_rows([30, 9, 8], (*map(str, range(30)), *"xxxyyyzzz", *"xxxxxxxx"))
    mixed = replace(images, labels=np.repeat([0, 1, 2], [30, 9, 8]))
    with pytest.raises(DataError, match="Class 'c' would be absent from a test fold"):
        folds(mixed, STUDY, BUDGET, seed=0)


def test_one_class_is_no_task():
    with pytest.raises(DataError, match="one class is 'a'"):
        folds(make_rows([40]), STUDY, BUDGET, seed=0)


@pytest.mark.parametrize(("budget", "study"), [
    (replace(BUDGET, folds=1), STUDY),
    (replace(BUDGET, repeats=0), STUDY),
    (BUDGET, replace(STUDY, validation=0.0)),
    (BUDGET, replace(STUDY, validation=1.0)),
])  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(budget, study):
    with pytest.raises(ConfigError, match=r"at least|between"):
        folds(make_rows([40, 40]), study, budget, seed=0)


def test_a_fraction_too_small_for_a_class_names_it():
    # b only comes in groups with c, which is rarer; most of these groups have one b
    groups = [f"g{i}" for i in range(9)]
    b = [*groups[:6], *np.repeat(groups[6:], 20)]
    c = [*np.repeat(groups[:6], 2), *groups[6:]]
    images = make_rows([60, len(b), len(c)], (*map(str, range(60)), *b, *c))
    protocol = Protocol(images, STUDY, BUDGET, 0)
    with pytest.raises(DataError, match=r"Class 'b' has 1 image in 0.1 of the training.*larger"):
        [protocol.training(fold, 0.1) for fold in protocol.folds.values()]


@pytest.mark.shared_data
def test_women_of_the_mammography_set_stay_whole_and_classes_in_proportion(shared_data):
    from ganaug.registry import Registry
    from ganaug.sources import open_images

    images = open_images(str(shared_data / "mias_patches" / "labels.csv"), Registry.load())
    for fold in folds(images, STUDY, Budget(folds=5, repeats=1), seed=0):
        women = [{images.groups[row] for row in rows} for rows in parts_of(fold)]
        assert len(set.union(*women)) == sum(map(len, women))
        assert shares(images, fold.test) == pytest.approx(0.2, abs=0.05)
