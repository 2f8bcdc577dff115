"""What the features of each extractor mean."""

import numpy as np
import pytest
import torch
from conftest import make_images
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from ganaug import ImageSpec, LabelledImages, Registry
from ganaug.errors import ConfigError, DataError, ShapeError
from ganaug.pixels import to_signed
from ganaug.sources import open_images
from ganaug.splits import split_rows


def build(name, spec, **fields):
    plugin = Registry.load().feature_extractors[name]
    return plugin.build(plugin.config.from_fields(fields), spec)


def prepared(name, images, **fields):
    extractor = build(name, images.spec, **fields)
    extractor.prepare(images)
    return extractor


def signed(images):
    return to_signed(np.asarray(images.pixels), images.value_range)


def grey_spec(size, classes=("a", "b")):
    return ImageSpec(channels=1, height=size, width=size, class_names=classes)


def noise(n=8, size=16, channels=1, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=rng) * 2 - 1


def test_random_conv_is_the_same_on_every_machine():
    extractor = build("random-conv", grey_spec(8))
    ramp = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    assert extractor.fingerprint.startswith("cdbb7a6554c200c1")
    assert extractor.extract(ramp).sum().item() == pytest.approx(-352.53934, rel=1e-5)


@pytest.mark.parametrize("size", [8, 9, 28, 64, 100])
def test_random_conv_takes_any_size_from_eight_pixels(size):
    extractor = build("random-conv", grey_spec(size))
    assert extractor.extract(noise(2, size)).shape == (2, 464)
    assert extractor.extract(noise(2, 20)).shape == (2, 464)


def test_random_conv_sees_where_something_is_and_how_sharp_it_is():
    extractor = build("random-conv", grey_spec(16))
    image = -torch.ones(1, 1, 16, 16)
    image[..., 2:6, 2:6] = 1
    moved, blurred = image.roll(8, -1), torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    features = extractor.extract(torch.cat([image, image, moved, blurred]))
    distances = torch.cdist(features[:1], features)[0]
    assert distances[1] == 0
    assert distances[2] > 1
    assert distances[3] > 1


def test_pca_keeps_distances_between_pixels():
    images = make_images(20, size=16, classes=2)
    extractor = prepared("pca", images, components=19)
    features, pixels = extractor.extract(signed(images)), signed(images).flatten(1)
    ratio = torch.pdist(features) / torch.pdist(pixels)
    torch.testing.assert_close(ratio, torch.full_like(ratio, ratio[0].item()), rtol=1e-3, atol=0)


def test_pca_features_have_mean_zero_and_mean_square_one_on_training_images():
    images = make_images(20, channels=3, size=40, classes=2)
    extractor = prepared("pca", images, components=5)
    features = extractor.extract(signed(images))
    assert extractor.dimension == 5
    assert extractor.size == (32, 32)
    assert features.mean(dim=0).abs().max() < 1e-4
    assert features.var(dim=0).mean() == pytest.approx(1, rel=1e-3)


def test_pca_fits_its_components_to_the_number_of_images():
    assert prepared("pca", make_images(6, size=16), components=64).dimension == 5


@pytest.mark.parametrize("n", [1, 5])
def test_pca_of_images_that_are_all_the_same_is_refused(n):
    images = make_images(24, size=16).subset([3] * n)
    with pytest.raises(DataError, match=f"two different training images; got {n}"):
        build("pca", images.spec).prepare(images)


def test_pca_compares_images_of_one_size_only():
    extractor = prepared("pca", make_images(6, size=16))
    with pytest.raises(ShapeError, match="16x16 pixels; got 12x12"):
        extractor.extract(noise(2, 12))


def test_a_classifier_needs_two_classes():
    with pytest.raises(ConfigError, match="at least two classes.*random-conv"):
        build("classifier", grey_spec(16, ("a",)))
    images = make_images(24, size=16, classes=2)
    with pytest.raises(ConfigError, match="at least two classes.*random-conv"):
        build("classifier", images.spec).prepare(images.subset([0, 2, 4]))


def test_a_classifier_learns_classes_that_can_be_told_apart():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 120, (60, 1, 16, 16)).astype(np.uint8)
    pixels[::2, :, ::2] += 100  # lines across
    pixels[1::2, :, :, ::2] += 100  # and lines down
    images = LabelledImages(
        pixels=pixels,
        labels=np.arange(60) % 2,
        class_names=("across", "down"),
        value_range=(0.0, 255.0),
    )
    extractor = prepared("classifier", images.subset(range(40)), total_images=1000, dimension=32)
    test = images.subset(range(40, 60))
    logits = extractor.logits(signed(test))
    assert logits.shape == (20, 2)
    assert (logits.argmax(1).numpy() == test.labels).all()


def test_a_classifier_draws_a_rare_class_as_often_as_a_common_one():
    from ganaug.builtin.extractors.classifier import _draw_rows

    labels = torch.tensor([2] * 5 + [0] * 200 + [2] * 5)
    rng = torch.Generator().manual_seed(0)
    rows = torch.cat([_draw_rows(labels, rng) for _ in range(50)])
    assert (labels[rows] == 2).double().mean() == pytest.approx(0.5, abs=0.03)
    assert set(rows[labels[rows] == 2].tolist()) == {*range(5), *range(205, 210)}


def test_a_classifier_moves_images_by_an_eighth_at_most():
    from ganaug.builtin.extractors.classifier import _jitter

    columns = torch.arange(16.0).expand(64, 1, 16, 16)
    moved = _jitter(columns, torch.Generator().manual_seed(0))[:, 0]
    inner = moved[:, :, 2:-2]
    ascending = inner[:, 0, -1] > inner[:, 0, 0]
    steps = inner[ascending, 0, 0] - 2
    assert 0 < ascending.sum() < 64
    assert set(steps.tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}


def test_radiomics_have_the_first_order_statistics_of_numpy_and_scipy():
    from scipy.stats import kurtosis, skew

    from ganaug.builtin.extractors.radiomics import FIRST_ORDER

    extractor = build("radiomics", grey_spec(16))
    size = extractor.dimension
    extractor.load_state_dict({"mean": torch.zeros(size), "scale": torch.ones(size)})
    images = noise() ** 3
    found = dict(zip(FIRST_ORDER, extractor.extract(images).T, strict=False))
    flat = images.flatten(1).numpy()
    for name, expected in {
        "mean": flat.mean(1),
        "standard deviation": flat.std(1),
        "skewness": skew(flat, axis=1),
        "kurtosis": kurtosis(flat, axis=1),
        "10th percentile": np.percentile(flat, 10, axis=1),
        "maximum": flat.max(1),
        "root mean square": np.sqrt((flat**2).mean(1)),
    }.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_radiomics_have_the_texture_of_one_image_at_a_time():
    from skimage.feature import graycomatrix, graycoprops

    from ganaug.builtin.extractors.radiomics import FIRST_ORDER, TEXTURE

    extractor = build("radiomics", grey_spec(16), distances=[1, 3], levels=8)
    size = extractor.dimension
    extractor.load_state_dict({"mean": torch.zeros(size), "scale": torch.ones(size)})
    images = noise(3)
    found = extractor.extract(images)[:, len(FIRST_ORDER) :].reshape(3, len(TEXTURE), 2, 2)
    for row, image in enumerate(images[:, 0].numpy()):
        binned = ((image + 1) * 4).clip(0, 7).astype(np.uint8)
        angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
        matrix = graycomatrix(binned, [1, 3], angles, 8, symmetric=True)
        for column, name in enumerate(TEXTURE):
            expected = graycoprops(matrix, name)
            np.testing.assert_allclose(found[row, column, 0], expected.mean(1), rtol=1e-4)
            np.testing.assert_allclose(found[row, column, 1], np.ptp(expected, 1), rtol=1e-3)


def test_radiomics_are_standardised_over_the_training_images():
    images = make_images(24, channels=3, size=16, classes=2)
    features = prepared("radiomics", images).extract(signed(images))
    spread = features.std(dim=0, correction=0)
    assert features.mean(dim=0).abs().max() < 1e-3
    assert ((spread - 1).abs() < 1e-3).logical_or(spread < 1e-3).all()
    assert (spread > 0.5).sum() > 30


def test_radiomics_of_one_training_image_are_zero_for_it():
    image = make_images(24, size=16).subset([0])
    assert prepared("radiomics", image).extract(signed(image)).abs().max() < 1e-4


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "least"),
    [("random-conv", 0.65), ("pca", 0.55), ("classifier", 0.7), ("radiomics", 0.55)],
)
def test_features_of_real_images_tell_classes_apart_better_than_chance(shared_data, name, least):
    images = open_images(str(shared_data / "headct_hemorrhage" / "labels.csv"), Registry.load())
    splits = np.array(split_rows(images, holdout=0.4, validation=0, random_state=0))
    images = images.load(32)
    train, test = (images.subset(np.flatnonzero(splits == s)) for s in ("training", "holdout"))
    fields = {"total_images": 4000} if name == "classifier" else {}
    extractor = prepared(name, train, **fields)
    features, others = (extractor.extract(signed(part)).numpy() for part in (train, test))
    scale = features.std(axis=0) + 1e-6
    probe = LogisticRegression(C=0.01, max_iter=500).fit(features / scale, train.labels)
    assert balanced_accuracy_score(test.labels, probe.predict(others / scale)) > least
