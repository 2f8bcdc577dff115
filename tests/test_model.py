from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_images
from torch import nn

from ganaug import Generator, ImageSpec
from ganaug.copies import CopyGate
from ganaug.errors import PluginError
from ganaug.model import ImageModel, Output
from ganaug.pixels import to_signed

IMAGES = make_images(40, size=32, classes=2)
GATE = CopyGate.of(IMAGES)
OUTPUT = Output(height=32, width=32, dtype="uint8", value_range=(0.0, 255.0))


class Memoriser(Generator):
    """Hands out training images; a given share of its draws is noise instead."""

    def __init__(self, share_of_noise: float, shape=(1, 32, 32)) -> None:
        super().__init__()
        channels, height, width = shape
        self.spec = ImageSpec(channels=channels, height=height, width=width, class_names=("a", "b"))
        self.network = nn.Identity()
        self.share = share_of_noise
        self.asked: list[int] = []

    def phases(self):
        return ()

    def sample(self, labels, *, rng):
        self.asked.append(len(labels))
        rows = torch.randint(len(IMAGES.pixels), (len(labels),), generator=rng)
        copies = to_signed(IMAGES.pixels[rows.numpy()], (0.0, 255.0))
        noise = torch.rand(copies.shape, generator=rng) * 2 - 1
        is_noise = torch.rand(len(labels), generator=rng) < self.share
        return torch.where(is_noise[:, None, None, None], noise, copies)


def model(share, *, filtered=True, output=OUTPUT):
    copies = GATE if filtered else None
    return ImageModel([Memoriser(share)], ("a", "b"), output, copies)


def is_training_image(pixels):
    known = {image.tobytes() for image in np.asarray(IMAGES.pixels)}
    return [image.tobytes() in known for image in pixels]


def test_copies_of_training_images_are_refused_and_replaced():
    guarded = model(0.6)
    drawn = guarded.draw(0, 50, seed=0)
    assert len(drawn) == 50
    assert not any(is_training_image(drawn))
    assert guarded.dropped["a"] > 10
    assert any(is_training_image(model(0.6, filtered=False).draw(0, 50, seed=0)))


def test_a_memorised_class_is_handed_out_short_with_a_warning():
    with pytest.warns(
        UserWarning,
        match=r"Class 'b': 0 of 20 images; of 80 drawn, dropped: near copies .*\(80\)\..*memorised",
    ):
        drawn = model(0.0).draw(1, 20, seed=0)
    assert drawn.shape == (0, 1, 32, 32)


def test_raw_draws_are_the_generator_s_own_copies_included():
    guarded = model(0.6)
    drawn = guarded.draw_raw(0, 300, seed=0)
    assert drawn.shape == (300, 1, 32, 32)
    assert guarded.generators[0].asked == [256, 44]
    assert 60 < sum(is_training_image(drawn)) < 180
    assert guarded.dropped["a"] == 0


def test_the_seed_decides_and_drawing_leaves_the_global_rng_alone():
    before = torch.get_rng_state()
    first, second = (model(1.0).draw(0, 5, seed=3) for _ in range(2))
    assert (first == second).all()
    assert (model(1.0).draw(0, 5, seed=4) != first).any()
    assert torch.equal(torch.get_rng_state(), before)


def test_large_draws_come_in_batches_and_small_ones_exactly():
    drawer = model(1.0, filtered=False)
    assert drawer.draw(0, 600, seed=0).shape == (600, 1, 32, 32)
    assert drawer.generators[0].asked == [256, 256, 88]
    assert drawer.draw(0, 0, seed=0).shape == (0, 1, 32, 32)


def test_images_come_out_at_their_original_size_and_depth():
    output = Output(height=20, width=28, dtype="uint16", value_range=(0.0, 4095.0))
    drawn = model(1.0, filtered=False, output=output).draw(0, 4, seed=0)
    assert (drawn.shape, drawn.dtype) == ((4, 1, 20, 28), np.uint16)
    assert 1000 < drawn.max() <= 4095


def test_images_can_be_had_at_the_size_that_they_are_generated_at():
    output = Output(height=28, width=20, dtype="uint16", value_range=(0.0, 4095.0))
    drawn = model(0.0, filtered=False, output=output).at_trained_size().draw(0, 2, seed=0)
    assert (drawn.shape, drawn.dtype) == ((2, 1, 32, 32), np.uint16)


def test_a_generator_that_breaks_the_contract_is_named():
    broken = Memoriser(1.0, shape=(1, 16, 16))
    message = r"Memoriser: sample must return images of shape .*; got shape \(2, 1, 32, 32\)"
    with pytest.raises(PluginError, match=message):
        ImageModel([broken], ("a", "b"), OUTPUT, None).draw(0, 2, seed=0)


@pytest.mark.parametrize(("value", "found"), [(3.0, "values from 3 to 3"), (np.nan, "from nan")])
def test_a_generator_whose_images_are_out_of_range_is_named(value, found, monkeypatch):
    def sample(self, labels, *, rng):
        return torch.full((len(labels), 1, 32, 32), value)

    monkeypatch.setattr(Memoriser, "sample", sample)
    with pytest.raises(PluginError, match=rf"within \[-1, 1\]; got .*{found}"):
        ImageModel([Memoriser(0.0)], ("a", "b"), OUTPUT, None).draw(0, 2, seed=0)
