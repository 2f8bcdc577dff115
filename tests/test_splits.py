"""Rows for training, validation and holdout."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ganaug.errors import ConfigError, DataError
from ganaug.spec import LabelledImages
from ganaug.splits import (
    cut_validation,
    divide,
    kept_whole,
    match_splits,
    read_splits,
    split_rows,
    splits_from_file,
    torn_apart,
    write_splits,
)


def images_of(labels, groups=None, splits=None):
    labels = np.asarray(labels)
    return LabelledImages(
        pixels=np.zeros((len(labels), 1, 2, 2), np.uint8),
        labels=labels,
        class_names=tuple(f"class {index}" for index in range(max(labels, default=0) + 1)),
        value_range=(0, 255),
        ids=tuple(f"images/{row}.png" for row in range(len(labels))),
        groups=groups,
        splits=splits,
    )


def counts_of(images, splits, split):
    return Counter(
        int(label) for label, name in zip(images.labels, splits, strict=True) if name == split
    )


@pytest.fixture
def imbalanced():
    return images_of([0] * 700 + [1] * 250 + [2] * 50)


@pytest.fixture
def patients():
    """300 patients with one to nine images each, of one class or several."""
    rng = np.random.default_rng(0)
    groups = [f"p{p}" for p in range(300) for _ in range(rng.integers(1, 10))]
    return images_of(rng.choice(3, size=len(groups), p=(0.8, 0.15, 0.05)), tuple(groups))


def test_fractions_are_met_in_every_class(imbalanced):
    splits = split_rows(imbalanced, holdout=0.2, validation=0.25, random_state=0)
    assert counts_of(imbalanced, splits, "holdout") == {0: 140, 1: 50, 2: 10}
    assert counts_of(imbalanced, splits, "validation") == {0: 140, 1: 50, 2: 10}
    assert counts_of(imbalanced, splits, "training") == {0: 420, 1: 150, 2: 30}


def test_nothing_is_cut_when_nothing_is_asked_for(imbalanced):
    assert set(split_rows(imbalanced, holdout=0, validation=0, random_state=0)) == {"training"}


def test_equal_seeds_give_equal_splits(imbalanced):
    first, again, other = (
        split_rows(imbalanced, holdout=0.2, validation=0.1, random_state=seed) for seed in (3, 3, 4)
    )
    assert first == again != other


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_classes_stratified(patients, seed):
    splits = split_rows(patients, holdout=0.2, validation=0.2, random_state=seed)
    homes = {}
    for group, split in zip(patients.groups, splits, strict=True):
        assert homes.setdefault(group, split) == split
    held = counts_of(patients, splits, "holdout")
    for label, total in Counter(patients.labels.tolist()).items():
        assert held[label] / total == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_and_the_groups_they_join_stay_whole(patients, seed):
    rows = np.random.default_rng(seed).permutation(len(patients))
    clusters = [rows[start : start + 3].tolist() for start in range(0, 300, 3)]
    splits = split_rows(patients, holdout=0.2, validation=0.2, random_state=seed, clusters=clusters)
    assert all(len({splits[row] for row in cluster}) == 1 for cluster in clusters)
    homes = {}
    for group, split in zip(patients.groups, splits, strict=True):
        assert homes.setdefault(group, split) == split
    held = counts_of(patients, splits, "holdout")
    assert sum(held.values()) / len(patients) == pytest.approx(0.2, abs=0.03)


def test_a_cluster_that_reaches_through_the_holdout_of_the_source_stays_whole_in_training():
    given = ("holdout",) * 2 + ("training",) * 18
    images = images_of([0] * 20, splits=given)
    cluster = [*range(2, 8), 0, *range(8, 14)]  # more than fits into a tenth
    for seed in range(5):
        splits = split_rows(
            images, holdout=0, validation=0.12, random_state=seed, clusters=[cluster]
        )
        assert Counter(splits) == {"holdout": 2, "training": 16, "validation": 2}
        assert {splits[row] for row in range(2, 14)} == {"training"}


def test_without_clusters_splits_are_what_they_were(patients):
    arguments = {"holdout": 0.2, "validation": 0.1, "random_state": 5}
    alone = [[row] for row in range(len(patients))]
    assert split_rows(patients, **arguments) == split_rows(patients, **arguments, clusters=alone)


def test_one_cluster_of_all_images_cannot_be_divided():
    with pytest.raises(DataError, match="in 1 group: .*groups and near duplicates stay whole"):
        split_rows(
            images_of([0] * 9), holdout=0.2, validation=0, random_state=0, clusters=[range(9)]
        )


def test_what_is_kept_whole_is_said_in_two_lines():
    images = images_of([0] * 6, ("a", "a", "a", "b", "", ""))
    assert kept_whole(images, [(0, 1), (3, 4, 5)]) == (
        "2, the largest of 3 images",
        "5 images in 2 clusters, 1 of them across groups",
    )
    given = images_of([0] * 4, splits=("training", "training", "holdout", "holdout"))
    assert kept_whole(given, [(1, 2)]) == (
        "none in the source: every image counts as independent of the others",
        "2 images in 1 cluster, 1 of them across splits of the source",
    )
    assert kept_whole(given, [])[1] == "none found"


def test_large_groups_are_not_always_held_out():
    groups = ("large",) * 20 + tuple(str(row) for row in range(80))
    images = images_of([0] * 100, groups)
    fates = {
        split_rows(images, holdout=0.3, validation=0, random_state=seed)[0] for seed in range(30)
    }
    assert fates == {"training", "holdout"}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("holdout", "validation"), [(0.05, 0.05), (0.5, 0.5), (0.95, 0)])
def test_every_class_keeps_a_training_row(seed, holdout, validation):
    images = images_of([0] * 20 + [1] * 2 + [2] + [3] * 5, ("",) * 23 + ("same",) * 5)
    splits = split_rows(images, holdout=holdout, validation=validation, random_state=seed)
    assert set(counts_of(images, splits, "training")) == {0, 1, 2, 3}
    assert splits[22] == "training"  # a class of one image
    assert set(splits[23:]) == {"training"}  # a class of one group
    assert "holdout" in splits
    assert ("validation" in splits) == (validation > 0)


def test_rows_without_a_group_stand_alone():
    images = images_of([0] * 10, ("",) * 10)
    splits = split_rows(images, holdout=0.2, validation=0, random_state=0)
    assert Counter(splits) == {"training": 8, "holdout": 2}


def test_two_large_groups_are_divided_even_when_neither_fits():
    images = images_of([0] * 60 + [0] * 40, ("a",) * 60 + ("b",) * 40)
    splits = split_rows(images, holdout=0.1, validation=0, random_state=0)
    assert Counter(splits) == {"training": 60, "holdout": 40}


@pytest.mark.parametrize(
    "images", [images_of([0] * 9, ("same",) * 9), images_of([0]), images_of([0, 1, 2])]
)
def test_a_set_that_cannot_be_divided_says_to_use_no_holdout(images):
    with pytest.raises(DataError, match="--holdout 0"):
        split_rows(images, holdout=0.2, validation=0, random_state=0)
    assert set(split_rows(images, holdout=0, validation=0, random_state=0)) == {"training"}
    with pytest.raises(DataError, match="validation"):
        split_rows(images, holdout=0, validation=0.2, random_state=0)


def test_groups_and_clusters_in_several_splits_are_counted():
    images = images_of([0] * 6, ("a", "a", "b", "b", "", ""))
    splits = ("training", "holdout", "training", "training", "holdout", "validation")
    assert torn_apart(images, splits, [(2, 3), (3, 4), (4, 5)]) == (1, 2)
    assert torn_apart(images_of([0] * 6), ("training",) * 6, [(2, 3)]) == (0, 0)


def test_splits_of_the_source_stay():
    given = ("training",) * 6 + ("holdout",) * 2
    images = images_of([0, 1] * 4, splits=given)
    assert split_rows(images, holdout=0.5, validation=0, random_state=0) == given
    with_validation = split_rows(images, holdout=0.5, validation=0.34, random_state=0)
    assert Counter(with_validation) == {"training": 4, "validation": 2, "holdout": 2}
    assert with_validation[6:] == ("holdout", "holdout")
    given = ("training",) * 6 + ("validation",) * 2
    images = images_of([0, 1] * 4, splits=given)
    assert split_rows(images, holdout=0.5, validation=0.5, random_state=0) == given


def test_a_tenth_of_the_training_rows_validates_and_the_holdout_stays():
    images = images_of([0, 1] * 100)
    before = split_rows(images, holdout=0.2, validation=0, random_state=0)
    after = cut_validation(images, before, (), random_state=0)
    assert [s == "holdout" for s in after] == [s == "holdout" for s in before]
    assert after.count("validation") == 16
    assert after == cut_validation(images, before, (), random_state=0)
    assert cut_validation(images, after, (), random_state=1) == after


def test_groups_and_near_duplicates_validate_whole():
    images = images_of([0] * 120, tuple(f"patient {row // 4}" for row in range(120)))
    clusters = [(row, row + 4) for row in range(0, 120, 8)]
    splits = np.array(cut_validation(images, ("training",) * 120, clusters, random_state=0))
    assert 0 < (splits == "validation").sum() < 30
    for first in range(0, 120, 8):  # two patients that a pair of look-alikes joins
        assert len(set(splits[first : first + 8])) == 1


def test_where_nothing_can_be_cut_for_validation_the_error_says_what_to_do():
    images = images_of([0] * 8, ("one patient",) * 8)
    with pytest.raises(DataError, match="8 training rows.*do without select='best'"):
        cut_validation(images, ("training",) * 8, (), random_state=0)


def test_unusable_splits_of_the_source_are_refused():
    with pytest.raises(DataError, match="'test'; expected training, validation, holdout"):
        split_rows(images_of([0], splits=("test",)), holdout=0, validation=0, random_state=0)
    with pytest.raises(DataError, match="no training rows"):
        split_rows(images_of([0], splits=("holdout",)), holdout=0, validation=0, random_state=0)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 20, float("nan")])
def test_a_fraction_out_of_range_is_refused(imbalanced, fraction):
    with pytest.raises(ConfigError, match="holdout must be a fraction"):
        split_rows(imbalanced, holdout=fraction, validation=0, random_state=0)
    with pytest.raises(ConfigError, match="validation must be a fraction"):
        split_rows(imbalanced, holdout=0, validation=fraction, random_state=0)


def test_splits_survive_the_round_trip(tmp_path, patients):
    splits = split_rows(patients, holdout=0.2, validation=0.1, random_state=0)
    write_splits(tmp_path / "splits.csv", patients, splits)
    read = read_splits(tmp_path / "splits.csv")
    assert match_splits(patients, read) == splits
    rows = np.arange(len(patients))[::-1]
    assert match_splits(patients.subset(rows), read) == splits[::-1]
    header, first = (tmp_path / "splits.csv").read_text().splitlines()[:2]
    assert header == "id,label,group,split"
    assert first == f"images/0.png,class {patients.labels[0]},p0,{splits[0]}"
    assert [path.name for path in tmp_path.iterdir()] == ["splits.csv"]


def test_splits_of_other_images_are_refused(imbalanced):
    splits = dict.fromkeys(imbalanced.ids, "training")
    with pytest.raises(DataError, match="1 of 1000 images have no split.*'images/5.png'"):
        match_splits(imbalanced, {k: v for k, v in splits.items() if k != "images/5.png"})
    with pytest.raises(DataError, match="1 split ids have no image.*'other.png'"):
        match_splits(imbalanced, splits | {"other.png": "training"})


def test_splits_of_other_data_with_the_same_ids_are_refused(tmp_path, imbalanced):
    splits = split_rows(imbalanced, holdout=0.2, validation=0, random_state=0)
    write_splits(tmp_path / "splits.csv", imbalanced, splits)
    assert splits_from_file(imbalanced, tmp_path / "splits.csv") == splits
    other = images_of([1] + [0] * 699 + [1] * 250 + [2] * 50)
    with pytest.raises(DataError, match="'images/0.png' is 'class 1' here and 'class 0' in "):
        splits_from_file(other, tmp_path / "splits.csv")
    with pytest.raises(DataError, match="no split"):
        splits_from_file(images_of([0] * 1001), tmp_path / "splits.csv")


def test_a_file_without_labels_is_matched_by_ids(tmp_path):
    (tmp_path / "splits.csv").write_text("split,id\nholdout,images/1.png\ntraining,images/0.png\n")
    images = images_of([0, 0])
    assert splits_from_file(images, tmp_path / "splits.csv") == ("training", "holdout")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,part\na,training\n", "needs the columns id and split; its columns are id, part"),
        ("", "its columns are none"),
        ("id,split\na,train\n", "the split 'train'; expected training"),
        ("id,split\na\n", "the split ''; expected training"),
        ("id,split\na,training\na,holdout\n", "names the id 'a' more than once"),
    ],
)
def test_unusable_files_of_splits_say_why(tmp_path, text, message):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_splits(tmp_path / "splits.csv")


def test_a_missing_file_of_splits_is_an_error(tmp_path):
    with pytest.raises(DataError, match="Cannot read the splits"):
        read_splits(tmp_path / "splits.csv")


@pytest.mark.parametrize(
    ("n", "counts", "shares"),
    [(6, [20, 10], [4, 2]), (5, [20, 10], [3, 2]), (21, [6, 6], [11, 10]), (1, [1, 2], [0, 1])],
)
def test_what_cannot_be_divided_goes_to_the_largest_remainders(n, counts, shares):
    assert divide(n, counts) == shares
