from __future__ import annotations

import numpy as np
import pytest
from conftest import make_images

from ganaug import History, Registry
from ganaug.errors import ConfigError, DataError, ShapeError, UnknownPluginError
from ganaug.fitting import Recipe, build_policy, output_of, plan_parts, policies_of
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


def test_minutes_are_shared_by_the_parts(registry):
    (policy,) = policies_of(Recipe(minutes=1.0), registry, parts=3)
    assert policy.reason_to_stop(History([progress(seconds=19.9)])) is None
    assert policy.reason_to_stop(History([progress(seconds=20.1)]))
