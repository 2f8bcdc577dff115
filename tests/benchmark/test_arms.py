from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import make_images

from ganaug import Arm, Registry, Study
from ganaug.benchmark.task import map_classes
from ganaug.errors import ConfigError
from ganaug.study import ARMS


@pytest.fixture
def study() -> Study:
    return Study(name="mine", summary="Mine.", arms=(ARMS["untreated"],))


def test_every_arm_of_the_benchmark_is_there_under_its_name():
    assert tuple(ARMS) == (
        "untreated",
        "downsample",
        "oversample",
        "class-weights",
        "classical",
        "mixup",
        "synthetic",
        "classical+synthetic",
        "synthetic-only",
        "warm-start",
    )
    assert all(arm.name == name and arm.summary for name, arm in ARMS.items())


def test_no_two_arms_are_the_same_treatment():
    def treatment(arm: Arm) -> tuple[object, ...]:
        return (arm.sampling, arm.class_weights, arm.classical, arm.mixup, arm.synthetic)

    assert len({treatment(arm) for arm in ARMS.values()}) == len(ARMS)


def test_only_arms_with_synthetic_images_need_a_generator():
    needing = {name for name, arm in ARMS.items() if arm.needs_generator}
    assert needing == {"synthetic", "classical+synthetic", "synthetic-only", "warm-start"}


def test_three_treatments_can_be_one_arm(study):
    (arm,) = study.with_arms(("oversample+classical+synthetic",), ARMS).arms
    assert arm.name == "oversample+classical+synthetic"
    assert (arm.sampling, arm.classical, arm.synthetic) == ("oversample", True, "beside")


def test_an_arm_that_is_a_sum_is_what_its_parts_make(study):
    parts = {name: ARMS[name] for name in ("classical", "synthetic")}
    (arm,) = study.with_arms(("classical+synthetic",), parts).arms
    assert arm == ARMS["classical+synthetic"]


def test_treatments_that_contradict_each_other_are_refused(study):
    with pytest.raises(ConfigError, match="cannot be combined: both set synthetic"):
        study.with_arms(("synthetic+warm-start",), ARMS)


def test_the_partner_of_an_arm_is_the_same_but_for_the_images():
    study = Study(name="mine", summary="Mine.", arms=(ARMS["untreated"],)).with_arms(
        (
            *("untreated", "oversample+classical", "oversample+classical+synthetic"),
            *("mixup+synthetic", "synthetic-only"),  # the latter has lost the real images
        )
    )
    assert study.partners == {"oversample+classical+synthetic": "oversample+classical"}


@pytest.mark.parametrize(
    "name", ["any", "isic-aegan", "bone-xray", "ham-bcc", "mammo-patches", "headct-pggan"]
)
def test_every_built_in_study_has_a_partner_for_each_arm_with_synthetic_images(name):
    study = Registry.load().studies[name]
    assert set(study.partners) == {arm.name for arm in study.arms if arm.needs_generator}


@pytest.mark.parametrize(
    ("name", "labels", "classes"),
    [
        ("isic-aegan", ("benign", "malignant"), ("melanoma", "other")),
        ("isic-aegan", ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), ("melanoma", "other")),
        ("bone-xray", ("fractured", "not fractured"), ("fractured", "not_fractured")),
        ("mammo-patches", ("lesion", "normal"), ("lesion", "normal")),
        ("mammo-patches", ("benign", "malignant", "normal_tissue"), ("lesion", "normal")),
        ("headct-pggan", ("0", "1"), ("hemorrhage", "normal")),
    ],
)
def test_a_built_in_study_takes_the_labels_of_the_set_it_is_about_and_of_others(
    name, labels, classes
):
    study = Registry.load().studies[name]
    images = make_images(len(labels) * 2, classes=len(labels))
    mapped = map_classes(replace(images, class_names=labels), study.classes)
    assert mapped.class_names == classes
    assert set(study.rare) <= set(classes)
    assert len(mapped) == len(images)
