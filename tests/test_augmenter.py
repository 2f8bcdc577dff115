from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import torch
from conftest import TinyGAN, make_images
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer
from torch.utils.data import DataLoader, TensorDataset

from ganaug import ImageSpec, Loss, Phase, SyntheticAugmenter
from ganaug.errors import ConfigError, DataError, NotFittedError, RunError, ShapeError
from ganaug.model import ImageModel

# Copies are refused for real in test_model.py; a generator that has seen 100 images draws mush.
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def imbalanced(*, channels=1, size=8, dtype="uint8"):
    """30, 12 and 5 images of three classes: X (N, C, H, W) and y."""
    images = make_images(90, channels=channels, size=size, classes=3, dtype=dtype)
    keep = np.concatenate(
        [np.flatnonzero(images.labels == c)[:n] for c, n in ((0, 30), (1, 12), (2, 5))]
    )
    return images.pixels[keep], images.labels[keep]


def small(**kwargs):
    settings = {
        "config": {"width": 4, "latent_dim": 8},
        "total_images": 32,
        "random_state": 0,
        "filter": None,
    }
    return SyntheticAugmenter("dcgan", **{**settings, **kwargs})


def test_a_generator_that_did_not_come_to_its_last_stage_is_said(arrays, caplog):
    config = {"width": 4, "code_dim": 8, "hidden": 8, "autoencoder_images": 16}
    for total, said in ((16, True), (128, False)):
        augmenter = SyntheticAugmenter(
            "aegan", config=config, size=16, total_images=total, random_state=0, filter=None
        )
        caplog.clear()
        augmenter.fit_resample(*arrays)
        assert ("classes all: ended in a stage before the last one" in caplog.text) is said


@pytest.fixture(scope="module")
def arrays():
    return imbalanced()


@pytest.fixture(scope="module")
def fitted(arrays):
    """Fitted on pairs of an array (C, H, W) and an int."""
    x, y = arrays
    return small().fit([(image, int(label)) for image, label in zip(x, y, strict=True)])


def test_fit_resample_counts_as_random_over_sampler_and_keeps_the_originals(arrays):
    x, y = arrays
    augmenter = small()
    x2, y2 = augmenter.fit_resample(x, y)
    theirs = RandomOverSampler(random_state=0)
    _, their_y = theirs.fit_resample(x.reshape(len(x), -1), y)
    assert augmenter.sampling_strategy_ == {int(k): v for k, v in theirs.sampling_strategy_.items()}
    assert np.bincount(y2).tolist() == np.bincount(their_y).tolist() == [30, 30, 30]
    assert x2.dtype == x.dtype
    assert x2.shape[1:] == x.shape[1:]
    assert (x2[: len(x)] == x).all()
    assert (y2[: len(y)] == y).all()


def test_fit_resample_speaks_of_the_labels_it_was_given(arrays):
    x, y = arrays
    names = np.array(["nv", "bkl", "df"])[y]
    augmenter = small(sampling_strategy={"df": 8})
    _, y2 = augmenter.fit_resample(x, names)
    assert augmenter.sampling_strategy_ == {"df": 3}
    assert y2[len(y) :].tolist() == ["df"] * 3
    with pytest.raises(ConfigError, match="names 'dff'; the labels in y are 'bkl', 'df', 'nv'"):
        small(sampling_strategy={"dff": 8}).fit_resample(x, names)


def test_tensors_stay_tensors_and_floats_keep_their_dtype_and_range(arrays):
    x, y = arrays
    floats = torch.from_numpy(x / np.float64(255))
    x2, y2 = small(sampling_strategy={2: 8}).fit_resample(floats, torch.from_numpy(y))
    assert x2.dtype == torch.float64
    assert y2.dtype == torch.int64
    assert torch.equal(x2[: len(x)], floats)
    assert x2.min() >= 0
    assert x2.max() <= 1
    assert len(x2) == len(y2) == len(x) + 3


def test_fit_resample_always_refits(arrays):
    x, y = arrays
    augmenter = small(sampling_strategy={2: 8})
    augmenter.fit_resample(x, y)
    first = augmenter.sample("2", 2, random_state=0)
    inverted, _ = augmenter.fit_resample(255 - x, y)
    assert len(inverted) == len(x) + 3
    assert (augmenter.sample("2", 2, random_state=0) != first).any()


def test_the_same_random_state_gives_the_same_images_and_none_draws_a_seed(arrays):
    x, y = arrays
    first, _ = small(sampling_strategy={2: 8}).fit_resample(x, y)
    second, _ = small(sampling_strategy={2: 8}).fit_resample(x, y)
    assert (first == second).all()
    unseeded = small(sampling_strategy={2: 8}, random_state=None)
    third, _ = unseeded.fit_resample(x, y)
    assert (third[len(x) :] != first[len(x) :]).any()
    assert unseeded.random_state is None
    assert isinstance(unseeded.random_state_, int)


def test_nothing_global_is_seeded(arrays):
    x, y = arrays
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    augmenter = small(sampling_strategy={2: 8})
    augmenter.fit_resample(x, y)
    augmenter.sample("2", 2)
    augmenter(torch.from_numpy(x), torch.from_numpy(y))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_extend_gives_originals_then_synthetic_items_of_the_same_form(arrays, fitted):
    x, y = arrays
    dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    balanced = fitted.extend(dataset)
    assert len(balanced) == 90
    assert np.bincount(balanced.targets).tolist() == [30, 30, 30]
    assert balanced.is_synthetic.tolist() == [False] * 47 + [True] * 43
    image, label = balanced[len(x)]
    assert isinstance(image, torch.Tensor)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (1, 8, 8))
    assert isinstance(label, torch.Tensor)
    assert torch.equal(balanced[3][0], dataset[3][0])
    assert torch.equal(balanced[-1][0], balanced[89][0])
    with pytest.raises(IndexError):
        balanced[90]


def test_extend_follows_a_dataset_of_another_kind_than_fit_saw(arrays, fitted):
    x, y = arrays
    pairs = list(zip(x, y.tolist(), strict=True))
    floats = [(torch.from_numpy(image).float() / 255, label) for image, label in pairs]
    fresh = fitted.extend(floats)[-1][0]
    assert fresh.dtype == torch.float32
    assert 0 <= fresh.min() < fresh.max() <= 1
    pillows = [(Image.fromarray(image[0]), label) for image, label in pairs]
    picture, label = fitted.extend(pillows)[-1]
    assert (picture.mode, picture.size, label) == ("L", (8, 8), 2)
    assert np.allclose(np.asarray(picture) / 255, fresh[0].numpy(), atol=1e-6)


def test_pillow_items_come_back_as_pillow_images_at_their_own_size():
    x, y = imbalanced(channels=3)
    augmenter = small(sampling_strategy={2: 8}).fit(
        [
            (Image.fromarray(np.moveaxis(image, 0, 2)), int(label))
            for image, label in zip(x, y, strict=True)
        ]
    )
    drawn = augmenter.sample(2, 3)
    assert [(picture.mode, picture.size) for picture in drawn] == [("RGB", (8, 8))] * 3


def test_sixteen_bit_images_stay_sixteen_bit():
    x, y = imbalanced(dtype="uint16")
    x2, _ = small(sampling_strategy={2: 8}).fit_resample(x, y)
    assert x2.dtype == np.uint16
    assert len(np.unique(x2[len(x) :])) > 256 / 4
    assert x2[len(x) :].max() > 255


def test_batch_mode_replaces_grown_classes_only_at_the_stated_rate(arrays, fitted):
    x, y = arrays
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    replaced, same = fitted(images, labels)
    assert same is labels
    changed = (replaced != images).flatten(1).any(1)
    assert not changed[labels == 0].any()
    rates = [
        float((fitted(images, labels)[0] != images).flatten(1).any(1)[labels > 0].float().mean())
        for _ in range(60)
    ]
    assert 0.4 < np.mean(rates) < 0.6
    assert torch.equal(images, torch.from_numpy(x))


def test_batch_mode_follows_its_random_state_and_goes_on_without_one(arrays, fitted):
    x, y = arrays
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    first = fitted(images, labels, random_state=7)[0]
    assert torch.equal(first, fitted(images, labels, random_state=7)[0])
    assert not torch.equal(first, fitted(images, labels, random_state=8)[0])
    assert not torch.equal(fitted(images, labels)[0], fitted(images, labels)[0])


def test_batch_mode_takes_arrays_and_floats(arrays, fitted):
    x, y = arrays
    replaced, _ = fitted(x, y, random_state=0)
    floats, _ = fitted(torch.from_numpy(x).float() / 255, torch.from_numpy(y), random_state=0)
    assert isinstance(replaced, np.ndarray)
    assert floats.dtype == torch.float32
    assert np.allclose(replaced / 255, floats.numpy(), atol=1e-6)


def test_normalised_batches_need_the_transform_and_get_it(arrays, fitted):
    x, y = arrays

    def normalise(image):
        return (torch.as_tensor(image).float() / 255 - 0.5) / 0.25

    batch, labels = normalise(x), torch.from_numpy(y)
    with pytest.raises(DataError, match="image_transform"):
        fitted(batch, labels, random_state=0)
    with_transform = pickle.loads(pickle.dumps(fitted))
    with_transform.image_transform = normalise
    replaced, _ = with_transform(batch, labels, random_state=0)
    plain, _ = fitted(torch.from_numpy(x), labels, random_state=0)
    assert torch.allclose(replaced, normalise(plain))
    synthetic = with_transform.extend([(normalise(i), int(j)) for i, j in zip(x, y, strict=True)])
    assert synthetic[-1][0].min() < 0


def test_a_batch_of_another_size_says_to_give_the_transform(arrays, fitted):
    labels = torch.full((4,), 2)
    with pytest.raises(ShapeError, match=r"\(1, 8, 8\).*\(3, 28, 28\).*image_transform"):
        fitted(torch.zeros(4, 3, 28, 28, dtype=torch.uint8), labels, random_state=0)
    with pytest.raises(ShapeError, match=r"labels must have shape \(N,\)"):
        fitted(torch.zeros(4, 1, 8, 8), torch.zeros(4, 3))


def test_balanced_data_and_empty_batches_come_back_as_they_came(arrays):
    x, y = arrays
    few = np.concatenate([np.flatnonzero(y == label)[:5] for label in range(3)])
    augmenter = small().fit([(x[row], int(y[row])) for row in few])
    batch, labels = torch.from_numpy(x[few]), torch.from_numpy(y[few])
    assert augmenter.sampling_strategy_ == {1: 0, 2: 0}
    assert augmenter(batch, labels)[0] is batch
    assert len(augmenter.extend([(x[row], int(y[row])) for row in few])) == 15
    with pytest.raises(ConfigError, match="nothing to save"):
        augmenter.save("never")


def test_an_empty_batch_stays_empty(fitted):
    empty = torch.zeros(0, 1, 8, 8, dtype=torch.uint8)
    assert fitted(empty, torch.zeros(0, dtype=torch.long))[0] is empty


class Collate:
    """Batch mode in a data loader's workers."""

    def __init__(self, augmenter):
        self.augmenter = augmenter

    def __call__(self, items):
        images = torch.stack([torch.as_tensor(image) for image, _ in items])
        return self.augmenter(images, torch.tensor([label for _, label in items]))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers_draw_differently_and_repeatably(arrays, fitted, method):
    rows = [(arrays[0][-1], 2)] * 16

    def batches():
        loader = DataLoader(
            rows,
            batch_size=8,
            num_workers=2,
            collate_fn=Collate(fitted),
            multiprocessing_context=method,
            generator=torch.Generator().manual_seed(0),
        )
        return [images for images, _ in loader]

    first, second = batches(), batches()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_extended_dataset_works_in_workers(arrays, fitted, method):
    x, y = arrays
    balanced = fitted.extend([(image, int(label)) for image, label in zip(x, y, strict=True)])
    loader = DataLoader(balanced, batch_size=30, num_workers=2, multiprocessing_context=method)
    got = torch.cat([images for images, _ in loader])
    assert torch.equal(got, torch.stack([torch.as_tensor(balanced[i][0]) for i in range(90)]))


@pytest.mark.parametrize(
    "config",
    [{}, {"loss": "hinge"}, {"loss": "bce", "spectral_norm": True}, {"preset": "radford"}],
    ids=str,
)
def test_a_pickled_augmenter_draws_the_same_and_carries_no_discriminator(arrays, config):
    x, y = arrays
    augmenter = small(config={"width": 4, "latent_dim": 8, **config}, sampling_strategy={2: 8})
    augmenter.fit([(image, int(label)) for image, label in zip(x, y, strict=True)])
    state = torch.get_rng_state()
    text = pickle.dumps(augmenter)
    again = pickle.loads(text)
    assert torch.equal(torch.get_rng_state(), state)
    assert (again.sample(2, 4, random_state=3) == augmenter.sample(2, 4, random_state=3)).all()
    network = augmenter.model_.generators[0].network
    assert len(text) < 4 * sum(t.numel() for t in network.state_dict().values()) + 20_000


def test_a_copy_outlives_the_augmenter_it_was_copied_from(arrays):
    x, y = arrays
    dataset = [(image, int(label)) for image, label in zip(x, y, strict=True)]
    augmenter = small(sampling_strategy={2: 8}).fit(dataset)
    drawn = augmenter.extend(dataset)[-1][0].copy()
    copied = copy.deepcopy(augmenter)
    del augmenter
    gc.collect()
    assert (copied.extend(dataset)[-1][0] == drawn).all()


def test_the_pool_is_drawn_when_fitting_so_workers_need_not(arrays, monkeypatch):
    x, y = arrays
    dataset = [(image, int(label)) for image, label in zip(x, y, strict=True)]
    augmenter = small(sampling_strategy={2: 8}).fit(dataset)
    monkeypatch.delattr(ImageModel, "draw_batches")
    assert len(augmenter.extend(dataset)) == len(dataset) + 3


def test_extend_and_sample_speak_of_the_labels_of_fit_resample(arrays):
    x, y = arrays
    labels = np.array([3, 5, 7])[y]
    augmenter = small(sampling_strategy={7: 8})
    augmenter.fit_resample(x, labels)
    balanced = augmenter.extend([(i, int(j)) for i, j in zip(x, labels, strict=True)])
    assert balanced.targets[len(x) :] == [7, 7, 7]
    assert balanced[-1][1] == 7
    assert augmenter.sample(7, 2).shape == (2, 1, 8, 8)
    replaced, _ = augmenter(x, labels, random_state=0)
    assert not (replaced[labels == 7] == x[labels == 7]).all()


def test_sixteen_bit_batches_are_replaced_in_tensors_too():
    x, y = imbalanced(dtype="uint16")
    dataset = [(torch.from_numpy(image), int(label)) for image, label in zip(x, y, strict=True)]
    augmenter = small(ratio=1.0, sampling_strategy={2: 8}).fit(dataset)
    batch = torch.from_numpy(x)
    replaced, _ = augmenter(batch, torch.from_numpy(y))
    assert replaced.dtype == torch.uint16
    changed = (replaced.int() != batch.int()).flatten(1).any(1)
    assert changed[y == 2].all()
    assert not changed[y != 2].any()


def test_a_stated_range_of_integers_says_nothing_of_float_batches():
    x, y = imbalanced(dtype="uint16")
    augmenter = small(value_range=(0, 65535), ratio=1.0, sampling_strategy={2: 8})
    augmenter.fit([(image, int(label)) for image, label in zip(x, y, strict=True)])
    floats, _ = augmenter(torch.from_numpy(x / np.float32(65535)), torch.from_numpy(y))
    assert 0 <= floats.min() <= floats.max() <= 1


def test_a_stated_float_range_survives_saving(tmp_path, arrays):
    x, y = arrays
    floats = [(image.astype(np.float32), int(label)) for image, label in zip(x, y, strict=True)]
    augmenter = small(value_range=(0, 255), sampling_strategy={2: 8}).fit(floats)
    augmenter.save(tmp_path / "run")
    again = SyntheticAugmenter.load(tmp_path / "run")
    assert again.extend(floats)[-1][0].max() == augmenter.extend(floats)[-1][0].max() > 10


def test_labels_of_any_sortable_kind_can_be_saved(tmp_path, arrays):
    x, y = arrays
    for number, labels in enumerate((y == 2, (y == 2) * 1.0)):
        augmenter = small(sampling_strategy={1: 8})
        augmenter.fit_resample(x, labels)
        augmenter.save(tmp_path / str(number))
        again = SyntheticAugmenter.load(tmp_path / str(number))
        assert again.sampling_strategy_ == augmenter.sampling_strategy_


def test_what_does_not_belong_together_is_said(arrays, fitted):
    x, y = arrays
    with pytest.raises(ShapeError, match=r"y must have shape \(N,\).*\(47, 2\)"):
        small().fit_resample(x, np.stack([y == 0, y == 1], axis=1))
    with pytest.raises(DataError, match="X holds no images"):
        small().fit_resample(x[:0], y[:0])
    with pytest.raises(ShapeError, match="3 channel"):
        fitted.extend([(torch.zeros(3, 8, 8, dtype=torch.uint8), 0)])
    with pytest.raises(ShapeError, match="47 images but 40 labels"):
        fitted(x, y[:40])
    with pytest.raises(ConfigError, match="cannot be negative; got -1"):
        fitted.sample(1, -1)
    with pytest.raises(ConfigError, match="random_state must be a whole number"):
        fitted(x, y, random_state=-1)
    transformed = pickle.loads(pickle.dumps(fitted))
    transformed.image_transform = lambda image: torch.as_tensor(image) / 255.0
    with pytest.raises(DataError, match="image_transform makes floats, the batch holds uint8"):
        transformed(x, y, random_state=0)
    transformed.set_params(ratio=3)
    with pytest.raises(ConfigError, match="ratio is a probability"):
        transformed(x, y)


def test_a_built_generator_that_is_not_square_takes_images_of_its_size():
    images = make_images(24, size=16, classes=2)
    wide = np.concatenate([images.pixels, images.pixels], axis=3)[:, :, :, :24]
    spec = ImageSpec(channels=1, height=16, width=24, class_names=("1",))

    class Wide(TinyGAN):
        def sample(self, labels, *, rng):
            return torch.rand((len(labels), 1, 16, 24), generator=rng) * 2 - 1

        def phases(self):
            adam = torch.optim.Adam(self.network.parameters())
            yield Phase("only", self.network, adam, self.loss)

        def loss(self, batch, rng):
            made = self.network(batch.randn(8, rng=rng))
            return Loss({"mean": (made.mean() - batch.images.mean()) ** 2})

    settings = {"sampling_strategy": {1: 14}, "total_images": 64, "random_state": 0, "filter": None}
    augmenter = SyntheticAugmenter(Wide(spec), **settings)
    rows = [(image, int(label)) for image, label in zip(wide, images.labels, strict=True)]
    assert augmenter.fit(rows).sample(1, 2).shape == (2, 1, 16, 24)
    with pytest.raises(ShapeError, match="makes images of 16x24; these are 16x16"):
        augmenter.fit([(image[:, :, :16], label) for image, label in rows])


def test_a_pickled_augmenter_works_in_a_process_of_its_own(fitted):
    # Spawned: a fork of a process that has computed with OpenMP threads cannot compute with them.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        drawn = pool.apply(fitted.sample, (1, 2), {"random_state": 5})
    assert (drawn == fitted.sample(1, 2, random_state=5)).all()


def test_save_and_load_draw_the_same(tmp_path, arrays, fitted):
    x, y = arrays
    fitted.save(tmp_path / "run")
    again = SyntheticAugmenter.load(tmp_path / "run")
    assert (again.sample(1, 4, random_state=3) == fitted.sample(1, 4, random_state=3)).all()
    assert again.sampling_strategy_ == fitted.sampling_strategy_
    dataset = [(image, int(label)) for image, label in zip(x, y, strict=True)]
    ours, theirs = fitted.extend(dataset), again.extend(dataset)
    assert all((a[0] == b[0]).all() for a, b in zip(ours, theirs, strict=True))
    with pytest.raises(RunError, match="exists already"):
        fitted.save(tmp_path / "run")
    again.save(tmp_path / "copy")
    first, second = (tmp_path / name / "run.toml" for name in ("run", "copy"))
    assert first.read_text() == second.read_text()


def test_a_saved_run_holds_no_pixels(tmp_path, arrays, fitted):
    from ganaug.checkpoints import read_tensors

    x, _ = arrays
    fitted.save(tmp_path / "run")
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(image.tobytes() in content for image in x), path
    (path, *_) = (tmp_path / "run").rglob("generator.safetensors")
    weights, _ = read_tensors(path)
    assert weights


def test_per_class_trains_one_generator_a_class(tmp_path, arrays):
    x, y = arrays
    augmenter = small(conditioning="per-class")
    augmenter.fit([(image, int(label)) for image, label in zip(x, y, strict=True)])
    assert len(augmenter.model_.generators) == 2
    assert all(g.spec.num_classes == 1 for g in augmenter.model_.generators)
    augmenter.save(tmp_path / "run")
    assert (tmp_path / "run" / "classes" / "1" / "generator.safetensors").exists()
    again = SyntheticAugmenter.load(tmp_path / "run")
    for label in (1, 2):
        ours = augmenter.sample(label, 3, random_state=0)
        assert (again.sample(label, 3, random_state=0) == ours).all()


def test_a_built_generator_is_trained_as_a_copy(arrays):
    x, y = arrays
    torch.manual_seed(0)
    generator = TinyGAN(ImageSpec(channels=1, height=8, width=8, class_names=("2",)))
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    dataset = [(image, int(label)) for image, label in zip(x, y, strict=True)]
    augmenter = SyntheticAugmenter(
        generator, sampling_strategy={2: 9}, total_images=64, random_state=0, filter=None
    ).fit(dataset)
    assert augmenter.sample(2, 3).shape == (3, 1, 8, 8)
    assert all(torch.equal(generator.state_dict()[name], before[name]) for name in before)
    with pytest.raises(ConfigError, match="cannot be saved"):
        augmenter.save("never")


def test_it_is_an_estimator_and_a_sampler_in_an_imbalanced_learn_pipeline(arrays):
    x, y = arrays
    augmenter = small(conditioning="conditional")
    assert clone(augmenter).get_params()["total_images"] == 32
    assert not hasattr(augmenter, "transform")
    pipeline = make_pipeline(
        augmenter,
        FunctionTransformer(lambda images: images.reshape(len(images), -1)),
        LogisticRegression(max_iter=200),
    )
    pipeline.fit(x, y)
    assert pipeline.predict(x).shape == y.shape
    assert pipeline[-1].n_features_in_ == 64


def test_what_needs_fitting_says_so():
    uses = (
        lambda a: a.sample("x", 1),
        lambda a: a.extend([]),
        lambda a: a([], []),
        lambda a: a.save("x"),
    )
    for use in uses:
        with pytest.raises(NotFittedError, match="call fit"):
            use(SyntheticAugmenter())


def test_classes_that_were_not_trained_or_do_not_exist(fitted):
    with pytest.raises(ConfigError, match="Class 0 was not trained; the trained classes are: 1, 2"):
        fitted.sample(0, 1)
    with pytest.raises(ConfigError, match="no class 'melanoma'"):
        fitted.sample("melanoma", 1)
    assert fitted.sample("1", 0).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ratio": 1.5}, "ratio is a probability, from 0 to 1; got 1.5"),
        ({"filter": "copy"}, "filter must be one of 'copies', .*; got 'copy'"),
        ({"stop": "divergence"}, "stop must be a sequence"),
        ({"stop": ("diverge",)}, "divergence"),
        ({"select": "best"}, "16 training images end before the first, at 5,000"),
        ({"select": "first"}, "select"),
        ({"conditioning": "auto"}, "conditioning"),
        ({"config": {"widht": 4}}, "no field 'widht'. Did you mean 'width'"),
        ({"config": {"width": "wide"}}, "width"),
        ({"size": 48}, "power of two"),
        ({"generator": "dcgann"}, "Did you mean 'dcgan'"),
        ({"device": "warp"}, "No device is called 'warp'"),
        ({"generator": 3}, "generator must be a name or a Generator; got 3"),
        ({"random_state": "x"}, "random_state must be a whole number"),
        ({"ratio": "a"}, "ratio is a probability"),
        ({"stop": (3,)}, "stop holds names and stopping policies; got 3"),
        ({"sampling_strategy": "minorty"}, "Did you mean 'minority'"),
        ({"sampling_strategy": {None: 5}}, "names None; expected class names or indices"),
    ],
)
def test_wrong_parameters_are_one_clear_line_at_fit(arrays, parameters, message):
    x, y = arrays
    augmenter = SyntheticAugmenter(**{"total_images": 16, **parameters})
    with pytest.raises(Exception, match=message) as caught:
        augmenter.fit([(image, int(label)) for image, label in zip(x, y, strict=True)])
    assert type(caught.value).__module__ == "ganaug.errors"
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFittedError):
        augmenter.sample(0, 1)


def test_arrays_that_cannot_be_used(arrays):
    x, y = arrays
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\)"):
        small().fit_resample(x.reshape(len(x), -1), y)
    with pytest.raises(DataError, match="47 images but y has 46"):
        small().fit_resample(x, y[:-1])
    with pytest.raises(DataError, match="int64"):
        small().fit_resample(x.astype(np.int64), y)
    with pytest.raises(DataError, match="value_range"):
        small().fit_resample(x.astype(np.float32), y)
    with_nan = x / np.float32(255)
    with_nan[3, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="finite"):
        small().fit_resample(with_nan, np.where(np.arange(len(y)) == 3, 2, y))
    with pytest.raises(DataError, match="two classes or more"):
        small().fit_resample(x, np.zeros(len(x), dtype=int))


def test_a_class_of_one_image_is_refused(arrays):
    x, y = arrays
    with pytest.raises(DataError, match="Class '2' has 1 training image;"):
        small().fit_resample(x[:43], y[:43])


def test_no_warning_where_nothing_is_wrong(arrays):
    x, y = arrays
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(filter="copies", sampling_strategy={2: 8}).fit_resample(x, y)
