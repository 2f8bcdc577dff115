from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch
from conftest import make_images

from ganaug import (
    Config,
    Evaluator,
    EvaluatorPlugin,
    FeatureEvaluator,
    FeatureExtractor,
    LabelledImages,
    Registry,
    hookimpl,
)
from ganaug.errors import ConfigError, DataError, ShapeError, TooFewImagesError, UnknownPluginError
from ganaug.features import CachedExtractor
from ganaug.resampling import half_of
from ganaug.scoring import ImageRoles, score_images


class Pixels(FeatureExtractor):
    name = "pixels"
    dimension = 64
    fingerprint = "pixels-1"
    resize = "none at all"

    def extract(self, images):
        return images.flatten(1)


class GapConfig(Config):
    factor: float = 1.0


class Gap(FeatureEvaluator):
    """Distance of the mean features of holdout and synthetic images."""

    higher_is_better = False
    minimum_images = 3

    def __init__(self, config, extractor):
        super().__init__(extractor)
        self.factor = config.factor

    def compute(self):
        real, fake = (self.features(role).mean(0) for role in ("holdout", "synthetic"))
        n = float(len(self.features("synthetic")))
        return {"gap": self.factor * float((real - fake).norm()), "n": n}


class OwnInterval(Gap):
    def intervals(self):
        return {"gap": (-1.0, 2.0), "n": None}


class HalfOwn(Gap):
    ranges = MappingProxyType({"gap": (0.0, 0.1)})

    def intervals(self):
        return {"n": (1.0, 2.0)}


class ReadsTrain(Gap):
    roles = ("train", "holdout", "synthetic")

    def compute(self):
        return {"rows": float(len(self.features("train")))}


class NeedsMany(ReadsTrain):
    minimum_images = 4


class Groups(ReadsTrain):
    """How many groups the images of each role have, and training and synthetic ones share."""

    def compute(self):
        train, held, drawn = (set(self.groups(role)) for role in self.roles)
        return {
            "train": float(len(train)),
            "holdout": float(len(held)),
            "synthetic": float(len(drawn)),
            "shared": float(len(train & drawn)),
        }


class Labels(FeatureEvaluator):
    higher_is_better = True
    needs_labels = True

    def __init__(self, config, extractor):
        super().__init__(extractor)

    def describe(self, images):
        return images.flatten(1)

    def compute(self):
        return {"ones": float(self.labels("synthetic").sum())}


class NotFinite(Gap):
    def compute(self):
        return {"bad": float("nan")}


class Random(Gap):
    def compute(self):
        return {"draw": float(torch.rand(()))}


class Brightness(Evaluator):
    """A stranger's, which keeps no features."""

    higher_is_better = False

    def __init__(self, config, extractor):
        self.reset()

    def reset(self):
        self.sums = {"holdout": [0.0, 0], "synthetic": [0.0, 0]}

    def update(self, images, *, role, labels=None):
        if role in self.sums:
            self.sums[role][0] += images.mean(dim=(1, 2, 3)).sum().item()
            self.sums[role][1] += len(images)

    def compute(self):
        real, fake = (total / n for total, n in self.sums.values())
        return {"brightness-gap": abs(real - fake)}


METRICS = {
    "gap": Gap,
    "own": OwnInterval,
    "half-own": HalfOwn,
    "train": ReadsTrain,
    "needs-many": NeedsMany,
    "groups": Groups,
    "labels": Labels,
    "nan": NotFinite,
    "random": Random,
    "brightness": Brightness,
}


class Plugin:
    @staticmethod
    @hookimpl
    def ganaug_evaluators():
        for name, build in METRICS.items():
            yield EvaluatorPlugin(name=name, summary="A test's.", config=GapConfig, build=build)


REGISTRY = Registry([Plugin])


def part(start, stop):
    return make_images(120, classes=2).subset(range(start, stop))


@pytest.fixture
def roles():
    return ImageRoles(train=part(0, 60), holdout=part(60, 90), synthetic=part(90, 120))


def score(metrics, roles, **options):
    options = {"extractor": CachedExtractor(Pixels()), "rows": "holdout of a run", **options}
    return score_images(metrics, roles, REGISTRY, **options)


def mean_of(images):
    pixels = torch.from_numpy(np.asarray(images.pixels)).float().flatten(1) / 127.5 - 1
    return pixels.mean(0)


# --- what a score says ----------------------------------------------------------------------


def test_a_score_comes_with_all_that_belongs_to_it(roles):
    found, count = score(["gap:factor=2"], roles, resize="28x28 to 8x8")
    assert (found.metric, found.name, count.name) == ("gap:factor=2", "gap", "n")
    gap = (mean_of(roles.holdout) - mean_of(roles.synthetic)).norm().item()
    assert found.value == pytest.approx(2 * gap, rel=1e-4)
    assert found.n == {"holdout": 30, "synthetic": 30}
    assert found.higher_is_better is False
    assert (found.extractor, found.extractor_hash) == ("pixels", "pixels-1")
    assert found.resize == "28x28 to 8x8; none at all"
    assert found.rows == "holdout of a run"


def test_a_score_is_json(roles):
    for found in score(["gap", "brightness"], roles):
        assert json.loads(json.dumps(found.to_fields())) == found.to_fields()


def test_a_metric_that_uses_no_features_names_no_extractor(roles):
    (found,) = score(["labels"], roles)
    assert (found.value, found.extractor, found.extractor_hash) == (15.0, None, None)
    assert found.resize == "none"


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_scores_do_not_depend_on_the_batch_size(roles, batch_size):
    usual, found = (score(["gap"], roles, **kind)[0] for kind in ({}, {"batch_size": batch_size}))
    assert found.value == pytest.approx(usual.value, rel=1e-6)
    assert found.interval == pytest.approx(usual.interval, rel=1e-6)
    assert found.floor == pytest.approx(usual.floor, rel=1e-6)


def test_the_callers_random_numbers_are_left_alone_and_scores_repeat(roles):
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    first, second = (score(["random"], roles, random_state=3)[0] for _ in range(2))
    assert torch.rand(()) == expected
    assert first == second
    assert score(["random"], roles, random_state=4)[0].value != first.value


def test_every_image_is_looked_at_once_however_many_metrics(roles):
    extractor = CachedExtractor(Pixels())
    score(["gap", "own", "train"], roles, extractor=extractor)
    assert extractor.computed == 120


def test_training_images_are_not_looked_at_when_no_metric_reads_them(roles):
    extractor = CachedExtractor(Pixels())
    score(["gap"], roles, extractor=extractor, floors=False)
    assert extractor.computed == 60


# --- floors ---------------------------------------------------------------------------------


def test_the_floor_is_the_score_of_training_rows_of_the_same_classes(roles):
    lean = replace(roles.synthetic, labels=roles.synthetic.labels)
    lean = lean.subset([*np.flatnonzero(lean.labels == 0), *np.flatnonzero(lean.labels == 1)[:4]])
    found = score(["gap"], replace(roles, synthetic=lean))[0]
    assert 0 < found.floor < 2
    assert found.floor_method == "19 training images in place of the synthetic ones"
    assert score(["labels"], replace(roles, synthetic=lean))[0].floor == 4


def test_no_row_plays_two_roles_in_the_floor(roles):
    assert score(["train"], roles)[0].value == 60
    assert score(["train"], roles)[0].floor == 30


def test_a_floor_takes_other_rows_with_another_seed(roles):
    first, again, other = (score(["gap"], roles, random_state=s)[0].floor for s in (0, 0, 1))
    assert first == again != other


def test_too_few_training_rows_of_a_class_are_why_there_is_no_floor(roles):
    few = replace(roles, train=part(0, 20))
    found = score(["gap"], few)[0]
    assert found.floor is None
    assert found.floor_method == (
        "none: class 'a' has 10 training images, too few to take the place of 15 synthetic ones"
    )


def test_a_floor_that_the_metric_cannot_compute_says_why(roles):
    few = replace(roles, train=part(0, 4), synthetic=part(90, 92))
    (found,) = score(["needs-many"], few)
    assert found.floor is None
    assert found.floor_method == "none: NeedsMany needs at least 4 train images; got 2."


def test_there_is_no_floor_beside_fewer_training_images_than_take_the_synthetic_place(roles):
    few, own = score(["train", "gap"], replace(roles, train=part(0, 50)))[:2]
    assert few.floor is None
    assert few.floor_method == (
        "none: beside 30 training images in place of the synthetic ones, 20 are left that share "
        "no group with them; there must be as many"
    )
    assert own.floor is not None  # it reads no training images


def test_there_is_no_floor_without_training_images_or_when_none_is_wanted(roles):
    found = score(["gap"], replace(roles, train=None))[0]
    assert found.floor is None
    assert "no training images" in found.floor_method
    unwanted = score(["gap"], roles, floors=False)[0]
    assert (unwanted.floor, unwanted.floor_method) == (None, None)


def in_groups(images, name, size):
    return replace(images, groups=tuple(f"{name} {row // size}" for row in range(len(images))))


def test_metrics_are_told_the_groups_of_images(roles):
    of_train, of_holdout = in_groups(roles.train, "t", 4), in_groups(roles.holdout, "h", 6)
    found = score(["groups"], replace(roles, train=of_train, holdout=of_holdout))
    assert {item.name: item.value for item in found} == {
        "train": 15,
        "holdout": 5,
        "synthetic": 0,
        "shared": 0,
    }


def test_no_group_plays_two_roles_in_the_floor(roles):
    train = in_groups(part(0, 80), "t", 4)
    synthetic = roles.synthetic.subset(range(18))
    found = {s.name: s for s in score(["groups"], replace(roles, train=train, synthetic=synthetic))}
    assert found["shared"].floor == 0
    assert found["synthetic"].floor in (5, 6)  # 9 of each class, in groups of two of each
    assert found["train"].floor == 20 - found["synthetic"].floor
    assert found["train"].floor_method == (
        "18 training images of whole groups in place of the synthetic ones"
    )


def test_the_floor_of_look_alike_groups_is_no_copying():
    rng = np.random.default_rng(0)

    def look_alikes(name, groups):
        """Groups of six images that hardly differ."""
        patients = rng.integers(40, 215, (groups, 1, 1, 8, 8))
        pixels = (patients + rng.integers(-2, 3, (groups, 6, 1, 8, 8))).reshape(-1, 1, 8, 8)
        images = LabelledImages(
            pixels=pixels.astype(np.uint8),
            labels=np.zeros(6 * groups, dtype=np.int64),
            class_names=("a",),
            value_range=(0.0, 255.0),
        )
        return in_groups(images, name, 6)

    train, holdout = look_alikes("t", 40), look_alikes("h", 10)
    copies = replace(train.subset(range(0, 240, 4)), groups=None)
    roles = ImageRoles(train=train, holdout=holdout, synthetic=copies)
    built_in = Registry(["ganaug.builtin.metrics.plugin"])
    extractor = CachedExtractor(Pixels())
    scores = score_images(
        ["authenticity"], roles, built_in, extractor=extractor, rows="x", intervals=False
    )
    c_t = {item.name: item for item in scores}["c_t"]
    assert c_t.value < -9
    assert c_t.floor > -5


# --- intervals ------------------------------------------------------------------------------


def test_scores_that_a_metric_gives_no_interval_of_get_one_within_their_range(roles):
    gap, count = score(["half-own"], roles)
    assert count.interval == (1.0, 2.0)
    assert "half samples" in gap.interval_method
    assert gap.interval[0] >= 0.0
    assert gap.interval[1] == 0.1


def test_a_score_that_is_the_same_for_all_halves_has_no_interval(roles):
    gap, count = score(["gap"], roles)
    assert gap.interval[0] < gap.value < gap.interval[1]
    assert (count.interval, count.interval_method) == (
        None,
        "none: it is the same for all half samples",
    )


def test_a_score_may_have_no_interval(roles):
    gap, count = score(["own"], roles)
    assert gap.interval == (-1.0, 2.0)
    assert gap.interval_method == "95 %, the metric's own estimate"
    assert (count.interval, count.interval_method) == (None, "none: this score has no interval")


def test_half_samples_give_the_interval_of_a_mean():
    rng = np.random.default_rng(1)
    values = rng.normal(128, 20, (400, 1, 8, 8)).mean((2, 3), keepdims=True).round()
    images = LabelledImages(
        pixels=np.broadcast_to(values, (400, 1, 8, 8)).astype(np.uint8),
        labels=np.zeros(400),
        class_names=("a",),
        value_range=(0.0, 255.0),
    )
    blank = replace(images, pixels=np.zeros_like(images.pixels))
    found = score(["gap"], ImageRoles(train=None, holdout=images, synthetic=blank))[0]
    low, high = found.interval
    expected = 2.09 * 8 * (values / 127.5).std() / np.sqrt(400)  # 8: the root of 64 pixels
    assert (high - low) / 2 == pytest.approx(expected, rel=0.5)
    assert (high + low) / 2 == pytest.approx(found.value)
    assert found.interval_method == "95 %, 20 half samples (delete-half jackknife)"


def test_groups_stay_whole_in_half_samples(roles):
    groups = tuple(f"patient {row // 5}" for row in range(30))
    images = replace(roles.holdout, groups=groups)
    for seed in range(5):
        half = half_of(images, np.random.default_rng(seed))
        drawn = {groups[row] for row in half}
        assert len(drawn) == 3
        assert half.tolist() == [row for row in range(30) if groups[row] in drawn]
    found = score(["gap"], replace(roles, holdout=images))[0]
    assert found.interval_method == "95 %, 20 half samples of whole groups (delete-half jackknife)"


def test_halves_that_are_too_small_are_why_there_is_no_interval(roles):
    small = replace(roles, synthetic=part(90, 95))
    found = score(["gap"], small)[0]
    assert found.interval is None
    assert "Gap needs at least 3 synthetic images; got 2" in found.interval_method
    few = replace(roles, holdout=replace(roles.holdout, groups=("a",) * 20 + ("b",) * 10))
    found = score(["gap"], few)[0]
    assert found.interval is None
    assert found.interval_method == (
        "none: 2 holdout groups of images are too few to draw halves of"
    )


def test_no_interval_is_estimated_when_none_is_wanted(roles):
    found = score(["gap"], roles, intervals=False)[0]
    assert (found.interval, found.interval_method) == (None, None)


# --- strangers' metrics ---------------------------------------------------------------------


def test_a_metric_that_keeps_no_features_has_a_floor_and_no_interval(roles):
    (found,) = score(["brightness"], roles, extractor=None)
    assert found.value > 0
    assert found.floor > 0
    assert found.interval is None
    assert found.interval_method.startswith("none: ")
    assert found.n == {"train": 60, "holdout": 30, "synthetic": 30}


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (["gap", "own", "gap"], ConfigError, "named once; got 'gap' 2 times"),
        (["gaps"], UnknownPluginError, "No evaluator is named 'gaps'. Did you mean 'gap'"),
        (["gap:facto=2"], ConfigError, "no field 'facto'"),
        (["nan"], DataError, "Metric 'nan': bad is nan, which is no score"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_said(roles, metrics, error, message):
    with pytest.raises(error, match=message):
        score(metrics, roles)


def test_too_few_images_and_a_missing_extractor_are_said(roles):
    with pytest.raises(TooFewImagesError, match="at least 3 synthetic images; got 2"):
        score(["gap"], replace(roles, synthetic=part(90, 92)))
    with pytest.raises(ConfigError, match="Gap needs a feature extractor; got none"):
        score(["gap"], roles, extractor=None)


def test_the_other_metrics_go_on_where_failures_are_collected(roles):
    failed = {}
    metrics = ["nan", "gaps", "gap", "brightness"]
    found = score(metrics, roles, extractor=CachedExtractor(Pixels()), failed=failed)
    assert {item.metric for item in found} == {"gap", "brightness"}
    assert list(failed) == ["gaps", "nan"]
    assert isinstance(failed["gaps"], UnknownPluginError)


def test_images_of_other_sizes_or_classes_cannot_be_compared(roles):
    with pytest.raises(ShapeError, match=r"synthetic images are 1x16x16 and the holdout .* 1x8x8"):
        replace(roles, synthetic=make_images(4, size=16, classes=2))
    with pytest.raises(DataError, match="train images have the classes a, b, c and .* a, b;"):
        replace(roles, train=make_images(6, classes=3))
    with pytest.raises(ShapeError, match=r"call load\(\) first"):
        replace(roles, holdout=replace(roles.holdout, pixels=list(roles.holdout.pixels)))
