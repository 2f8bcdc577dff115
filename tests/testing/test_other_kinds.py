"""Each check of the other kinds is failed by a plugin that breaks that promise, and only that."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import nibabel
import numpy as np
import pytest
import torch
from builtin.dicom_files import AXIAL, write
from PIL import Image

from ganaug import (
    Arm,
    Budget,
    Config,
    DatasetPlugin,
    EvaluatorPlugin,
    FeatureEvaluator,
    FeatureExtractor,
    FeatureExtractorPlugin,
    ImageSpec,
    Registry,
    StoppingPolicy,
    StoppingPolicyPlugin,
    Study,
)
from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.testing import checks_for, datasets, evaluators, extractors, policies, studies
from ganaug.testing.images import example_images


class Forgetful(Config):
    """Writes another number than it has."""

    number: int = 1

    def to_fields(self):
        return {"number": self.number + 1}


def failed(record, **options):
    return [check.name for check in checks_for(record, **options) if not check.result().passed]


def prove(proofs, make, checks, **options):
    """Every check has a proof, which fails it and only it; the good one fails none."""
    assert failed(make(), **options) == []
    assert {name: failed(make(broken), **options) for name, broken in proofs.items()} == {
        name: [name] for name in checks
    }


# --- stopping policies ----------------------------------------------------------------------------


class After(StoppingPolicy):
    def __init__(self, config):
        self.asked = 0

    def reason_to_stop(self, history):
        return "enough" if len(history) > 50 else None


class Hasty(After):
    def reason_to_stop(self, history):
        return "too late" if len(history) != 1 else None


class SaysYes(After):
    def reason_to_stop(self, history):
        return True if len(history) > 50 else None


class Counts(After):
    def reason_to_stop(self, history):
        self.asked += 1
        return "asked too often" if self.asked > 2 and history else None


class ReadsScores(After):
    """Nobody computes scores for it."""

    def reason_to_stop(self, history):
        return "it was scored" if history and history[-1].metrics else None


class NotHere(After):
    def __init__(self, config):
        self.limit = lambda: 50


class ForgetfulPolicy(After):
    pass


def policy(build=After):
    config = Forgetful if build is ForgetfulPolicy else Config
    return StoppingPolicyPlugin(name="mine", summary="Mine.", config=config, build=build)


def test_each_check_of_policies_is_proved():
    proofs = {
        "config-round-trip": ForgetfulPolicy,
        "silent-before-the-first-step": Hasty,
        "gives-reasons-in-words": SaysYes,
        "pure": Counts,
        "says-that-it-reads-scores": ReadsScores,
        "travels-to-workers": NotHere,
    }
    prove(proofs, policy, policies.CHECKS)


class ReadsItsOwnScore(ReadsScores):
    metric_names = ("beauty",)

    def reason_to_stop(self, history):
        return "it is beautiful" if history and "beauty" in history[-1].metrics else None


def test_scores_are_those_that_a_policy_names():
    assert failed(policy(ReadsItsOwnScore)) == ["says-that-it-reads-scores"]


@pytest.mark.parametrize("name", ["divergence", "loop-breaker", "plateau"])
def test_the_histories_are_long_enough_for_the_built_in_policies_to_speak(name):
    record = Registry.load().stopping_policies[name]
    asked = record.build(record.config())
    reasons = [asked.reason_to_stop(history) for history in policies.histories().values()]
    assert any("over the last" in str(reason) or "improved" in str(reason) for reason in reasons)


# --- datasets -------------------------------------------------------------------------------------

IMAGES = example_images(ImageSpec(channels=1, height=8, width=8, class_names=("a", "b")))


def opens(change=lambda images: images):
    def open_(config, location):
        if not location.exists():
            raise DataError(f"{location} is not there.")
        return change(IMAGES)

    return open_


class Local(list):
    """Pixels that no other process can have, and that pickle all the same."""

    table: ClassVar = {}

    def __reduce__(self):
        self.table[id(self)] = self
        return self.table_entry, (id(self),)

    @classmethod
    def table_entry(cls, key):
        return cls.table[key]


class NoPickle(list):
    def __reduce__(self):
        raise TypeError("stays here")


def shuffled(images):
    return images.subset(np.random.default_rng().permutation(len(images)))


DATASETS = {
    "config-round-trip": {"config": Forgetful},
    "claims-in-whole-numbers": {"claims": lambda location: 0.5 * location.exists()},
    "refuses-what-is-not-there": {"open": lambda config, location: IMAGES},
    "values-in-range": {"open": opens(lambda images: replace(images, value_range=(0.0, 1.0)))},
    "rows-have-names": {"open": opens(lambda images: replace(images, ids=("same",) * len(images)))},
    "opens-the-same-again": {"open": opens(shuffled)},
    "travels-to-workers": {
        "open": opens(lambda images: replace(images, pixels=Local(images.pixels)))
    },
}


def dataset(changes=None):
    fields = {"config": Config, "open": opens(), "claims": lambda location: int(location.exists())}
    return DatasetPlugin(name="mine", summary="Mine.", **{**fields, **(changes or {})})


def test_each_check_of_datasets_is_proved(tmp_path):
    prove(DATASETS, dataset, datasets.CHECKS, location=tmp_path)


def test_splits_are_those_that_ganaug_has(tmp_path):
    splits = ("train",) * len(IMAGES)
    record = dataset({"open": opens(lambda images: replace(images, splits=splits))})
    assert failed(record, location=tmp_path) == ["rows-have-names"]


def test_what_cannot_be_pickled_does_not_travel(tmp_path):
    record = dataset(
        {"open": opens(lambda images: replace(images, pixels=NoPickle(IMAGES.pixels)))}
    )
    assert failed(record, location=tmp_path) == ["travels-to-workers"]


def test_datasets_are_checked_on_something_to_open():
    with pytest.raises(ConfigError, match="give a location, on the command line --location PATH"):
        checks_for(dataset())


# --- feature extractors ---------------------------------------------------------------------------


class Means(FeatureExtractor):
    """Mean colours, less those of the images that it was prepared on."""

    size = None
    channels = None
    dtype = "float32"
    resize = "none"

    def __init__(self, config, spec):
        self.dimension = spec.channels
        self.learned = torch.zeros(spec.channels)

    def prepare(self, images):
        self.learned = torch.from_numpy(np.asarray(images.pixels)).float().mean((0, 2, 3)) / 255

    def extract(self, images):
        return images.mean((2, 3)) - self.learned

    @property
    def fingerprint(self):
        return str(self.learned.tolist())

    def state_dict(self):
        return {"learned": self.learned}

    def load_state_dict(self, state):
        self.learned = state["learned"]


class OtherShape(Means):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.dimension = 4


class OtherShapeOfGrey(Means):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.dimension = 3


class OfTheBatch(Means):
    def extract(self, images):
        return images.mean((2, 3)) / (1 + images.abs().mean())


class NewEachTime(Means):
    count = 0

    def __init__(self, config, spec):
        super().__init__(config, spec)
        type(self).count += 1
        self.number = type(self).count

    @property
    def fingerprint(self):
        return f"{super().fingerprint} {self.number}"

    def state_dict(self):
        return {**super().state_dict(), "number": torch.tensor(self.number)}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.number = int(state["number"])


class LearnsInVain(Means):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class OneFingerprint(Means):
    fingerprint = "means"


class Noisy(Means):
    def extract(self, images):
        torch.rand(1)
        return super().extract(images)


class ForgetfulMeans(Means):
    pass


def extractor(build=Means):
    config = Forgetful if build is ForgetfulMeans else Config
    return FeatureExtractorPlugin(name="mine", summary="Mine.", config=config, build=build)


def test_each_check_of_extractors_is_proved():
    proofs = {
        "config-round-trip": ForgetfulMeans,
        "declared-shape": OtherShape,
        "one-image-at-a-time": OfTheBatch,
        "stable-fingerprint": NewEachTime,
        "fingerprint-of-what-it-learned": LearnsInVain,
        "other-images-other-fingerprint": OneFingerprint,
        "leaves-the-global-rng-alone": Noisy,
    }
    prove(proofs, extractor, extractors.CHECKS)
    assert failed(extractor(OtherShapeOfGrey)) == ["declared-shape"]


class ForLarge(Means):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        if spec.height < 48:
            raise ShapeError(f"needs 48 pixels a side; got {spec.shape}.")


def test_extractors_are_tried_with_images_of_a_size():
    assert "declared-shape" in failed(extractor(ForLarge))
    assert failed(extractor(ForLarge), size=48) == []


@pytest.mark.parametrize("make", ["policy", "evaluator", "dataset"])
def test_a_size_where_nothing_has_one_is_refused(make):
    with pytest.raises(ConfigError, match="Only generators and feature extractors are tried with"):
        checks_for(globals()[make](), size=48)


# --- evaluators -----------------------------------------------------------------------------------


class Distance(FeatureEvaluator):
    higher_is_better = False
    ranges = {"distance": (0.0, 1e9)}  # noqa: RUF012  # as a plugin's author would write it

    def __init__(self, config, extractor):
        super().__init__(extractor)

    def compute(self):
        means = (self.features(role).mean(dim=0) for role in ("holdout", "synthetic"))
        return {"distance": float((next(means) - next(means)).norm())}


class OutOfRange(Distance):
    ranges = {"distance": (-2.0, -1.0)}  # noqa: RUF012  # as above


class WrongWay(Distance):
    higher_is_better = True


class ByBatch(Distance):
    def update(self, images, *, role, labels=None):
        super().update(images, role=role, labels=labels)
        self.batches = getattr(self, "batches", 0) + 1

    def reset(self):
        super().reset()
        self.batches = 0

    def compute(self):
        return {"distance": super().compute()["distance"] * self.batches}


class ByOrder(Distance):
    def update(self, images, *, role, labels=None):
        self.first = getattr(self, "first", None) or role
        super().update(images, role=role, labels=labels)

    def reset(self):
        super().reset()
        self.first = None

    def compute(self):
        return {"distance": super().compute()["distance"] + (self.first == "synthetic")}


class Remembers(Distance):
    started = False

    def reset(self):
        if not self.started:
            super().reset()
            self.started = True


class MakesDo(Distance):
    minimum_images = 0

    def compute(self):
        return super().compute() if self._features["holdout"] else {"distance": 0.0}


class InPairs(Distance):
    """Takes images at the same place of both roles for pairs."""

    def compute(self):
        gaps = self.features("holdout") - self.features("synthetic")
        return {"distance": float(gaps.norm(dim=1).mean())}


class DrawsSubsets(Distance):
    """Scores random halves, by torch's global numbers, which the caller seeds."""

    def compute(self):
        means = []
        for role in ("holdout", "synthetic"):
            features = self.features(role)
            means.append(features[torch.randperm(len(features))[: len(features) // 2]].mean(dim=0))
        return {"distance": float((means[0] - means[1]).norm())}


class ForgetfulDistance(Distance):
    pass


def evaluator(build=Distance):
    config = Forgetful if build is ForgetfulDistance else Config
    return EvaluatorPlugin(name="mine", summary="Mine.", config=config, build=build)


def test_each_check_of_evaluators_is_proved():
    proofs = {
        "config-round-trip": ForgetfulDistance,
        "named-finite-numbers": OutOfRange,
        "better-for-the-same-law": WrongWay,
        "any-batch-size": ByBatch,
        "any-order-of-roles": ByOrder,
        "forgets-on-reset": Remembers,
        "refuses-too-few": MakesDo,
        "any-order-within-roles": InPairs,
    }
    prove(proofs, evaluator, evaluators.CHECKS)


def test_a_metric_may_draw_from_torchs_global_numbers():
    assert failed(evaluator(DrawsSubsets)) == []


def test_the_checks_of_evaluators_leave_the_global_numbers_alone():
    before = torch.get_rng_state()
    failed(evaluator(DrawsSubsets))
    assert torch.equal(before, torch.get_rng_state())


# --- studies --------------------------------------------------------------------------------------

PLAIN = Arm(name="plain", summary="As it is.")
GROWN = Arm(name="grown", summary="Grown.", synthetic="beside")
STUDY = Study(name="mine", summary="Mine.", arms=(PLAIN, GROWN))

STUDIES = {
    "plain-data": {"paper": print},
    "says-what-it-is": {"summary": ""},
    "fields-that-can-be-run": {"measure": "beauty"},
    "a-generator-that-there-is": {"settings": {"widht": "3"}},
    "none-can-be-chosen": {"ratios": (1.0,)},
    "arms-differ": {"arms": (PLAIN, GROWN, replace(PLAIN, name="same"))},
    "arms-run": {"learning_rate": 1e30},
}
ALSO = [
    ("fields-that-can-be-run", {"classifier": "nonsense"}, "no classifier 'nonsense'"),
    ("fields-that-can-be-run", {"classifier": "mammo", "size": 28, "channels": 1}, "128x128"),
    ("fields-that-can-be-run", {"extras": ("nope",)}, "No evaluator is named 'nope'"),
    ("fields-that-can-be-run", {"extras": ("kid:subset=3",)}, "no field 'subset'"),
    ("fields-that-can-be-run", {"extras": ("kid", "kid")}, "extras has a metric twice: kid, kid"),
    ("fields-that-can-be-run", {"classical": "nonsense"}, "classical is 'nonsense'; expected"),
    ("a-generator-that-there-is", {"generator": "nonsense"}, "No generator is named 'nonsense'"),
    ("a-generator-that-there-is", {"conditioning": "x"}, "conditioning: .*; got 'x'"),
    ("a-generator-that-there-is", {"filters": ("nope",)}, "has a filter 'nope'"),
    ("a-generator-that-there-is", {"small": Budget(settings={"widht": "3"})}, "field 'widht'"),
    ("a-generator-that-there-is", {"full": Budget(settings={"widht": "3"})}, "field 'widht'"),
]


def test_each_check_of_studies_is_proved():
    prove(STUDIES, lambda changes=None: replace(STUDY, **(changes or {})), studies.CHECKS)


@pytest.mark.parametrize(("name", "changes", "reason"), ALSO)
def test_a_study_that_cannot_be_run_fails_that_check_and_only_it(name, changes, reason):
    broken = [r for check in checks_for(replace(STUDY, **changes)) if (r := check.result()).reason]
    assert [result.name for result in broken] == [name]
    assert re.search(reason, broken[0].reason)


def test_a_classifier_of_some_sizes_is_left_to_the_images_where_the_study_has_no_size():
    assert failed(replace(STUDY, classifier="mammo")) == []


# --- what is built --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "found", "of_itself"),
    [
        (policy(lambda config: "x"), "build returned 'x'; expected a ganaug.StoppingPolicy", 1),
        (evaluator(lambda *_: "x"), "build returned 'x'; expected a ganaug.Evaluator", 1),
        (extractor(lambda *_: "x"), "build returned 'x'; expected a ganaug.FeatureExtractor", 1),
        (
            dataset({"open": opens(lambda images: "x")}),
            "open returned 'x'; expected a ganaug.LabelledImages",
            3,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_built_must_be_of_the_kind(record, found, of_itself, tmp_path):
    location = tmp_path if isinstance(record, DatasetPlugin) else None
    checks = checks_for(record, location=location)
    reasons = [reason for check in checks if (reason := check.result().reason)]
    assert len(reasons) == len(checks) - of_itself
    assert {reason.partition(": ")[2] for reason in reasons} == {found}


def test_what_was_built_instead_is_said_in_one_line():
    check = checks_for(policy(lambda config: np.zeros((99, 99))))[1]
    reason = check.result().reason
    assert "build returned array([[0., 0., 0.," in reason
    assert reason.endswith(" ...; expected a ganaug.StoppingPolicy")
    assert "\n" not in reason


# --- the built-ins --------------------------------------------------------------------------------

LIGHT = [
    listing.record
    for name in ("metrics", "extractors", "policies", "studies")
    for listing in Registry([f"ganaug.builtin.{name}.plugin"]).listings
    if listing.name != "inception"  # needs weights that are downloaded
]
NEEDED = {
    "classifier": {"total_images": 1000},
    "max-images": {"images": 10},
    "max-seconds": {"seconds": 10.0},
    "max-epochs": {"epochs": 3},
    "max-batches": {"batches": 10},
}


@pytest.mark.parametrize("record", LIGHT, ids=lambda record: record.name)
def test_the_built_ins_pass(record):
    assert failed(record, settings=NEEDED.get(record.name)) == []


def test_what_claims_everything_is_refused(tmp_path):
    assert failed(dataset({"claims": lambda location: 99}), location=tmp_path) == [
        "claims-in-whole-numbers"
    ]


def series(folder):
    """A DICOM series of four slices."""
    for k in range(4):
        place = {"ImagePositionPatient": [0, 0, 5 * k], "ImageOrientationPatient": AXIAL}
        folder.mkdir(exist_ok=True)
        write(folder / f"IM{k}", np.full((16, 16), 10 * k, np.int16), **place)
    return folder


def volume(path):
    """A NIfTI volume."""
    values = np.arange(16 * 16 * 4, dtype=np.int16).reshape(16, 16, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path


@pytest.mark.parametrize("name", ["csv", "folder", "npz", "digits", "dicom", "nifti"])
def test_the_built_in_sources_pass(name, tmp_path):
    if name == "digits":
        location = Path("digits")
    elif name == "dicom":
        location = series(tmp_path / "series")
    elif name == "nifti":
        location = volume(tmp_path / "volume.nii.gz")
    elif name == "npz":
        location = tmp_path / "set.npz"
        np.savez(location, images=np.asarray(IMAGES.pixels)[:, 0], labels=IMAGES.labels)
    else:
        location = tmp_path / "set"
        for row, label in enumerate(IMAGES.labels):
            folder = location / "ab"[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(IMAGES.pixels)[row, 0]).save(folder / f"{row}.png")
    if name == "csv":
        lines = [
            f"{'ab'[label]}/{row}.png,{'ab'[label]}" for row, label in enumerate(IMAGES.labels)
        ]
        (location / "labels.csv").write_text("\n".join(["file,label", *lines]))
    assert failed(Registry.load().datasets[name], location=location) == []
