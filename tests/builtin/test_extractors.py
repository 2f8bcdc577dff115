"""What every extractor promises that needs no weights from elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_images
from safetensors.torch import load, save

from ganaug import ImageSpec, LabelledImages, Registry
from ganaug.errors import DataError, NotFittedError, ShapeError
from ganaug.pixels import to_signed

FIELDS = {
    "random-conv": {},
    "pca": {"components": 8},
    "classifier": {"dimension": 16, "total_images": 256},
    "radiomics": {},
}
LEARNING = ("classifier", "pca", "radiomics")
SIZE = 16


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


@pytest.fixture(scope="module", params=(1, 3), ids=("grey", "rgb"))
def training(request):
    return make_images(24, channels=request.param, size=SIZE, classes=3)


def make(registry, name, spec, **fields):
    plugin = registry.feature_extractors[name]
    return plugin.build(plugin.config.from_fields({**FIELDS[name], **fields}), spec)


def signed(images):
    return to_signed(np.asarray(images.pixels), images.value_range)


def prepared(registry, name, images, **fields):
    extractor = make(registry, name, images.spec, **fields)
    extractor.prepare(images)
    return extractor


@pytest.fixture(scope="module")
def extractors(registry, training):
    return {name: prepared(registry, name, training) for name in FIELDS}


@pytest.mark.parametrize("name", FIELDS)
def test_features_are_finite_float32_of_the_stated_dimension(extractors, training, name):
    features = extractors[name].extract(signed(training))
    assert features.shape == (24, extractors[name].dimension)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    assert features.std(dim=0).max() > 1e-3, "features of different images are different"


@pytest.mark.parametrize("name", FIELDS)
def test_features_do_not_depend_on_the_batch(extractors, training, name):
    images = signed(training)
    whole = extractors[name].extract(images)
    singly = torch.cat([extractors[name].extract(images[row : row + 1]) for row in range(24)])
    torch.testing.assert_close(whole, singly, atol=1e-5, rtol=1e-5)
    assert extractors[name].extract(images[:0]).shape == (0, extractors[name].dimension)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", FIELDS)
def test_constant_images_have_finite_features(extractors, training, name, value):
    images = torch.full((2, training.spec.channels, SIZE, SIZE), value)
    assert extractors[name].extract(images).isfinite().all()


@pytest.mark.parametrize("name", FIELDS)
def test_another_number_of_channels_is_refused(extractors, training, name):
    wrong = 4 - training.spec.channels
    with pytest.raises(ShapeError, match=f"{training.spec.channels} channel.*got {wrong} channel"):
        extractors[name].extract(torch.zeros(2, wrong, SIZE, SIZE))


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_no_batch_of_floats_is_refused(extractors, training, name):
    for images in (torch.zeros(16, 16), signed(training).byte()):
        with pytest.raises(ShapeError, match="takes float images"):
            extractors[name].extract(images)


@pytest.mark.parametrize("name", FIELDS)
def test_images_of_five_channels_are_refused_at_once(registry, name):
    spec = ImageSpec(channels=5, height=16, width=16, class_names=("a", "b"))
    with pytest.raises(ShapeError, match="1 or 3 channels; got 5"):
        make(registry, name, spec)


@pytest.mark.parametrize("name", ["classifier", "radiomics", "random-conv"])
def test_images_that_are_too_small_are_refused(registry, name):
    spec = ImageSpec(channels=1, height=4, width=16, class_names=("a", "b"))
    with pytest.raises(ShapeError, match="at least"):
        make(registry, name, spec)


@pytest.mark.parametrize("name", FIELDS)
def test_extractors_say_what_they_look_at(extractors, name):
    extractor = extractors[name]
    assert isinstance(extractor.resize, str)
    assert extractor.dtype == "float32"
    assert extractor.channels in (1, 3)
    assert extractor.size in (None, (SIZE, SIZE))
    assert len(extractor.fingerprint) == 64


@pytest.mark.parametrize("name", LEARNING)
def test_nothing_is_extracted_before_prepare(registry, training, name):
    extractor = make(registry, name, training.spec)
    with pytest.raises(NotFittedError, match="prepare"):
        extractor.extract(signed(training))
    with pytest.raises(NotFittedError, match="prepare"):
        _ = extractor.fingerprint


@pytest.mark.parametrize("name", FIELDS)
def test_a_saved_state_gives_the_same_features_and_fingerprint(
    registry, extractors, training, name
):
    stored = load(save(dict(extractors[name].state_dict())))
    restored = make(registry, name, training.spec)
    restored.load_state_dict(stored)
    images = signed(training)
    assert torch.equal(restored.extract(images), extractors[name].extract(images))
    assert restored.fingerprint == extractors[name].fingerprint
    assert restored.dimension == extractors[name].dimension


@pytest.mark.parametrize("name", LEARNING)
def test_a_state_that_belongs_to_something_else_is_refused(registry, extractors, training, name):
    state = dict(extractors[name].state_dict())
    extractor = make(registry, name, training.spec)
    with pytest.raises(DataError, match="should hold"):
        extractor.load_state_dict({"other": torch.zeros(1)})
    key = next(key for key in state if state[key].ndim)
    with pytest.raises(DataError, match=f"{key} of shape"):
        extractor.load_state_dict({**state, key: torch.zeros(1, 2, 3)})


@pytest.mark.parametrize("name", FIELDS)
def test_preparing_twice_gives_the_same_features(registry, extractors, training, name):
    again = prepared(registry, name, training)
    assert again.fingerprint == extractors[name].fingerprint


@pytest.mark.parametrize("name", LEARNING)
def test_other_training_images_give_another_fingerprint(registry, extractors, training, name):
    other = prepared(registry, name, training.subset(range(12)))
    assert other.fingerprint != extractors[name].fingerprint


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("random-conv", "seed", 1), ("classifier", "seed", 1), ("radiomics", "levels", 8)],
)
def test_another_setting_gives_another_fingerprint(
    registry, extractors, training, name, field, value
):
    other = prepared(registry, name, training, **{field: value})
    assert other.fingerprint != extractors[name].fingerprint


@pytest.mark.parametrize("name", FIELDS)
def test_nobodys_random_numbers_are_touched(registry, training, name):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    prepared(registry, name, training).extract(signed(training))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize("name", ["classifier", "radiomics"])
def test_identical_training_images_give_finite_features(registry, name):
    images = LabelledImages(
        pixels=np.full((6, 1, SIZE, SIZE), 90, np.uint8),
        labels=np.arange(6) % 2,
        class_names=("a", "b"),
        value_range=(0.0, 255.0),
    )
    extractor = prepared(registry, name, images)
    rng = torch.Generator().manual_seed(0)
    others = torch.rand(3, 1, SIZE, SIZE, generator=rng) * 2 - 1
    assert extractor.extract(torch.cat([signed(images), others])).isfinite().all()


@pytest.mark.parametrize("name", FIELDS)
def test_images_of_sixteen_bits_and_undecoded_ones_are_as_good(registry, name):
    images = make_images(12, size=SIZE, classes=2, dtype="uint16")
    undecoded = replace(images, pixels=list(images.pixels))
    extractor = make(registry, name, images.spec)
    extractor.prepare(undecoded)
    assert extractor.fingerprint == prepared(registry, name, images).fingerprint
