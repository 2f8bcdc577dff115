from __future__ import annotations

import dataclasses
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ganaug import Generator, ImageSpec, LabelledImages, Registry, SyntheticAugmenter
from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.builtin.aegan.network import AEGAN
from ganaug.builtin.dcgan.config import DCGANConfig
from ganaug.builtin.dcgan.network import DCGAN
from ganaug.copies import Rate
from ganaug.errors import ConfigError, PluginError, RunError, TooFewImagesError
from ganaug.evaluator import FeatureExtractor
from ganaug.features import build_extractor
from ganaug.filters import (
    ClassifierFilter,
    DiscriminatorFilter,
    check_filters,
    fit_filters,
    log_fields,
    read_filters,
    write_filters,
)
from ganaug.fitting import make_model, rows_for_filters, start_training
from ganaug.model import ImageModel, Output, Source
from ganaug.parts import plan_parts
from ganaug.pixels import to_signed
from ganaug.randomness import class_seed
from ganaug.recipes import Recipe
from ganaug.sources import open_images
from ganaug.splits import split_rows

REGISTRY = Registry.load()
OUTPUT = Output(height=16, width=16, dtype="uint8", value_range=(0.0, 255.0))
RANGE = OUTPUT.value_range


def marked(n=90, classes=3, noise=40):
    """Images of a bright band whose row is the class; no two alike."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    pixels = rng.integers(0, noise, (n, 1, 16, 16))
    for row, label in enumerate(labels):
        pixels[row, :, 2 + 5 * label : 5 + 5 * label] += 200
    return LabelledImages(
        pixels=pixels.astype(np.uint8),
        labels=labels,
        class_names=tuple("abc"[:classes]),
        value_range=RANGE,
    )


IMAGES = marked()


class Dealer(Generator):
    """Deals images of all classes, whatever is asked for; scores by mean brightness."""

    def __init__(self, classes=("a", "b", "c"), scored=True) -> None:
        super().__init__()
        self.spec = ImageSpec(channels=1, height=16, width=16, class_names=classes)
        self.network = nn.Identity()
        self.scored = scored

    def phases(self):
        return ()

    def sample(self, labels, *, rng):
        rows = torch.randint(len(IMAGES), (len(labels),), generator=rng)
        brightness = torch.rand(len(labels), 1, 1, 1, generator=rng)
        return to_signed(np.asarray(IMAGES.pixels)[rows.numpy()], RANGE) * brightness

    def score(self, images, labels):
        return images.abs().mean(dim=(1, 2, 3)) if self.scored else None


class Means(FeatureExtractor):
    """Knows classes by their mean image: a classifier that is trained in no time, and too sure."""

    name, channels, size = "classifier", 1, None

    def __init__(self, spec):
        self.means = torch.zeros(spec.num_classes, 1, spec.height, spec.width)

    def prepare(self, images):
        signed = to_signed(np.asarray(images.pixels), images.value_range)
        classes = [signed[images.labels == c].mean(0) for c in range(len(images.class_names))]
        self.means = torch.stack(classes)

    def extract(self, images):
        return self.logits(images)

    def logits(self, images):
        return -(images[:, None] - self.means).square().sum(dim=(2, 3, 4))

    @property
    def fingerprint(self):
        return "means"

    def state_dict(self):
        return {"means": self.means}

    def load_state_dict(self, state):
        self.means = state["means"]


@pytest.fixture(scope="module", autouse=True)
def quick_classifier():
    with pytest.MonkeyPatch.context() as patch:
        build = "ganaug.filters.classifier.build_extractor"
        patch.setattr(build, lambda text, spec, registry: Means(spec))
        yield


@pytest.fixture(scope="module")
def classifier():
    return ClassifierFilter.fit(IMAGES, ("a", "b", "c"), REGISTRY, seed=0)


def model(*filters, classes=("a", "b", "c"), generator=None):
    generator = generator or Dealer()
    return ImageModel([generator], classes, OUTPUT, None, filters=filters)


# --- the classifier -----------------------------------------------------------------------------


def test_images_of_another_class_are_dropped_and_those_of_their_own_are_not(classifier):
    fresh = np.asarray(IMAGES.pixels)[::-1].copy()
    labels = IMAGES.labels[::-1]
    for class_ in range(3):
        kept = classifier.keep(fresh, class_, RANGE)
        assert kept.dtype == np.bool_
        assert kept[labels == class_].mean() > 0.9
        assert kept[labels != class_].mean() < 0.1


def test_images_that_belong_to_no_class_more_than_to_another_pass():
    """With labels drawn at random, nothing can be known, and nothing is dropped with confidence."""
    rng = np.random.default_rng(1)
    shuffled = dataclasses.replace(marked(noise=250), labels=rng.permutation(IMAGES.labels))
    found = ClassifierFilter.fit(shuffled, ("a", "b", "c"), REGISTRY, seed=0)
    assert found.temperature > 2
    assert found.checked.flagged <= 0.1 * found.checked.images


def test_a_verdict_depends_on_no_other_image(classifier):
    pixels = np.asarray(IMAGES.pixels)
    together = classifier.keep(pixels, 0, RANGE)
    alone = [classifier.keep(image[None], 0, RANGE)[0] for image in pixels[:9]]
    assert together[:9].tolist() == alone
    assert classifier.keep(pixels[:0], 0, RANGE).shape == (0,)


def test_rows_that_it_did_not_learn_from_check_it_in_the_generated_classes_only():
    found = ClassifierFilter.fit(IMAGES, ("b",), REGISTRY, seed=0)
    assert found.known == ("a", "b", "c")
    assert found.checked.images == 6  # a fifth of 30
    assert f"({found.checked.flagged} of 6)" in found.summary
    kept = found.keep(np.asarray(IMAGES.pixels), 0, RANGE)
    assert kept[IMAGES.labels == 1].mean() > 0.9
    assert kept[IMAGES.labels != 1].mean() < 0.1


def test_held_out_digits_pass_as_what_they_are_and_not_as_others(monkeypatch):
    def quick(text, spec, registry):
        return build_extractor(f"{text}:total_images=3000", spec, registry)

    monkeypatch.setattr("ganaug.filters.classifier.build_extractor", quick)
    digits = open_images("digits", REGISTRY, {}).only([0, 1, 4, 7])
    digits = digits.subset(np.arange(300))
    splits = np.array(split_rows(digits, holdout=0.2, validation=0.0, random_state=0))
    training, held = (
        digits.subset(np.flatnonzero(splits == name)).load() for name in ("training", "holdout")
    )
    found = ClassifierFilter.fit(training, digits.class_names, REGISTRY, seed=0)
    pixels = np.asarray(held.pixels)
    kept = np.stack([found.keep(pixels, c, held.value_range) for c in range(4)])
    own = np.eye(4, dtype=bool)[:, held.labels]
    assert kept[own].mean() > 0.97
    assert kept[~own].mean() < 0.1


def test_the_temperature_never_adds_confidence_and_takes_it_from_those_who_err(monkeypatch):
    from ganaug.filters.classifier import _fit_temperature

    labels = torch.arange(40) % 2
    right = torch.nn.functional.one_hot(labels, 2).float() * 3
    assert _fit_temperature(right, labels) == 1.0
    wrong = right.clone()
    wrong[:10] = wrong[:10].flip(1)  # right in three of four, as sure as 95 in a hundred
    fitted = _fit_temperature(wrong, labels)
    assert (wrong[0] / fitted).softmax(0).max().item() == pytest.approx(0.75, abs=0.01)


def test_a_class_of_too_few_images_or_without_another_is_refused_in_a_line():
    few = IMAGES.subset(np.flatnonzero((IMAGES.labels != 2) | (np.arange(90) < 20)))
    assert few.counts["c"] == 6
    with pytest.raises(TooFewImagesError, match="Class 'c' has 6 training images; .* at least 10"):
        check_filters(["classifier"], Dealer(), few, ["c"], REGISTRY)
    check_filters(["classifier"], Dealer(), few, ["a"], REGISTRY)
    alone = IMAGES.only([0])
    with pytest.raises(ConfigError, match="there is only class 'a' with 10 training images"):
        check_filters(["classifier"], Dealer(), alone, ["a"], REGISTRY)


def test_the_same_images_and_seed_give_the_same_classifier(classifier):
    again = ClassifierFilter.fit(IMAGES, ("a", "b", "c"), REGISTRY, seed=0)
    tensors, header = again.to_tensors()
    expected, expected_header = classifier.to_tensors()
    assert header == expected_header
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


# --- the discriminator --------------------------------------------------------------------------


def test_the_quarter_of_each_class_that_scores_lowest_is_dropped():
    drawer = model()
    found = DiscriminatorFilter.fit(drawer, [IMAGES.only([c]) for c in range(3)])
    pixels = drawer.draw_raw(1, 2000, seed=5)
    kept = found.keep(pixels, 1, RANGE)
    assert 0.70 < kept.mean() < 0.80
    scores = found.scores(pixels, 1, RANGE)
    assert scores[kept].min() >= found.thresholds[1] > scores[~kept].max()
    assert found.checked.images == 90


def test_the_discriminator_of_the_class_judges_where_each_has_its_own():
    class Constant(Dealer):
        def __init__(self, value):
            super().__init__(classes=("one",))
            self.value = value

        def score(self, images, labels):
            assert not labels.any()
            return torch.full((len(images),), self.value)

    found = DiscriminatorFilter([Constant(1.0), Constant(2.0)], (1.5, 1.5), None, Rate())
    pixels = np.asarray(IMAGES.pixels)[:4]
    assert not found.keep(pixels, 0, RANGE).any()
    assert found.keep(pixels, 1, RANGE).all()


def test_generators_without_a_score_are_named():
    message = "Dealer as it is set up here has no score to give"
    with pytest.raises(ConfigError, match=message):
        check_filters(["discriminator"], Dealer(scored=False), IMAGES, ["a"], REGISTRY)
    check_filters(["discriminator"], Dealer(), IMAGES, ["a"], REGISTRY)
    latent = AEGAN(AEGANConfig(), IMAGES.spec)
    with pytest.raises(ConfigError, match="AEGAN as it is set up here"):
        check_filters(["discriminator"], latent, IMAGES, ["a"], REGISTRY)


def test_a_score_of_another_shape_is_refused_before_anything_is_trained():
    class Columns(Dealer):
        def score(self, images, labels):
            return images.mean(dim=(1, 2, 3))[:, None]

    with pytest.raises(PluginError, match=r"Columns.score must return .* \(2,\); got \(2, 1\)"):
        check_filters(["discriminator"], Columns(), IMAGES, ["a"], REGISTRY)


def test_thresholds_are_of_draws_with_a_seed_of_their_own(monkeypatch):
    seeds = []
    model = ImageModel([Dealer()], ("a", "b"), OUTPUT, None)
    draw = model.draw_raw
    monkeypatch.setattr(
        model, "draw_raw", lambda *given, seed: seeds.append(seed) or draw(*given, seed=seed)
    )
    DiscriminatorFilter.fit(model, [])
    assert len(set(seeds)) == 2
    assert not set(seeds) & {class_seed(number, class_) for number in (0, 512) for class_ in (0, 1)}


def test_asking_for_a_score_leaves_the_generator_as_it_was():
    generator = DCGAN(DCGANConfig(preset="radford", width=4), IMAGES.spec)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    rng = torch.get_rng_state()
    check_filters(["discriminator"], generator, IMAGES, ["a"], REGISTRY)
    assert generator.training
    assert all(torch.equal(before[k], v) for k, v in generator.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())


def test_a_score_of_another_shape_is_the_plugin_s_fault():
    class Wrong(Dealer):
        def score(self, images, labels):
            return images.mean()

    with pytest.raises(PluginError, match=r"Wrong.score must return .* of shape \(4,\); got \(\)"):
        DiscriminatorFilter([Wrong()], (0.0,), None, Rate()).scores(
            np.asarray(IMAGES.pixels)[:4], 0, RANGE
        )


@pytest.mark.parametrize("preset", ["default", "radford"])
def test_dcgan_scores_each_image_by_itself(preset):
    generator = DCGAN(DCGANConfig(preset=preset, width=4), IMAGES.spec).eval()
    images = to_signed(np.asarray(IMAGES.pixels)[:6], RANGE)
    labels = torch.arange(6) % 3
    together = generator.score(images, labels)
    alone = torch.cat([generator.score(images[i : i + 1], labels[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone)
    assert together.shape == (6,)
    assert not torch.equal(together, generator.score(images, (labels + 1) % 3))


def test_an_aegan_that_learns_in_image_space_scores_images():
    generator = AEGAN(AEGANConfig(mode="decoder_init", width=8), IMAGES.spec).eval()
    images = to_signed(np.asarray(IMAGES.pixels)[:2], RANGE)
    assert generator.score(images, torch.zeros(2, dtype=torch.int64)).shape == (2,)


# --- in a model ---------------------------------------------------------------------------------


def test_a_model_hands_out_what_passes_and_counts_what_does_not(classifier):
    drawer = model(classifier)
    discriminator = DiscriminatorFilter.fit(drawer, [IMAGES.only([c]) for c in range(3)])
    drawer.add_filters([discriminator])
    drawn = drawer.draw(2, 60, seed=0)
    assert len(drawn) == 60
    assert classifier.keep(drawn, 2, RANGE).all()
    assert discriminator.keep(drawn, 2, RANGE).all()
    tally = drawer.tallies["c"]
    assert tally.kept == 60
    assert tally.drawn == 60 + tally.dropped["classifier"] + tally.dropped["discriminator"]
    assert tally.dropped["classifier"] > 40
    assert tally.dropped["discriminator"] > 5
    assert np.array_equal(model(classifier, discriminator).draw(2, 60, seed=0), drawn)


def test_the_log_says_what_went_and_why_by_class(classifier):
    drawer = model(classifier)
    drawer.draw(0, 10, seed=0)
    log = json.loads(json.dumps(log_fields(drawer)))
    tally = drawer.tallies["a"]
    assert log["classes"] == {
        "a": {
            "drawn": tally.drawn,
            "kept": 10,
            "dropped": {"classifier": tally.dropped["classifier"]},
        }
    }
    assert log["filters"]["classifier"]["drops"] == classifier.reason
    assert log["filters"]["classifier"]["summary"] == classifier.summary
    assert drawer.explain_drops() == f"{classifier.reason} ({tally.dropped['classifier']})"


def test_drawing_ends_with_a_warning_when_fewer_than_one_in_twenty_pass():
    class Nothing:
        name, reason, summary = "classifier", "images that nobody wants", ""

        def keep(self, pixels, class_, value_range):
            return np.zeros(len(pixels), dtype=bool)

    drawer = model(Nothing())
    message = (
        r"Class 'a': 0 of 4 images; of 80 drawn, dropped: images that nobody wants \(80\)\. "
        "The generator has not learned this class"
    )
    with pytest.warns(UserWarning, match=message):
        assert len(drawer.draw(0, 4, seed=0)) == 0


def test_other_filters_do_not_bring_forward_the_end_that_copies_bring():
    class Alternating:
        """Drops all but one image in ten, as another filter than the copy gate."""

        name, reason, summary = "classifier", "others", ""
        seen = 0

        def keep(self, pixels, class_, value_range):
            numbers = np.arange(self.seen, self.seen + len(pixels))
            self.seen += len(pixels)
            return numbers % 10 == 0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(model(Alternating()).draw(0, 30, seed=0)) == 30


# --- in a run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A small conditional DCGAN of two of three classes, after a few steps, with both filters."""
    recipe = Recipe(
        settings={"width": 4},
        total_images=64,
        select="average",
        filters=("copies", "classifier", "discriminator"),
    )
    chosen = IMAGES.only([0, 1])
    parts = plan_parts(chosen, recipe, REGISTRY)
    rows = rows_for_filters(IMAGES, parts, recipe, REGISTRY)
    training = start_training(parts[0], recipe)
    for _ in training:
        pass
    source = Source("dcgan", recipe.settings)
    return make_model(chosen, parts, [training], recipe, rows=rows, source=source), training


def test_the_live_discriminator_judges_and_not_the_one_that_the_average_began_with(trained):
    fitted, training = trained
    live = training.generator.discriminator.state_dict()
    (discriminator,) = (each for each in fitted.filters if each.name == "discriminator")
    found = discriminator.generators[0].discriminator.state_dict()
    assert all(torch.equal(found[name], live[name]) for name in live)
    began = training.ema.discriminator.state_dict()
    assert any(not torch.equal(began[name], live[name]) for name in live)


def test_a_classifier_of_all_rows_judges_those_of_the_trained_classes(trained):
    fitted, _ = trained
    assert [each.name for each in fitted.filters] == ["copies", "classifier", "discriminator"]
    assert fitted.filters[1].known == ("a", "b", "c")


def test_filters_come_back_from_a_folder_with_the_same_verdicts(trained, tmp_path):
    fitted, _ = trained
    write_filters(tmp_path, fitted)
    names = ("classifier", "discriminator")
    assert {path.stem for path in tmp_path.rglob("*.safetensors")} == set(names)
    source = fitted.source
    assert source is not None
    generator = source.build(fitted.generators[0].spec, fitted.generators[0].network.state_dict())
    fresh = ImageModel([generator], fitted.class_names, fitted.output, None, source)
    fresh.add_filters(read_filters(tmp_path, names, fresh, REGISTRY, {}))
    drawn = fitted.draw_raw(1, 64, seed=3)
    for before, after in zip(fitted.filters[1:], fresh.filters, strict=True):
        verdicts = before.keep(drawn, 1, RANGE)
        assert np.array_equal(verdicts, after.keep(drawn, 1, RANGE))
        assert before.summary == after.summary
    assert not fresh.filters[1].keep(drawn, 1, RANGE).all()


def test_no_weight_of_the_network_is_kept_twice(trained, tmp_path):
    fitted, _ = trained
    tensors, _ = fitted.filters[2].to_tensors()
    assert tensors
    assert all(name.startswith("0.") and ".network." not in f".{name}" for name in tensors)


def test_a_missing_or_foreign_file_of_a_run_is_one_clear_line(trained, tmp_path):
    fitted, _ = trained
    with pytest.raises(RunError, match=r"filters.classifier.safetensors is missing"):
        read_filters(tmp_path, ("classifier",), fitted, REGISTRY, {})
    write_filters(tmp_path, fitted)
    other = ImageModel(fitted.generators, ("a", "x"), fitted.output, None, fitted.source)
    with pytest.raises(RunError, match="does not fit the run: it is of another version or other"):
        read_filters(tmp_path, ("discriminator",), other, REGISTRY, {})


def test_a_filtered_model_draws_the_same_after_pickling(trained):
    fitted, _ = trained
    other = pickle.loads(pickle.dumps(fitted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a generator of four steps passes few filters
        expected = fitted.draw(0, 8, seed=1)
        assert np.array_equal(other.draw(0, 8, seed=1), expected)


def test_nothing_is_learned_for_the_copy_gate_alone():
    recipe = Recipe(settings={"width": 4}, total_images=16)
    parts = plan_parts(IMAGES, recipe, REGISTRY)
    assert rows_for_filters(IMAGES, parts, recipe, REGISTRY) is None
    assert fit_filters(["copies"], model(), IMAGES, REGISTRY, seed=0) == []


@pytest.mark.filterwarnings("ignore:Class .* images; of .* drawn")
def test_an_augmenter_is_saved_and_loaded_with_its_filters(tmp_path):
    dataset = [
        (torch.from_numpy(image), int(label))
        for image, label in zip(IMAGES.pixels, IMAGES.labels, strict=True)
    ]
    augmenter = SyntheticAugmenter(
        config={"width": 4},
        total_images=64,
        sampling_strategy={1: 34},
        filter=("discriminator", "classifier"),
        random_state=0,
    )
    augmenter.fit(dataset)
    assert [each.name for each in augmenter.model_.filters] == ["classifier", "discriminator"]
    assert augmenter.model_.filters[0].known == ("0", "1", "2")
    augmenter.save(tmp_path / "run")
    loaded = SyntheticAugmenter.load(tmp_path / "run")
    assert loaded.filter == ("classifier", "discriminator")
    pair = (each.sample(1, 6, random_state=4) for each in (augmenter, loaded))
    assert torch.equal(*pair)
