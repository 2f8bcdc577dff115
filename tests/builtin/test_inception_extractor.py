"""Inception through torch-fidelity, with weights of the right form that nobody trained."""

import hashlib
import io
from email.message import Message
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)

from ganaug import ImageSpec, Registry
from ganaug.builtin.extractors import inception
from ganaug.errors import ConfigError, ShapeError

RGB = ImageSpec(channels=3, height=16, width=16, class_names=("a",))
GREY = ImageSpec(channels=1, height=16, width=16, class_names=("a",))
LAYERS = ["2048", "logits_unbiased"]


def build(weights=None, spec=RGB):
    plugin = Registry.load().feature_extractors["inception"]
    return plugin.build(
        plugin.config.from_strings({"weights": str(weights)} if weights else {}), spec
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights in torch-fidelity's form."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda *args, **kwargs: {})
        torch.save(FeatureExtractorInceptionV3("x", LAYERS, "nothing").state_dict(), path)
    return path


@pytest.fixture
def expected(weights, monkeypatch):
    """Take the random weights for the right ones."""
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
    return weights


@pytest.fixture
def no_pickle(monkeypatch):
    """Fail when anything is unpickled."""

    def refuse(*args, **kwargs):
        pytest.fail("a pickle was read")

    monkeypatch.setattr(torch, "load", refuse)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where torch keeps the weights: an empty folder, for this test alone."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints" / Path(URL_INCEPTION_V3).name


def offline(*args, **kwargs):
    raise URLError("no route to host")


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(torch.hub, "urlopen", offline)


def pictures(channels=3):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, channels, 16, 16), dtype=torch.uint8, generator=rng)


def test_features_and_logits_are_those_of_torch_fidelity(expected):
    extractor = build(expected)
    pixels = pictures()
    network = FeatureExtractorInceptionV3("x", LAYERS, str(expected))
    with torch.no_grad():
        features, logits = network(pixels)
    images = pixels.float() / 127.5 - 1
    assert extractor.extract(images).shape == (3, extractor.dimension)
    torch.testing.assert_close(extractor.extract(images), features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(extractor.logits(images), logits, rtol=1e-5, atol=1e-5)
    singly = torch.cat([extractor.extract(image[None]) for image in images])
    torch.testing.assert_close(singly, features, rtol=1e-5, atol=1e-5)


def test_a_grey_image_is_one_of_three_equal_channels(expected):
    grey = pictures(1).float() / 127.5 - 1
    assert torch.equal(
        build(expected, GREY).extract(grey), build(expected).extract(grey.expand(-1, 3, -1, -1))
    )
    with pytest.raises(ShapeError, match="1 channel.*got 3 channel"):
        build(expected, GREY).extract(grey.expand(-1, 3, -1, -1))


def test_values_outside_the_range_are_clamped(expected):
    extractor = build(expected)
    image = torch.full((1, 3, 16, 16), 1.5)
    assert torch.equal(extractor.extract(image), extractor.extract(torch.ones_like(image)))


def test_it_says_what_it_looks_at(expected):
    extractor = build(expected)
    assert (extractor.channels, extractor.size, extractor.dtype) == (3, (299, 299), "uint8")
    assert extractor.resize == "to 299x299 px, bilinear as TensorFlow 1 (torch-fidelity)"
    assert extractor.fingerprint == build(expected).fingerprint
    assert len(extractor.fingerprint) == 64


def test_the_right_file_is_the_one_that_torch_fidelity_downloads():
    assert Path(URL_INCEPTION_V3).stem.endswith(inception.SHA256[:8])
    assert len(inception.SHA256) == 64


@pytest.mark.usefixtures("no_pickle")
def test_the_wrong_file_is_refused_before_it_is_opened(tmp_path):
    wrong = tmp_path / "weights-6726825d.pth"
    wrong.write_bytes(b"anything")
    with pytest.raises(ConfigError, match=r"expected the SHA-256 6726825d\w+, found \w+; it was"):
        build(wrong)


@pytest.mark.usefixtures("no_pickle")
def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError) as error:
        build(tmp_path / "nowhere.pth")
    assert "nowhere.pth: No such file or directory." in str(error.value)
    assert URL_INCEPTION_V3 in str(error.value)
    assert "--extractor inception:weights=PATH" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("no_pickle", "no_network")
def test_without_network_it_says_what_to_download(cache):
    with pytest.raises(ConfigError) as error:
        build()
    assert f"not at {cache} and could not be downloaded (no route to host)" in str(error.value)
    assert URL_INCEPTION_V3 in str(error.value)
    assert "--extractor inception:weights=PATH" in str(error.value)
    assert not cache.exists()


@pytest.mark.usefixtures("no_network")
def test_the_cached_file_is_used_without_a_network(cache, expected):
    cache.parent.mkdir(parents=True)
    cache.symlink_to(expected)
    assert build().fingerprint == build(expected).fingerprint


@pytest.mark.usefixtures("no_pickle", "no_network")
def test_a_cached_file_that_is_wrong_is_refused(cache):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"half a down")
    with pytest.raises(ConfigError, match="does not hold torch-fidelity's Inception weights"):
        build()


class Answer(io.BytesIO):
    """What a server sends, without headers."""

    def info(self):
        return Message()


def serve(monkeypatch, content):
    def urlopen(request):
        assert request.full_url == URL_INCEPTION_V3
        return Answer(content)

    monkeypatch.setattr(torch.hub, "urlopen", urlopen)


def test_a_download_is_kept_for_the_next_time(cache, expected, monkeypatch):
    serve(monkeypatch, expected.read_bytes())
    build()
    assert cache.read_bytes() == expected.read_bytes()


@pytest.mark.usefixtures("no_pickle")
def test_a_download_of_something_else_is_refused_and_not_kept(cache, monkeypatch):
    serve(monkeypatch, b"a login page")
    with pytest.raises(ConfigError, match="could not be downloaded .invalid hash value"):
        build()
    assert not cache.exists()
