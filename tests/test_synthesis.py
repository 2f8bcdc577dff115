from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from conftest import TinyGAN

from ganaug import ImageSpec
from ganaug.errors import ConfigError, ShapeError
from ganaug.items import ItemFormat
from ganaug.model import ImageModel, Output
from ganaug.synthesis import Synthesizer

TO_ADD = {1: 4, 2: 6}


@pytest.fixture(scope="module")
def model():
    """Two generators, which can be told apart."""
    spec = ImageSpec(channels=1, height=8, width=8, class_names=("image",))
    torch.manual_seed(0)
    generators = [TinyGAN(spec).eval(), TinyGAN(spec).eval()]
    output = Output(height=8, width=8, dtype="uint8", value_range=(0.0, 255.0))
    return ImageModel(generators, ("mole", "melanoma"), output, copies=None)


def synthesizer(model, to_add=TO_ADD, random_state=0, image=None):
    example = np.zeros((1, 8, 8), np.uint8) if image is None else image
    return Synthesizer(
        model,
        class_names=("nevus", "mole", "melanoma"),
        labels=[10, 11, 12],
        to_add=to_add,
        form=ItemFormat.of([(example, 0)], (0.0, 255.0)),
        random_state=random_state,
    )


BATCH = np.zeros((3, 1, 8, 8), np.uint8)
LABELS = np.array([10, 11, 12])


def test_the_pool_holds_what_is_to_be_added_and_is_drawn_once(model):
    fitted = synthesizer(model)
    assert fitted.pool.counts == TO_ADD
    assert fitted.pool is fitted.pool
    assert (fitted.pool.rows(slice(None)) == synthesizer(model).pool.rows(slice(None))).all()
    another = synthesizer(model, random_state=1)
    assert (fitted.pool.rows(slice(None)) != another.pool.rows(slice(None))).any()


def test_a_pool_whose_file_has_gone_is_drawn_anew(model):
    fitted = synthesizer(model)
    fitted.pool.path.unlink()
    rows = synthesizer(model).pool.rows(slice(None))
    assert (fitted.pool.rows(slice(None)) == rows).all()


def test_what_a_class_gets_does_not_depend_on_the_other_classes(model):
    both, one = synthesizer(model), synthesizer(model, to_add={1: 4})
    assert (both.pool.take(1, np.arange(4)) == one.pool.take(1, np.arange(4))).all()


def test_pickling_draws_the_pool_so_that_workers_need_not(model, monkeypatch):
    fitted = synthesizer(model)
    text = pickle.dumps(fitted)
    monkeypatch.delattr(ImageModel, "draw_batches")
    assert len(pickle.loads(text).pool) == 10


def test_pickling_lets_go_of_the_process_s_numbers(model):
    fitted = synthesizer(model)
    first = fitted.replace(BATCH, LABELS, 0.5)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.pool.path == fitted.pool.path
    assert (again.replace(BATCH, LABELS, 0.5) == first).all()


def test_only_grown_classes_are_replaced_and_the_batch_is_left_alone(model):
    replaced = synthesizer(model).replace(BATCH, LABELS, 1.0)
    assert replaced.any(axis=(1, 2, 3)).tolist() == [False, True, True]
    assert not BATCH.any()
    assert synthesizer(model).replace(BATCH, np.array([10, 10, 99]), 1.0) is BATCH


def test_another_process_draws_other_numbers(model, monkeypatch):
    fitted = synthesizer(model)
    labels = np.full(64, 12)
    batch = np.zeros((64, 1, 8, 8), np.uint8)
    first = fitted.replace(batch, labels, 0.5)
    monkeypatch.setattr(os, "getpid", lambda: -1)  # a fork: the numbers start over
    assert (fitted.replace(batch, labels, 0.5) == first).all()
    assert (fitted.replace(batch, labels, 0.5) != first).any()


def test_classes_go_by_name_and_by_the_caller_s_labels(model):
    fitted = synthesizer(model)
    by_name = fitted.sample("melanoma", 2, random_state=3)
    assert (by_name == fitted.sample(12, 2, random_state=3)).all()
    assert (by_name != fitted.sample("mole", 2, random_state=3)).any()
    with pytest.raises(ConfigError, match="Class 2 was not trained; the trained classes are: mole"):
        fitted.sample(2, 1)


def test_nothing_trained_gives_batches_and_datasets_as_they_are(model):
    fitted = synthesizer(None, to_add={})
    assert fitted.replace(BATCH, LABELS, 1.0) is BATCH
    assert len(fitted.extend([(BATCH[0], 0)])) == 1
    with pytest.raises(ConfigError, match="trained classes are: none"):
        fitted.sample("mole", 1)


def test_images_of_other_channels_need_the_transform(model):
    fitted = synthesizer(model)
    coloured = [(np.zeros((3, 8, 8), np.uint8), 0)]
    with pytest.raises(ShapeError, match=r"have 3 channel\(s\), the synthetic ones 1"):
        fitted.extend(coloured)
    extended = fitted.extend(coloured, image_transform=lambda image: np.repeat(image, 3, axis=0))
    assert extended[-1][0].shape == (3, 8, 8)
    assert extended.targets == [0] + [11] * 4 + [12] * 6
