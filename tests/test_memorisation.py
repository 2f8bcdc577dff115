from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TinyGAN
from test_copies import brightened, labelled, moved, pictures
from torch import nn

from ganaug import Generator, ImageSpec, SyntheticAugmenter
from ganaug.cards import render_card
from ganaug.copies import CopyGate, Rate
from ganaug.memorisation import Memorisation, audit, p_value
from ganaug.model import ImageModel, Output
from ganaug.pixels import to_signed

RANGE = (0.0, 255.0)
TRAINING, HELD = pictures(80, seed=0), pictures(40, seed=1)
NEW = pictures(400, seed=2)
OUTPUT = Output(height=32, width=32, dtype="uint8", value_range=RANGE)


class Copier(Generator):
    """Draws new images, and by class a share of copies: changed a little, every second one."""

    def __init__(self, *shares: float) -> None:
        super().__init__()
        names = tuple("abcdef"[: len(shares)])
        self.spec = ImageSpec(channels=1, height=32, width=32, class_names=names)
        self.network = nn.Identity()
        self.shares = shares

    def phases(self):
        return ()

    def sample(self, labels, *, rng):
        n, share = len(labels), self.shares[int(labels[0])]
        copies = TRAINING[torch.randint(len(TRAINING), (n,), generator=rng).numpy()]
        copies[::2] = brightened(moved(copies[::2], 2, -1))
        new = NEW[torch.randint(len(NEW), (n,), generator=rng).numpy()]
        is_copy = torch.rand(n, generator=rng).numpy() < share
        return to_signed(np.where(is_copy[:, None, None, None], copies, new), RANGE)


@pytest.fixture(scope="module")
def gate():
    return CopyGate.of(labelled(TRAINING))


def model(gate, *shares):
    generator = Copier(*shares)
    return ImageModel([generator], generator.spec.class_names, OUTPUT, gate)


def test_a_generator_of_copies_is_flagged_and_its_rate_told(gate):
    found = audit(model(gate, 1.0), labelled(HELD))
    assert found.flagged
    assert found.drawn["a"].flagged >= 253
    assert (found.holdout.images, found.crossfit.images) == (40, 80)
    assert found.real.flagged <= 2
    assert "of the generator's raw draws are near copies" in str(found)
    assert f"of the held-out real images, {found.holdout}" in str(found)


@pytest.mark.parametrize("share", [0.0, 0.005])
def test_a_generator_of_new_images_is_not_flagged(gate, share):
    found = audit(model(gate, share), labelled(HELD))
    assert not found.flagged
    assert found.all_drawn.flagged <= 4


def test_a_tenth_of_copies_is_flagged_with_and_without_held_out_images(gate):
    assert audit(model(gate, 0.1), labelled(HELD)).flagged
    found = audit(model(gate, 0.1), None)
    assert found.flagged
    assert found.holdout == Rate()
    assert "training images that were judged as if they were new" in str(found)


def test_the_class_that_was_memorised_is_named(gate):
    found = audit(model(gate, 0.0, 0.3, 0.0), labelled(HELD))
    assert found.significant == ("all classes", "b")
    assert str(found).count("most in b") == 1
    assert found.drawn["a"].flagged <= 3
    assert found.drawn["b"].flagged > 50


def test_the_level_is_that_of_all_tests_together(gate):
    found = audit(model(gate, 0.0, 0.0, 0.0), labelled(HELD))
    assert set(found.p_values) == {"all classes", "a", "b", "c"}
    for p, significant in ((0.004, ()), (0.002, ("b",))):  # 0.01 over four tests
        changed = {**dict.fromkeys(found.p_values, 1.0), "b": p}
        assert found.model_copy(update={"p_values": changed}).significant == significant


def test_an_audit_is_repeatable_and_drops_nothing(gate):
    drawer = model(gate, 0.1)
    assert audit(drawer, None) == audit(model(gate, 0.1), None)
    assert drawer.dropped == {"a": 0}


def test_without_a_gate_there_is_no_audit():
    assert audit(model(None, 1.0), None) is None


def test_what_was_found_survives_json(gate):
    found = audit(model(gate, 0.1), labelled(HELD))
    assert Memorisation.from_fields(found.to_fields()) == found


def test_p_values_are_those_of_exact_tests():
    # hypergeometric: all 3 flagged ones among the 3 draws of 6, 1 / (6 choose 3)
    few = p_value(Rate(flagged=3, images=3), Rate(flagged=0, images=3))
    assert few == pytest.approx(1 / 20)
    assert p_value(Rate(flagged=0, images=9), Rate(flagged=2, images=9)) == 1.0
    assert p_value(Rate(flagged=1, images=2), Rate()) == pytest.approx(1 - 0.99**2)


@pytest.fixture
def config(tmp_path):
    from ganaug.runs import Run

    x, y = np.concatenate([pictures(30, seed=3, size=16), pictures(6, seed=4, size=16)]), [0] * 30
    augmenter = SyntheticAugmenter("dcgan", config={"width": 4}, total_images=8, random_state=0)
    augmenter.fit_resample(x, np.array(y + [1] * 6))
    augmenter.save(tmp_path / "run")
    return Run.open(tmp_path / "run").config


def test_the_card_says_what_was_found_and_what_that_does_not_prove(gate, config):
    flagged, honest = model(gate, 1.0), model(gate, 0.0)
    for each in (flagged, honest):
        each.memorisation = audit(each, labelled(HELD))
    bad, good = (render_card(config, each) for each in (flagged, honest))
    assert "**Memorised**" in bad
    assert "No memorisation was found" in good
    for card in (bad, good):
        assert "| held-out real images | 40 |" in card
        assert "does not prove that no image shows a person" in card
    unguarded = render_card(config, model(None, 1.0))
    assert "fitted with the filter off" in unguarded
    assert "near copies" not in unguarded


def test_fit_warns_of_a_generator_that_has_memorised(monkeypatch):
    images = pictures(24, seed=5, size=8)
    data = [(image, 0) for image in images]

    def sample(self, labels, *, rng):
        rows = torch.randint(len(images), (len(labels),), generator=rng).numpy()
        return to_signed(images[rows], RANGE)

    generator = TinyGAN(ImageSpec(channels=1, height=8, width=8, class_names=("0",)))
    monkeypatch.setattr(TinyGAN, "sample", sample)
    augmenter = SyntheticAugmenter(
        generator, sampling_strategy={0: 30}, total_images=64, random_state=0
    )
    with (
        pytest.warns(UserWarning, match=r"has memorised training images: 100.0% \(256 of 256\)"),
        pytest.warns(UserWarning, match=r"0 of 6 images; of 24 drawn, dropped: near copies"),
    ):
        augmenter.fit(data)
    assert augmenter.model_.memorisation.flagged
