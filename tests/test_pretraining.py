"""One generator a class that goes on from a training on all classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TinyGAN, make_images

from ganaug import History, LabelledImages, Registry, SyntheticAugmenter, Training
from ganaug.checkpoints import read_tensors
from ganaug.errors import ConfigError, DataError
from ganaug.fitting import copies_of, fit_part, plan_validations, start_training
from ganaug.parts import Part, plan_parts, time_share, with_conditioning
from ganaug.recipes import Recipe, policies_of
from ganaug.runs import Run
from ganaug.stopping import Progress

GENERATORS: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 4, "latent_dim": 8, "batch_size": 4},
    "pggan": {"fmap_max": 8, "max_batch_size": 4, "images_per_phase": 8},
    "aegan": {
        "width": 4,
        "code_dim": 8,
        "hidden": 8,
        "autoencoder_images": 8,
        "autoencoder_batch_size": 4,
        "batch_size": 4,
    },
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


def images(n: int = 24, classes: int = 3) -> LabelledImages:
    return make_images(n, size=16, classes=classes)


def recipe(generator: str = "dcgan", **fields: Any) -> Recipe:
    settings = {**GENERATORS[generator], **fields.pop("settings", {})}
    given = {"generator": generator, "settings": settings, "total_images": 24, **fields}
    return Recipe.from_fields({"conditioning": "pretrain-finetune", **given})


def pretrain(registry: Registry, asked: Recipe) -> tuple[Part, Training, Training]:
    """A class's part, what was pretrained, and the part's training at its first step."""
    parts = plan_parts(images(), asked, registry)
    trainings = [start_training(part, asked, device="cpu") for part in parts[:2]]
    fit_part(trainings[0], [])
    return parts[1], trainings[0], trainings[1]


def test_all_classes_come_first_as_one_and_then_each(registry):
    given = images()
    parts = plan_parts(given, recipe(), registry)
    assert [(part.index, part.name, part.role) for part in parts] == [
        (None, "pretraining", "pretraining"),
        *((index, name, "fine-tuning") for index, name in enumerate("abc")),
    ]
    assert all(part.generator.spec.num_classes == 1 for part in parts)
    assert [len(part.images) for part in parts] == [24, 8, 8, 8]
    assert parts[0].images.labels.tolist() == [0] * 24
    assert len(copies_of(parts).bundles) == 24


@pytest.mark.parametrize(
    ("generator", "classes", "expected"),
    [
        ("dcgan", [1], "pretrain-finetune"),
        ("dcgan", [0, 2], "pretrain-finetune"),
        ("dcgan", [0, 1, 2], "conditional"),
        ("pggan", [1], "conditional"),
        ("aegan", [1], "conditional"),
    ],
)
def test_where_classes_can_learn_from_others_that_is_the_default(
    registry, generator, classes, expected
):
    asked = recipe(generator, conditioning="conditional")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found = with_conditioning(asked, images(), classes, registry)
    assert found == asked.model_copy(update={"conditioning": expected})
    assert torch.equal(torch.get_rng_state(), before)


def test_who_has_an_advance_has_stages_unless_it_says_otherwise(registry):
    class Scheduled(TinyGAN):
        def advance(self, images_seen, images):
            raise RuntimeError("asked before it is trained")

    class Declared(Scheduled):
        has_stages = False

    spec = images().load().spec
    assert [kind(spec).has_stages for kind in (TinyGAN, Scheduled, Declared)] == [
        False,
        True,
        False,
    ]


def test_a_class_without_images_is_no_other_class(registry):
    given = images().subset(np.flatnonzero(images().labels < 2))
    asked = recipe(conditioning="conditional")
    assert with_conditioning(asked, given, [0, 1], registry).conditioning == "conditional"


@pytest.mark.parametrize(
    ("asked", "strategy", "expected"),
    [
        (None, "auto", "pretrain-finetune"),
        (None, "all", "conditional"),
        ("conditional", "auto", "conditional"),
    ],
)
def test_an_augmenter_learns_rare_classes_from_all_unless_told(tmp_path, asked, strategy, expected):
    given = images(30)
    rows = np.r_[np.flatnonzero(given.labels != 2), np.flatnonzero(given.labels == 2)[:4]]
    dataset = [(given.pixels[row], int(given.labels[row])) for row in rows]
    target = dict.fromkeys(range(3), 12) if strategy == "all" else strategy
    augmenter = SyntheticAugmenter(
        "dcgan",
        config=GENERATORS["dcgan"],
        conditioning=asked,
        sampling_strategy=target,
        total_images=16,
        filter=None,
        random_state=0,
    ).fit(dataset)
    assert augmenter.conditioning == asked
    augmenter.save(tmp_path / "run")
    assert Run.open(tmp_path / "run").config.recipe.conditioning == expected


def test_a_class_has_a_quarter_of_the_pretrainings_images_and_time(registry):
    asked = recipe(total_images=1000, minutes=7.0)
    parts = plan_parts(images(), asked, registry)
    totals = [start_training(part, asked, device="cpu").total_images for part in parts]
    assert totals == [1000, 250, 250, 250]
    shares = [time_share(part, parts) for part in parts]
    assert shares == pytest.approx([4 / 7, 1 / 7, 1 / 7, 1 / 7])
    (policy,) = policies_of(asked, registry, shares[1])
    seen = Progress(images_seen=1, step=1, epoch=0, losses={}, seconds=59.9)
    assert policy.reason_to_stop(History([seen])) is None
    assert policy.reason_to_stop(History([replace(seen, seconds=60.1)]))


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_class_goes_on_from_averaged_networks_and_other_modules_as_they_are(registry, generator):
    asked = recipe(generator)
    _, before, training = pretrain(registry, asked)
    stage = before.generator.state_dict().get("network.level")
    training.go_on_from(before)
    averaged = before.ema.network.state_dict()
    for network in (training.generator.network, training.ema.network):
        assert all(torch.equal(network.state_dict()[name], averaged[name]) for name in averaged)
    live, ours = before.generator.state_dict(), training.generator.state_dict()
    others = [name for name in live if "." in name and not name.startswith("network.")]
    assert others
    assert all(torch.equal(ours[name], live[name]) for name in others)
    assert any(not torch.equal(averaged[name], live[f"network.{name}"]) for name in averaged)
    assert not training.state_dict()["optimizers"]["generator"]["state"]
    assert (training.images_seen, training.images_before) == (0, 24)
    assert stage is None or ours["network.level"] == stage


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_fine_tuning_goes_on_from_a_checkpoint_bit_for_bit(registry, generator):
    asked = recipe(generator, total_images=80)
    part, before, straight = pretrain(registry, asked)
    straight.go_on_from(before)
    next(straight)
    state = straight.state_dict()
    expected = [next(straight).losses for _ in range(3)]
    (again,) = (each for each in plan_parts(images(), asked, registry) if each.index == part.index)
    resumed = start_training(again, asked, device="cpu")
    resumed.load_state_dict(state)
    assert [next(resumed).losses for _ in range(3)] == expected
    assert resumed.images_before == 80
    for name, tensor in straight.ema.network.state_dict().items():
        assert torch.equal(resumed.ema.network.state_dict()[name], tensor)


def test_schedules_go_on_and_do_not_begin_anew(registry):
    _, before, training = pretrain(registry, recipe("pggan", total_images=40))
    training.go_on_from(before)
    assert next(training).logs["resolution"] == 16.0
    _, before, training = pretrain(registry, recipe("aegan"))
    training.go_on_from(before)
    assert {name.split("/")[0] for name in next(training).losses} == {"discriminator", "generator"}


def test_a_schedule_that_follows_from_the_number_of_images_is_refused(registry, monkeypatch):
    monkeypatch.setattr("ganaug.builtin.pggan.network.default_images_per_phase", lambda n: n)
    scheduled = {"images_per_phase": None}
    message = "on 24 images would end at another stage than .* the 8 of class 'a' is at after 24 i"
    with pytest.raises(ConfigError, match=message):
        plan_parts(images(), recipe("pggan", settings=scheduled), registry)
    # A policy may end it at any moment.
    asked = recipe("pggan", settings=scheduled, stop=("max-images:images=24",))
    _, before, training = pretrain(registry, asked)
    with pytest.raises(ConfigError, match="ended at 24 images, when .* these 8 images would be at"):
        training.go_on_from(before)


def test_another_generators_weights_are_refused(registry):
    _, before, _ = pretrain(registry, recipe())
    wide = recipe(settings={"width": 8})
    other = start_training(plan_parts(images(), wide, registry)[1], wide, device="cpu")
    with pytest.raises(ConfigError, match="the layers of DCGAN and DCGAN differ"):
        other.go_on_from(before)


def test_a_training_that_has_begun_goes_on_from_nothing_else(registry):
    _, before, training = pretrain(registry, recipe())
    next(training)
    with pytest.raises(ConfigError, match="before its first step; this one has done 1. Start"):
        training.go_on_from(before)


def test_learning_rates_that_fall_by_epochs_begin_as_they_are_set(registry):
    decays = {"discriminator_decay_epochs": 1, "generator_decay_epochs": 1}
    _, before, training = pretrain(registry, recipe(settings=decays, total_images=240))
    training.go_on_from(before)
    next(training)
    groups = training.state_dict()["optimizers"]["generator"]["param_groups"]
    assert 0.98 * 2e-4 < groups[0]["lr"] <= 2e-4  # at most one epoch


def test_one_class_has_nothing_more_to_be_pretrained_on(registry):
    with pytest.raises(ConfigError, match="there is only class 'a'. Give images of more classes"):
        plan_parts(images(classes=1), recipe(), registry)


def test_a_class_of_one_image_is_refused(registry):
    given = images()
    rows = [*np.flatnonzero(given.labels < 2), 2]
    with pytest.raises(DataError, match="Class 'c' has 1 training image;"):
        plan_parts(given.subset(rows), recipe(), registry)


def test_fewer_images_than_a_batch_are_seen_again(registry):
    given = images()
    few = given.subset([0, 1, 3, 4])  # two a class
    asked = recipe(settings={"batch_size": 16}, total_images=64)
    parts = plan_parts(few.only([0, 1]), asked, registry)
    trainings = [start_training(part, asked, device="cpu") for part in parts]
    fit_part(trainings[0], [])
    for training in trainings[1:]:
        fit_part(training, [], pretrained=trainings[0])
        assert (training.images_seen, training.images_before) == (16, 64)


def test_a_built_generator_is_refused(registry):
    given = images(classes=2)
    with pytest.raises(ConfigError, match="'pretrain-finetune' needs a generator by name"):
        plan_parts(given, recipe(), registry, TinyGAN(given.spec))


def test_each_training_is_scored_on_its_own_rows(registry):
    given = images(72)
    asked = recipe(eval_every=8, metrics=("kid",), select="best", total_images=48)
    training, rows = given.subset(range(36)), given.subset(range(36, 72))
    parts = plan_parts(training, asked, registry)
    scored = plan_validations(training, rows, parts, [], asked, registry, tell=print)
    assert not scored[0]._labels.any()  # one class, as the generator that is asked for them has
    first = start_training(parts[0], asked, device="cpu")
    for part, validation in zip(parts[:2], scored, strict=False):
        run = start_training(part, asked, device="cpu") if part.index is not None else first
        history = History()
        before = first if run is not first else None
        fit_part(run, [], history=history, validation=validation, pretrained=before)
        assert validation.best.images_seen
        assert any("kid" in progress.metrics for progress in history)
    short = recipe(eval_every=32, metrics=("kid",), select="best", total_images=48)
    message = (
        "the 12 training images of the fine-tuning of each class, 25% of the pretraining's, end "
        "before the first, at 32"
    )
    with pytest.raises(ConfigError, match=message):
        plan_validations(training, rows, parts, [], short, registry, tell=print)


def test_in_python_pretraining_sees_classes_that_do_not_grow_as_well(tmp_path: Path) -> None:
    x, y = np.asarray(images().pixels), images().labels
    keep = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:5]]
    dataset = [(x[row], int(y[row])) for row in keep]
    augmenter = SyntheticAugmenter(
        config=GENERATORS["dcgan"],
        conditioning="pretrain-finetune",
        total_images=32,
        random_state=0,
        filter=None,
    ).fit(dataset)
    assert augmenter.sampling_strategy_ == {1: 3}
    (generator,) = augmenter.model_.generators
    assert generator.spec.class_names == ("1",)
    augmenter.save(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert (run.indices, run.trainings) == ([0], [None, 0])
    found = run.recorded_histories()
    assert {name: history[-1].images_seen for name, history in found.items()} == {
        "pretraining on all classes": 32,
        "1": 8,
    }
    assert "(pretraining on all classes): 32" in (tmp_path / "run" / "card.md").read_text()
    assert not (tmp_path / "run" / "generator.safetensors").exists()
    weights, _ = read_tensors(tmp_path / "run" / "classes" / "0" / "generator.safetensors")
    assert all(torch.equal(weights[k], v) for k, v in generator.network.state_dict().items())
    again = SyntheticAugmenter.load(tmp_path / "run")
    assert again.conditioning == "pretrain-finetune"
    ours = augmenter.sample(1, 3, random_state=0)
    assert (again.sample(1, 3, random_state=0) == ours).all()
