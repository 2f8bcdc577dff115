from __future__ import annotations

import pytest
import torch
from conftest import make_images

from ganaug import Config, FeatureExtractor, FeatureExtractorPlugin, ImageSpec, Registry, hookimpl
from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.errors import ConfigError, PluginError, UnknownPluginError
from ganaug.features import CachedExtractor, build_extractor
from ganaug.pixels import to_signed


class Means(FeatureExtractor):
    """Mean and mean square of each image, times what it has learned; counts what it looks at."""

    name = "means"
    dimension = 2
    channels = 1
    size = (8, 8)
    dtype = "uint8"
    resize = "cropped"

    def __init__(self):
        self.factor = torch.ones(())
        self.seen = 0

    @property
    def fingerprint(self):
        return f"means-{self.factor.item()}-0123456789abcdef"

    def prepare(self, images):
        self.factor = torch.tensor(float(len(images)))

    def extract(self, images):
        self.seen += len(images)
        pixels = images.flatten(1)
        return self.factor * torch.stack([pixels.mean(1), pixels.square().mean(1)], dim=1)

    def logits(self, images):
        return self.extract(images)[:, :1]

    def state_dict(self):
        return {"factor": self.factor}

    def load_state_dict(self, state):
        self.factor = state["factor"]


@pytest.fixture
def batch():
    images = make_images(12)
    return to_signed(images.pixels, images.value_range)


def test_an_image_is_looked_at_once_in_whatever_batch(batch):
    inner = Means()
    cached = CachedExtractor(inner)
    expected = Means().extract(batch)
    assert torch.equal(cached.extract(batch[:8]), expected[:8])
    assert torch.equal(cached.extract(batch.flip(0)), expected.flip(0))
    assert torch.equal(cached.extract(batch[3:5].clone()), expected[3:5])
    assert inner.seen == cached.computed == 12


def test_an_image_that_is_twice_in_a_batch_is_looked_at_once(batch):
    inner = Means()
    twice = CachedExtractor(inner).extract(torch.cat([batch[:2], batch[:2]]))
    assert torch.equal(twice[:2], twice[2:])
    assert inner.seen == 2


def test_features_and_logits_are_kept_apart(batch):
    cached = CachedExtractor(Means())
    assert cached.extract(batch).shape == (12, 2)
    assert cached.logits(batch).shape == (12, 1)


def test_strides_do_not_make_another_image_but_shapes_do(batch):
    inner = Means()
    cached = CachedExtractor(inner)
    cached.extract(batch.repeat(1, 3, 1, 1))
    cached.extract(batch.repeat(1, 3, 1, 1).to(memory_format=torch.channels_last))
    assert inner.seen == 12
    cached.extract(batch.reshape(12, 1, 4, 16))
    cached.extract(batch)
    assert inner.seen == 36


def test_a_batch_is_hashed_once_for_several_evaluators(batch, monkeypatch):
    import ganaug.features

    hashed = []
    original = ganaug.features._hash_rows
    monkeypatch.setattr(
        ganaug.features, "_hash_rows", lambda images: hashed.append(1) or original(images)
    )
    cached = CachedExtractor(Means())
    for _ in range(3):
        cached.extract(batch)
        cached.logits(batch)
    assert len(hashed) == 1


def test_a_batch_that_was_written_to_is_another_batch(batch):
    cached = CachedExtractor(Means())
    cached.extract(batch)
    batch.zero_()
    assert cached.extract(batch)[:, 0].tolist() == [0.0] * 12


def test_tensors_of_inference_mode_have_no_versions_and_work(batch):
    with torch.inference_mode():
        inside = batch + 0
        cached = CachedExtractor(Means())
        assert torch.equal(cached.extract(inside), Means().extract(batch))
        inside.zero_()
        assert cached.extract(inside)[0, 0] == 0


def test_it_says_whether_anybody_asked(batch):
    cached = CachedExtractor(Means())
    assert not cached.used
    cached.extract(batch)
    assert cached.used
    cached.used = False
    cached.logits(batch)
    assert cached.used


def test_it_stands_for_the_extractor_it_wraps():
    cached = CachedExtractor(Means())
    assert (cached.name, cached.dimension, cached.channels, cached.size) == ("means", 2, 1, (8, 8))
    assert (cached.dtype, cached.resize) == ("uint8", "cropped")
    assert cached.fingerprint == Means().fingerprint
    assert cached.state_dict() == {"factor": 1.0}


@pytest.mark.parametrize("learn", ["prepare", "load_state_dict"])
def test_what_was_kept_is_forgotten_when_the_extractor_learns(batch, learn):
    cached = CachedExtractor(Means())
    before = cached.extract(batch)
    getattr(cached, learn)(make_images(5) if learn == "prepare" else {"factor": torch.tensor(5.0)})
    assert torch.equal(cached.extract(batch), 5 * before)


def test_an_empty_batch_has_no_features(batch):
    assert CachedExtractor(Means()).extract(batch[:0]).shape == (0, 2)


def test_features_of_a_wrong_shape_are_the_plugins_fault(batch):
    inner = Means()
    inner.extract = lambda images: torch.zeros(3)
    with pytest.raises(PluginError, match=r"'means' must return features of shape \(12, D\)"):
        CachedExtractor(inner).extract(batch)


# --- on disk --------------------------------------------------------------------------------


def saved(folder, batch):
    cached = CachedExtractor(Means(), folder)
    assert not cached.unsaved
    cached.extract(batch)
    cached.logits(batch[:4])
    assert cached.unsaved
    cached.save()
    assert not cached.unsaved
    return cached.path


def test_a_later_process_looks_at_new_images_only(tmp_path, batch):
    path = saved(tmp_path, batch[:10])
    assert path == tmp_path / "means-means-1.0-012345.safetensors"
    inner = Means()
    again = CachedExtractor(inner, tmp_path)
    assert torch.equal(again.extract(batch[:10]), Means().extract(batch[:10]))
    again.logits(batch[:4])
    assert inner.seen == 0
    again.extract(batch)
    assert inner.seen == 2
    again.save()
    assert len(read_tensors(path)[0]["features"]) == 12


def test_features_that_could_give_images_back_are_not_written(tmp_path, batch):
    inner = Means()
    inner.keeps_pixels = True
    cached = CachedExtractor(inner, tmp_path)
    cached.extract(batch)
    assert (cached.path, cached.unsaved) == (None, False)
    cached.save()
    assert not list(tmp_path.iterdir())


def test_a_file_of_what_was_learned_before_goes_and_those_of_others_stay(tmp_path, batch):
    first, other, second = (CachedExtractor(Means(), tmp_path) for _ in range(3))
    other.name = "other-means"
    second.load_state_dict({"factor": torch.tensor(2.0)})
    for cached in (first, other, second):
        cached.extract(batch)
        cached.save()
    assert set(tmp_path.iterdir()) == {other.path, second.path}


def test_nothing_is_written_without_a_folder_or_news(tmp_path, batch):
    cached = CachedExtractor(Means())
    cached.extract(batch)
    cached.save()
    assert cached.path is None
    path = saved(tmp_path, batch)
    path.unlink()
    again = CachedExtractor(Means(), tmp_path)
    again.save()
    assert not path.exists()


def test_the_file_of_an_extractor_that_has_learned_otherwise_is_another(tmp_path, batch):
    path = saved(tmp_path, batch)
    inner = Means()
    other = CachedExtractor(inner, tmp_path)
    other.prepare(make_images(5))
    assert other.path != path
    other.extract(batch)
    assert inner.seen == 12


def _rewrite(path, **changes):
    tensors, header = read_tensors(path)
    header |= changes.pop("header", {})
    write_tensors(path, {**tensors, **changes}, header)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("nothing of ours"),
        lambda path: _rewrite(path, header={"fingerprint": "another"}, features=torch.zeros(12, 2)),
        lambda path: _rewrite(path, features=torch.zeros(12, 3)),
        lambda path: _rewrite(path, features=torch.zeros(11, 2)),
        lambda path: _rewrite(path, features=torch.zeros(12, 2, dtype=torch.float64)),
        lambda path: write_tensors(path, {}, {"fingerprint": Means().fingerprint}),
    ],
    ids=["cut", "empty", "text", "foreign", "wide", "short", "double", "bare"],
)
def test_a_damaged_or_foreign_file_is_passed_over_and_written_anew(tmp_path, batch, damage):
    path = saved(tmp_path, batch)
    damage(path)
    again = CachedExtractor(Means(), tmp_path)
    assert torch.equal(again.extract(batch), Means().extract(batch))
    again.save()
    assert len(read_tensors(path)[0]["features"]) == 12


# --- by name --------------------------------------------------------------------------------


class ThumbnailsConfig(Config):
    side: int = 4


class Thumbnails(FeatureExtractor):
    fingerprint = "thumbnails"

    def __init__(self, config, spec):
        self.dimension = spec.channels * config.side**2

    def extract(self, images):
        return images.flatten(1)


class Plugin:
    @staticmethod
    @hookimpl
    def ganaug_feature_extractors():
        yield FeatureExtractorPlugin(
            name="thumbnails", summary="Small.", config=ThumbnailsConfig, build=Thumbnails
        )


@pytest.fixture
def spec():
    return ImageSpec(channels=1, height=8, width=8, class_names=("a",))


def test_an_extractor_is_built_from_its_name_and_fields(spec):
    registry = Registry([Plugin])
    assert build_extractor("thumbnails", spec, registry).dimension == 16
    built = build_extractor("thumbnails:side=2", spec, registry)
    assert (built.name, built.dimension) == ("thumbnails", 4)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("thumbnail", UnknownPluginError, "No feature extractor is named.*'thumbnails'"),
        ("thumbnails:side", ConfigError, "expected NAME:FIELD=VALUE"),
        ("thumbnails:sid=2", ConfigError, "no field 'sid'. Did you mean 'side'"),
    ],
)
def test_an_extractor_that_cannot_be_built_is_said(spec, text, error, message):
    with pytest.raises(error, match=message):
        build_extractor(text, spec, Registry([Plugin]))
