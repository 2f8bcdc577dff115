from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, EnsureTyped, ScaleIntensityRanged

from ganaug import SyntheticAugmenter
from ganaug.errors import ConfigError, NotFittedError
from ganaug.integrations.monai import RandSyntheticd


@pytest.fixture
def augmenter(two_class_arrays):
    x, y = two_class_arrays
    items = [{"image": torch.from_numpy(i), "label": int(j)} for i, j in zip(x, y, strict=True)]
    augmenter = SyntheticAugmenter(
        "dcgan", config={"width": 4}, total_images=16, random_state=0, filter=None
    )
    return augmenter.fit(items)


def pipeline(augmenter, prob=1.0):
    return Compose(
        [
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            EnsureTyped("image"),
            RandSyntheticd("image", augmenter, prob=prob),
            ScaleIntensityRanged("image", 0, 255, -1, 1),
        ]
    )


@pytest.fixture
def items(two_class_arrays):
    x, y = two_class_arrays
    return [
        {"image": image[0], "label": int(label), "patient": f"p{i}"}
        for i, (image, label) in enumerate(zip(x, y, strict=True))
    ]


def test_images_of_the_grown_class_are_replaced_before_what_follows(augmenter, items):
    plain = Dataset(items, pipeline(augmenter, prob=0.0))
    replaced = Dataset(items, pipeline(augmenter))
    for before, after in zip(plain, replaced, strict=True):
        same = torch.equal(before["image"].as_tensor(), after["image"].as_tensor())
        assert same == (before["label"] == 0)
        assert isinstance(after["image"], MetaTensor)
        assert -1 <= after["image"].min() <= after["image"].max() <= 1
        assert after["patient"] == before["patient"]


def test_monais_seed_decides(augmenter, items):
    def images(seed):
        transform = pipeline(augmenter, prob=0.5).set_random_state(seed=seed)
        return np.stack([np.asarray(transform(item)["image"]) for item in items])

    assert (images(1) == images(1)).all()
    assert (images(1) != images(2)).any()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_it_runs_in_a_data_loaders_workers(augmenter, items):
    assert len(pickle.dumps(augmenter)) > 0
    loader = DataLoader(Dataset(items, pipeline(augmenter)), batch_size=6, num_workers=2)
    assert sum(len(batch["image"]) for batch in loader) == len(items)


def test_wrong_use_is_said(augmenter):
    with pytest.raises(ConfigError, match="got keys image, mask"):
        RandSyntheticd(["image", "mask"], augmenter)
    unfitted = RandSyntheticd("image", SyntheticAugmenter(), prob=1.0)
    with pytest.raises(NotFittedError):
        unfitted({"image": torch.zeros(1, 8, 8), "label": 1})
