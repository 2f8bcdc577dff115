from __future__ import annotations

import pytest

from ganaug import Registry, SyntheticAugmenter
from ganaug.copies import CopyGate
from ganaug.errors import ConfigError
from ganaug.model import ImageModel, Output
from ganaug.parameters import check_parameters, check_ratio, make_recipe, recorded_parameters


def parameters(**changed):
    return SyntheticAugmenter(**changed).get_params(deep=False)


def model(generator, value_range=(0.0, 255.0), copies=None):
    output = Output(height=8, width=8, dtype="uint8", value_range=value_range)
    return ImageModel([generator], ("a",), output, copies=copies)


def test_a_recipe_has_every_default_of_the_plugin_and_named_policies_only(registry_policy):
    given = parameters(config={"width": 4}, stop=("divergence", registry_policy), size=32)
    recipe = make_recipe(given, Registry.load(), seed=7)
    assert (recipe.generator, recipe.size, recipe.random_state) == ("dcgan", 32, 7)
    assert recipe.settings["width"] == 4
    assert "latent_dim" in recipe.settings
    assert recipe.stop == ("divergence",)
    assert recipe.conditioning == "conditional"


@pytest.fixture
def registry_policy():
    plugin = Registry.load().stopping_policies["max-seconds"]
    return plugin.build(plugin.config(seconds=60))


def test_parameters_survive_a_recipe_and_come_back(tiny_gan):
    given = parameters(
        config={"width": 4},
        size=32,
        conditioning="per-class",
        total_images=99,
        stop=("divergence",),
        select="average",
        precision="32-true",
        filter=None,
        random_state=7,
    )
    recipe = make_recipe(given, Registry.load(), seed=7)
    recorded = recorded_parameters(recipe, model(tiny_gan))
    assert make_recipe(parameters(**recorded), Registry.load(), seed=7) == recipe
    kept = set(recorded) - {"config"}
    assert {name: recorded[name] for name in kept} == {name: given[name] for name in kept}


def test_a_value_range_is_recorded_where_the_dtype_does_not_tell_it(tiny_gan):
    recipe = make_recipe(parameters(), Registry.load(), seed=0)
    assert recorded_parameters(recipe, model(tiny_gan))["value_range"] is None
    stated = recorded_parameters(recipe, model(tiny_gan, value_range=(0.0, 100.0)))
    assert stated["value_range"] == (0.0, 100.0)


def test_a_copy_filter_is_recorded(tiny_gan, blobs):
    recipe = make_recipe(parameters(), Registry.load(), seed=0)
    copies = CopyGate.of(blobs)
    assert recorded_parameters(recipe, model(tiny_gan, copies=copies))["filter"] == "copies"
    assert recorded_parameters(recipe, model(tiny_gan))["filter"] is None


def test_a_built_generator_has_no_config(tiny_gan):
    recipe = make_recipe(parameters(generator=tiny_gan), Registry.load(), seed=0)
    assert (recipe.generator, recipe.settings) == ("object", {})
    with pytest.raises(ConfigError, match="config= is for a generator by name"):
        make_recipe(parameters(generator=tiny_gan, config={"width": 4}), Registry.load(), seed=0)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "half", None, float("nan")])
def test_a_ratio_is_a_probability(ratio):
    with pytest.raises(ConfigError, match="ratio is a probability"):
        check_ratio(ratio)
    with pytest.raises(ConfigError, match="ratio is a probability"):
        check_parameters(parameters(ratio=ratio))


def test_usual_parameters_are_fine(tiny_gan):
    check_parameters(parameters())
    check_parameters(parameters(generator=tiny_gan, ratio=1, filter=None, random_state=3))
