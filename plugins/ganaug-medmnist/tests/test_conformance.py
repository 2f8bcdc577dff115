"""The plugin keeps the promises that ganaug asks of a source of images; without any network."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import medmnist
import numpy as np
import pytest
from ganaug_medmnist import MedMNISTConfig, ganaug_datasets

from ganaug.errors import ConfigError, DataError
from ganaug.testing import parametrize_checks

(PLUGIN,) = ganaug_datasets()
ROOT = Path(tempfile.mkdtemp(prefix="ganaug-medmnist-"))
SIZES = {"train": 9, "val": 3, "test": 4}


def write_set(path, *, shape=(28, 28, 3), classes=7, **changes):
    """Write an archive laid out as MedMNIST's own are."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in SIZES.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, classes, (n, 1), dtype=np.uint8)
    np.savez_compressed(path, **{**arrays, **changes})


@pytest.fixture(scope="module", autouse=True)
def sets():
    write_set(ROOT / "dermamnist.npz")
    write_set(ROOT / "pneumoniamnist_64.npz", shape=(64, 64), classes=2)
    yield
    shutil.rmtree(ROOT)


def opened(name, root=ROOT, **fields):
    return PLUGIN.open(MedMNISTConfig(root=str(root), **fields), Path(name))


@parametrize_checks(PLUGIN, settings={"root": str(ROOT)}, location="dermamnist")
def test_keeps_its_promises(check):
    check()


def test_rows_and_splits_are_the_official_ones():
    images = opened("dermamnist")
    with np.load(ROOT / "dermamnist.npz") as archive:
        first = archive["test_images"][0]
        labels = np.concatenate([archive[f"{split}_labels"][:, 0] for split in SIZES])
    assert images.splits == ("training",) * 9 + ("validation",) * 3 + ("holdout",) * 4
    assert images.ids[11:13] == ("val/2", "test/0")
    assert np.array_equal(images.pixels[12], first.transpose(2, 0, 1))
    assert np.array_equal(images.labels, labels)
    assert images.class_names[4] == "melanoma"
    assert len(images.class_names) == 7


def test_grey_images_of_another_size_have_one_channel():
    images = opened("pneumoniamnist", size=64)
    assert images.pixels.shape == (16, 1, 64, 64)
    assert images.class_names == ("normal", "pneumonia")


def test_without_a_root_the_package_downloads_what_is_not_there_yet(monkeypatch):
    asked = []

    class Recorder(medmnist.DermaMNIST):
        def __init__(self, **options):
            asked.append((options.pop("download"), options.get("root")))
            super().__init__(**{**options, "root": str(ROOT)})

    monkeypatch.setattr(medmnist, "DermaMNIST", Recorder)
    assert len(PLUGIN.open(MedMNISTConfig(), Path("dermamnist"))) == 16
    assert asked == [(True, None)] * 3


def test_with_a_root_nothing_is_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr(medmnist.DermaMNIST, "download", lambda self: pytest.fail("network"))
    opened("dermamnist")
    with pytest.raises(DataError, match=r"There is no .*dermamnist\.npz. Put MedMNIST's file"):
        opened("dermamnist", root=tmp_path)
    with pytest.raises(DataError, match=r"There is no .*dermamnist_64\.npz"):
        opened("dermamnist", size=64)


def test_a_download_that_fails_says_what_the_package_says(monkeypatch):
    def fail(self):
        raise RuntimeError("Automatic download\n  failed!")

    monkeypatch.setattr(medmnist.DermaMNIST, "download", fail)
    with pytest.raises(DataError, match="rows of dermamnist could not be opened: Automatic down"):
        PLUGIN.open(MedMNISTConfig(), Path("dermamnist"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dermamnits", "no set 'dermamnits'. Did you mean 'dermamnist'"),
        ("organmnist3d", "holds volumes"),
        ("chestmnist", "several labels an image"),
    ],
)
def test_a_set_that_cannot_be_opened_is_refused(name, message):
    with pytest.raises(DataError, match=message):
        opened(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_images": np.zeros((3, 20, 20, 3), np.uint8)}, r"val images .* of \(20, 20, 3\)"),
        ({"test_images": np.zeros((4, 28, 28, 3))}, "test images of dermamnist are float64"),
        ({"train_labels": np.zeros((9, 14), np.uint8)}, r"labels .* shape \(9, 14\)"),
        ({"train_labels": np.full((9, 1), 12, np.uint8)}, r"0\.\.6"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path, changes, message):
    write_set(tmp_path / "dermamnist.npz", **changes)
    with pytest.raises(DataError, match=message):
        opened("dermamnist", root=tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "dermamnist.npz").write_text("no archive")
    with pytest.raises(DataError, match="train rows of dermamnist could not be opened"):
        opened("dermamnist", root=tmp_path)


def test_a_size_that_medmnist_has_not_is_refused():
    assert MedMNISTConfig.from_strings({"size": "64"}).size == 64
    with pytest.raises(ConfigError, match="size: MedMNIST has images of 28, 64, .*; got '32'"):
        MedMNISTConfig.from_strings({"size": "32"})
