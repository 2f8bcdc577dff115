from dataclasses import replace

import numpy as np
import pytest
import torch

from ganaug import LabelledImages
from ganaug.benchmark.amounts import amounts, candidates, generated_classes, most
from ganaug.benchmark.task import Task, map_classes, rare_classes
from ganaug.errors import ConfigError, DataError
from ganaug.study import ARMS, Study

STUDY = Study(name="study", summary="", arms=(ARMS["untreated"],))


def make_rows(counts, *, channels=3, size=6):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    return LabelledImages(
        pixels=rng.integers(0, 256, (len(labels), channels, size, size), dtype=np.uint8),
        labels=labels,
        class_names=("nv", "mel", "bcc", "df")[: len(counts)],
        value_range=(0.0, 255.0),
    )


def test_labels_become_classes_of_the_task_in_its_order_and_others_are_left_out():
    images = make_rows([4, 3, 2, 1])
    mapped = map_classes(images, {"bcc": "malignant", "nv": "benign", "mel": "malignant"})
    assert mapped.class_names == ("malignant", "benign")
    assert mapped.labels.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert mapped.ids == images.ids[:9]
    assert np.array_equal(mapped.pixels, np.asarray(images.pixels)[:9])
    assert map_classes(images, None) is images


def test_labels_of_another_image_set_are_passed_over():
    images = make_rows([4, 3, 2])
    own = {"mel": "malignant", "nv": "benign"}
    mapped = map_classes(images, {"malignant": "malignant", **own, "benign": "benign"})
    assert mapped.class_names == ("malignant", "benign")
    assert mapped.labels.tolist() == [1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "classes",
    [
        {"nv": "other", "melanoma": "melanoma"},
        {"nv": "other", "melanoma": "melanoma", "malignant": "melanoma"},
    ],
)
def test_a_class_without_any_label_is_named_with_the_choices(classes):
    with pytest.raises(ConfigError, match=r"'melanoma' is.*Their labels are nv, mel, bcc"):
        map_classes(make_rows([4, 3, 2]), classes)


def test_a_mapping_that_leaves_no_image_is_an_error():
    with pytest.raises(DataError, match="no image of the study's labels, df"):
        map_classes(make_rows([4, 3, 2, 0]), {"df": "fibroma"})


def test_rare_classes_are_all_but_the_largest_unless_named():
    images = make_rows([3, 8, 2])
    assert rare_classes(images, STUDY) == (0, 2)
    assert rare_classes(images, replace(STUDY, rare=("bcc", "mel"))) == (1, 2)
    with pytest.raises(ConfigError, match="'melanoma'"):
        rare_classes(images, replace(STUDY, rare=("melanoma",)))


def test_classifiers_see_the_images_own_size_and_channels_unless_told():
    images = make_rows([4, 2])
    task = Task(images, STUDY)
    assert (task.size, task.channels) == ((6, 6), 3)
    expected = np.asarray(images.pixels).astype(np.float32) / 127.5 - 1
    assert task.tensor.dtype == torch.float32
    assert np.allclose(task.tensor.numpy(), expected, atol=1e-6)
    assert task.labels.tolist() == images.labels.tolist()


def test_colours_become_grey_by_their_weights_and_grey_becomes_three_channels():
    images = make_rows([1, 1])
    pixels = np.zeros((2, 3, 6, 6), dtype=np.uint8)
    pixels[0, 1] = 255
    grey = Task(replace(images, pixels=pixels), replace(STUDY, channels=1)).tensor
    assert grey.shape == (2, 1, 6, 6)
    assert grey[0].numpy() == pytest.approx(2 * 0.587 - 1, abs=1e-6)
    assert grey[1].numpy() == pytest.approx(-1, abs=1e-6)
    single = make_rows([4, 2], channels=1)
    tensor = Task(single, replace(STUDY, channels=3)).tensor
    assert tensor.shape == (6, 3, 6, 6)
    assert torch.equal(tensor[:, 0], tensor[:, 2])


def test_real_and_synthetic_images_take_the_same_way():
    images = make_rows([4, 2], size=12)
    task = Task(images, replace(STUDY, size=8, channels=1))
    assert task.tensor.shape == (6, 1, 8, 8)
    again = task.prepare(np.asarray(images.pixels), images.value_range)
    assert torch.equal(again, task.tensor)


def test_images_of_several_sizes_need_a_size():
    items = [np.zeros((1, 4, 4 + row), dtype=np.uint8) for row in range(4)]
    images = replace(make_rows([2, 2]), pixels=items)
    with pytest.raises(DataError, match="sizes"):
        Task(images, STUDY)
    assert Task(images, replace(STUDY, size=5)).size == (5, 5)


# --- how many synthetic images ----------------------------------------------------------------


def study_of(*names, **fields):
    return replace(STUDY, arms=tuple(ARMS[name] for name in names), **fields)


def test_a_ratio_of_the_gap_grows_rare_classes_towards_the_largest():
    images, rows = make_rows([9, 20, 5]), np.arange(1, 34)  # 8, 20 and 5 training rows
    arm, study = ARMS["synthetic"], study_of("synthetic")
    assert amounts(arm, study, images, rows, 1.0) == {0: 12, 2: 15}
    assert amounts(arm, study, images, rows, 0.25) == {0: 3, 2: 4}
    assert amounts(arm, study, images, rows, 0.0) == {0: 0, 2: 0}
    named = replace(study, rare=("bcc",))
    assert amounts(arm, named, images, rows, 1.5) == {2: 22}


def test_a_ratio_of_the_class_doubles_it():
    images, rows = make_rows([9, 20, 5]), np.arange(34)
    study = study_of("synthetic", ratio_of="class")
    assert amounts(ARMS["synthetic"], study, images, rows, 1.0) == {0: 9, 2: 5}
    assert amounts(ARMS["synthetic"], study, images, rows, 0.5) == {0: 4, 2: 2}


def test_before_real_images_all_classes_are_synthetic_and_equally_many():
    images, rows = make_rows([9, 20, 5]), np.arange(34)
    study = study_of("warm-start")
    assert amounts(ARMS["warm-start"], study, images, rows, 0.5) == {0: 10, 1: 10, 2: 10}


def test_instead_of_real_images_classes_are_as_large_as_they_were():
    images, rows = make_rows([9, 20, 5]), np.arange(34)
    arm = ARMS["synthetic-only"]
    assert amounts(arm, study_of("synthetic-only"), images, rows, None) == {0: 9, 1: 20, 2: 5}
    assert amounts(ARMS["classical"], STUDY, images, rows, None) == {}


def test_zero_is_always_a_candidate_and_arms_without_a_choice_have_none():
    study = study_of("synthetic", ratios=(1.0, 0.5))
    assert candidates(ARMS["synthetic"], study) == (0.0, 0.5, 1.0)
    assert candidates(ARMS["warm-start"], study) == (0.0, 0.5, 1.0)
    assert candidates(ARMS["classical"], study) == candidates(ARMS["synthetic-only"], study)
    assert candidates(ARMS["classical"], study) == (None,)


def test_generators_learn_rare_classes_or_all_where_an_arm_shows_synthetic_images_alone():
    images = make_rows([9, 20, 5])
    assert generated_classes(images, study_of("untreated", "classical+synthetic")) == (0, 2)
    assert generated_classes(images, study_of("synthetic", "synthetic-only")) == (0, 1, 2)
    assert generated_classes(images, study_of("synthetic", "warm-start")) == (0, 1, 2)


def test_most_is_what_the_largest_ratio_of_any_arm_needs():
    images, rows = make_rows([9, 20, 5]), np.arange(34)
    study = study_of("synthetic", "synthetic-only", ratios=(0.25, 1.5))
    assert most(study, images, rows) == {0: 16, 1: 20, 2: 22}
    assert most(study_of("synthetic"), images, rows) == {0: 16, 2: 22}
