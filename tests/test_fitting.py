from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_images

from ganaug import History, Registry
from ganaug.errors import ConfigError, DataError, ShapeError, UnknownPluginError
from ganaug.fitting import (
    copies_of,
    fit_part,
    make_model,
    output_of,
    plan_validations,
    start_training,
)
from ganaug.parts import load_at, plan_parts
from ganaug.recipes import Recipe, build_policy, policies_of
from ganaug.stopping import Progress

SMALL = {"width": 4, "latent_dim": 8}


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


def plan(images, registry, **fields):
    return plan_parts(images, Recipe.from_fields({"settings": SMALL, **fields}), registry)


@pytest.mark.parametrize(
    ("found", "wanted", "trained"), [(16, None, 16), (28, None, 32), (8, None, 16), (28, 16, 16)]
)
def test_images_are_trained_at_a_size_the_generator_can_do(registry, found, wanted, trained):
    fields = {} if wanted is None else {"size": wanted}
    (part,) = plan(make_images(size=found), registry, **fields)
    assert part.images.spec.shape == part.generator.spec.shape == (1, trained, trained)
    assert (output_of([part]).height, output_of([part]).width) == (found, found)


def test_a_size_that_was_asked_for_is_not_changed_silently(registry):
    with pytest.raises(ShapeError, match="power of two"):
        plan(make_images(size=28), registry, size=48)


def test_conditional_is_one_part_and_per_class_is_one_each(registry):
    images = make_images(classes=3)
    (part,) = plan(images, registry)
    assert part.index is None
    assert part.generator.spec.class_names == ("a", "b", "c")
    parts = plan(images, registry, conditioning="per-class")
    assert [(p.index, p.name, p.generator.spec.class_names) for p in parts] == [
        (0, "a", ("a",)),
        (1, "b", ("b",)),
        (2, "c", ("c",)),
    ]
    assert [len(p.images) for p in parts] == [8, 8, 8]


def test_the_same_recipe_builds_the_same_weights_and_classes_differ(registry):
    images = make_images(classes=2)
    first, second = (plan(images, registry, conditioning="per-class") for _ in range(2))

    def weights(part):
        return next(iter(part.generator.network.parameters())).detach().numpy()

    assert (weights(first[0]) == weights(second[0])).all()
    assert (weights(first[0]) != weights(first[1])).any()


def test_classes_that_cannot_be_learned_are_named(registry):
    images = make_images(classes=3)
    with pytest.raises(DataError, match="Class 'c' has 1 training image;"):
        plan(images.subset([*np.flatnonzero(images.labels < 2), 2]), registry)
    with pytest.raises(DataError, match="no images"):
        plan(images.subset([]), registry)


def grouped(images):
    """The same images: two of a class to a patient."""
    names = tuple(f"patient {row // 4}" for row in range(len(images)))
    return replace(images, groups=names)


@pytest.mark.parametrize("conditioning", ["conditional", "per-class"])
def test_the_gate_keeps_images_of_a_group_together_across_classes(registry, conditioning):
    images = grouped(make_images(24, classes=2, size=16))
    parts = plan(images, registry, conditioning=conditioning)
    gate = copies_of(parts)
    groups = [group for part in parts for group in part.images.groups]
    assert len(np.unique(gate.bundles)) == len(set(groups)) == 6
    for group in set(groups):
        assert len({gate.bundles[row] for row in range(24) if groups[row] == group}) == 1


@pytest.mark.parametrize("conditioning", ["conditional", "per-class"])
def test_validation_rows_are_resized_as_training_images_are(registry, monkeypatch, conditioning):
    shown = []
    monkeypatch.setattr("ganaug.fitting.Validation", lambda rows, *_, **__: shown.append(rows))
    images = make_images(24, classes=2, size=28)
    rows = images.subset(range(20, 24))
    recipe = Recipe.from_fields(
        {"settings": SMALL, "conditioning": conditioning, "eval_every": 8, "metrics": ("kid",)}
    )
    parts = plan_parts(images, recipe, registry)
    plan_validations(images, rows, parts, [], recipe, registry, tell=print)
    found = np.concatenate([np.asarray(each.pixels) for each in shown])
    trained = [np.asarray(part.images.pixels) for part in parts]
    same = np.concatenate([each[-4 // len(parts) :] for each in trained])
    assert found.shape == (4, 1, 32, 32)
    assert (found == same).all()


def progress(**fields):
    return Progress(**{"images_seen": 1, "step": 1, "epoch": 0, "losses": {}, **fields})


def test_policies_are_built_from_their_text(registry):
    policy = build_policy("max-images:images=500", registry)
    assert policy.reason_to_stop(History([progress(images_seen=499)])) is None
    assert policy.reason_to_stop(History([progress(images_seen=500)]))
    with pytest.raises(UnknownPluginError, match="Did you mean 'max-images'"):
        build_policy("max-image", registry)
    with pytest.raises(ConfigError, match=r"expected NAME:FIELD=VALUE,...; got '500'"):
        build_policy("max-images:500", registry)
    with pytest.raises(ConfigError, match="images"):
        build_policy("max-images:images=many", registry)


def at(images, **metrics):
    return History([Progress(images_seen=images, step=1, epoch=1, losses={}, metrics=metrics)])


def test_policies_are_joined_by_words(registry):
    policy = build_policy("max-images:images=50 and max-epochs:epochs=1", registry)
    assert policy.reason_to_stop(at(49)) is None
    assert policy.reason_to_stop(at(50)) == "50 images were seen, of 50 and 1 of 1 epochs are over"
    text = "max-images:images=50 and max-epochs:epochs=9 or max-images:images=70"
    policy = build_policy(text, registry)
    assert policy.reason_to_stop(at(69)) is None
    assert policy.reason_to_stop(at(70)) == "70 images were seen, of 70"
    policy = build_policy("plateau:metric=fid and max-images:images=5", registry)
    assert policy.needs_metrics
    assert policy.metric_names == ("fid",)


@pytest.mark.parametrize("text", ["plateau and", "or plateau", "plateau and or divergence", ""])
def test_words_without_a_policy_on_either_side_are_said(registry, text):
    with pytest.raises(ConfigError, match="a stopping policy before and after each and, or"):
        build_policy(text, registry)


def test_joined_policies_are_said_by_their_own_names(registry):
    with pytest.raises(UnknownPluginError, match="'plateu'.*'plateau'"):
        build_policy("plateu and max-images:images=5", registry)


def test_minutes_are_shared_by_the_parts(registry):
    (policy,) = policies_of(Recipe(minutes=1.0), registry, 1 / 3)
    assert policy.reason_to_stop(History([progress(seconds=19.9)])) is None
    assert policy.reason_to_stop(History([progress(seconds=20.1)]))


def test_held_out_images_are_judged_at_the_size_that_the_generator_makes(registry):
    images = make_images(40, size=28)
    recipe = Recipe.from_fields({"settings": SMALL, "total_images": 64})
    training, holdout = images.subset(range(30)), images.subset(range(30, 40))
    parts = plan_parts(training, recipe, registry)
    trainings = [start_training(part, recipe) for part in parts]
    found, loaded, without = (
        make_model(training, parts, trainings, recipe, holdout=each).memorisation
        for each in (holdout, holdout.load(32), holdout.subset([]))
    )
    assert found.holdout.images == 10
    assert found == loaded
    assert without.holdout.images == 0


@pytest.mark.parametrize("conditioning", ["conditional", "per-class"])
def test_validation_rows_are_scored_at_the_size_that_the_generator_makes(registry, conditioning):
    images = make_images(60, size=28, classes=2)
    recipe = Recipe.from_fields({"settings": SMALL, "conditioning": conditioning})
    recipe = recipe.model_copy(update={"eval_every": 32, "total_images": 32, "metrics": ("kid",)})
    training, rows = images.subset(range(40)), images.subset(range(40, 60))
    parts = plan_parts(training, recipe, registry)
    validations = plan_validations(training, rows, parts, [], recipe, registry, tell=print)
    for part, validation in zip(parts, validations, strict=True):
        run, history = start_training(part, recipe), History()
        fit_part(run, [], history=history, validation=validation)
        assert "kid" in history[-1].metrics


def test_an_oblong_generator_takes_images_of_its_own_size_only():
    images = make_images(4, size=16)
    assert load_at(images, 16, 16).pixels is images.pixels
    assert load_at(images, 8, 8).spec.shape == (1, 8, 8)
    with pytest.raises(ShapeError, match="makes images of 16x20; these are 16x16"):
        load_at(images, 16, 20)
