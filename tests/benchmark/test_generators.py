import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from benchmark.experiments import BUDGET, STUDY, blobs
from ganaug.benchmark import generators
from ganaug.benchmark.generators import Request, draw, make_recipe, plan, provide
from ganaug.benchmark.locks import hold
from ganaug.benchmark.task import map_classes
from ganaug.errors import ConfigError, LeakageError, ShapeError, UnknownPluginError
from ganaug.registry import Registry
from ganaug.runs import Run

REGISTRY = Registry.load()


def make_request(**changes):
    images = map_classes(blobs(), STUDY.classes)
    request = Request(
        images=images,
        rows=np.arange(0, 60),
        held_out=np.arange(60, len(images)),
        classes=(1, 2),
        recipe=make_recipe(STUDY, BUDGET, REGISTRY, seed=3),
        registry=REGISTRY,
        digest="these",
        source="blobs",
        device="cpu",
    )
    return replace(request, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return provide(make_request(), tmp_path_factory.mktemp("generators"))


@pytest.fixture
def trainings(trained, monkeypatch):
    """The paths that generators were trained at; a copy of one is a training here."""
    found = []

    def train(request, path):
        found.append(path)
        shutil.copytree(trained.path, path)

    monkeypatch.setattr(generators, "_train", train)
    return found


def test_settings_of_a_budget_take_the_place_of_the_studys():
    study = replace(STUDY, settings={"width": "12", "latent_dim": "7"})
    budget = replace(BUDGET, settings={"width": "16"})
    settings = make_recipe(study, budget, REGISTRY).settings
    assert (settings["width"], settings["latent_dim"]) == (16, 7)


def test_a_generator_is_a_run_of_the_training_rows_and_the_wanted_classes(trained):
    request = make_request()
    assert trained.path.name == request.key
    assert trained.config.class_names == ("rare", "rarer")
    assert trained.config.recipe == request.recipe
    recorded = trained.recorded_splits(request.images.subset(request.rows))
    assert set(recorded) == {"training"}
    assert (trained.path / "manifest.json").exists()
    trained.check_leaks(request.images.subset(request.held_out))
    assert trained.recorded_history(None)[-1].images_seen == BUDGET.generator_images


def test_a_generator_is_trained_once(trainings, tmp_path):
    first, second = (provide(make_request(), tmp_path).path for _ in range(2))
    assert first == second == tmp_path / make_request().key
    assert len(trainings) == 1


@pytest.mark.parametrize("changes", [
    {"rows": np.arange(0, 59)},
    {"classes": (0, 1, 2)},
    {"digest": "others"},
    {"recipe": make_recipe(STUDY, BUDGET, REGISTRY, seed=4)},
    {"recipe": make_recipe(replace(STUDY, filters=()), BUDGET, REGISTRY, seed=3)},
])  # fmt: skip
def test_whatever_weights_follow_from_makes_another_generator(changes):
    assert make_request(**changes).key != make_request().key


def test_where_it_lies_and_what_is_held_out_makes_no_other_generator():
    changed = make_request(held_out=np.arange(70, 80), device="auto", source="elsewhere")
    assert changed.key == make_request().key


def test_of_two_that_ask_at_once_one_trains(trainings, tmp_path, monkeypatch):
    asking, both = [], threading.Event()
    train = generators._train

    def arrive(path):
        asking.append(path)
        if len(asking) == 2:
            both.set()
        return hold(path)

    def wait_and_train(request, path):
        assert both.wait(60)
        train(request, path)

    monkeypatch.setattr(generators, "hold", arrive)
    monkeypatch.setattr(generators, "_train", wait_and_train)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(provide(make_request(), tmp_path).path))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(trainings) == 1


def test_a_training_that_ends_early_leaves_nothing(trained, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(generators, "_fit", lambda *_: ([], []))
    monkeypatch.setattr(generators, "make_model", lambda *_, **__: None)
    monkeypatch.setattr(Run, "write_references", interrupt)
    with pytest.raises(KeyboardInterrupt):
        provide(make_request(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{make_request().key}.lock"]


def test_what_a_killed_process_left_is_no_generator_and_goes(trainings, tmp_path, trained):
    half = tmp_path / f".{make_request().key}.abcdef"
    shutil.copytree(trained.path, half)
    assert provide(make_request(), tmp_path).path.name == make_request().key
    assert len(trainings) == 1
    assert not half.exists()


def test_rows_that_are_held_out_are_never_trained_on(trainings, tmp_path):
    leaking = make_request(rows=np.arange(0, 61))
    with pytest.raises(LeakageError, match="1 of the 61 rows"):
        provide(leaking, tmp_path)
    assert not trainings


def test_a_kept_generator_that_saw_held_out_images_is_refused(trainings, tmp_path):
    path = provide(make_request(), tmp_path).path
    id_ = make_request().images.ids[60]
    with (path / "splits.csv").open("a") as stream:
        stream.write(f"{id_},common,,training\n")
    with pytest.raises(LeakageError, match=f"1 images that are held out here .first: {id_}"):
        provide(make_request(), tmp_path)


def test_draws_are_of_the_class_the_same_each_time_and_without_copies(trained):
    request = make_request()
    drawn = draw(trained, request.images, {2: 5, 1: 3}, REGISTRY)
    assert {index: pixels.shape for index, pixels in drawn.pixels.items()} == {
        2: (5, 1, 16, 16),
        1: (3, 1, 16, 16),
    }
    model = trained.read_model(REGISTRY)
    assert model.copies is not None
    again = draw(trained, request.images, {2: 5, 1: 3}, REGISTRY)
    assert all(np.array_equal(drawn.pixels[i], again.pixels[i]) for i in (1, 2))
    assert drawn.value_range == request.images.value_range
    assert drawn.details["run"] == request.key
    assert drawn.details["dropped"] == {"rare": 0, "rarer": 0}
    assert drawn.details["memorised"] == []


def test_a_class_that_is_mostly_copies_comes_short_and_says_so(trained, monkeypatch):
    from ganaug.copies import CopyGate

    def flag_all_but_some(self, pixels, value_range):
        return np.arange(len(pixels)) % 16 != 0

    monkeypatch.setattr(CopyGate, "find", flag_all_but_some)
    drawn = draw(trained, make_request().images, {1: 32}, REGISTRY)
    assert 0 < len(drawn.pixels[1]) < 32
    assert drawn.details["dropped"]["rare"] > 32


def test_the_recipe_is_the_studys():
    study = replace(STUDY, generator_size=32, conditioning="per-class", filters=())
    recipe = make_recipe(study, BUDGET, REGISTRY, seed=7)
    assert (recipe.generator, recipe.size, recipe.conditioning) == ("dcgan", 32, "per-class")
    assert recipe.settings["width"] == 4
    assert recipe.total_images == 32
    assert recipe.random_state == 7
    assert recipe.filters == ()


@pytest.mark.parametrize(("changes", "error", "says"), [
    ({"generator": "dcgun"}, UnknownPluginError, "dcgun"),
    ({"settings": {"widht": "4"}}, ConfigError, "widht"),
    ({"filters": ("copise",)}, ConfigError, "copise"),
    ({"conditioning": "classy"}, ConfigError, "classy"),
])  # fmt: skip
def test_a_wrong_part_of_a_recipe_is_named(changes, error, says):
    with pytest.raises(error, match=says):
        make_recipe(replace(STUDY, **changes), BUDGET, REGISTRY)


def test_a_size_that_the_generator_cannot_take_is_found_before_training():
    study = replace(STUDY, generator_size=20)
    with pytest.raises(ShapeError, match="power of two"):
        plan(blobs(), study, BUDGET, REGISTRY)
