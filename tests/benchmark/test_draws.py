from __future__ import annotations

import pytest
import torch

from ganaug import Arm
from ganaug.benchmark.draws import MOST_SYNTHETIC, draw_rows
from ganaug.errors import DataError
from ganaug.study import ARMS

#: 12 real images of class 0, 4 of class 1, 2 of class 2; then synthetic ones, 8 of 1, 10 of 2.
LABELS = torch.tensor([0] * 12 + [1] * 4 + [2] * 2 + [1] * 8 + [2] * 10)
SYNTHETIC = torch.arange(36) >= 18
REAL_LABELS, NONE = LABELS[:18], torch.zeros(18, dtype=torch.bool)


def draw(arm: Arm, labels=LABELS, is_synthetic=SYNTHETIC, *, steps=30, batch_size=12, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return draw_rows(arm, labels, is_synthetic, steps=steps, batch_size=batch_size, rng=rng)


def times(rows: torch.Tensor, n: int = 36) -> torch.Tensor:
    return rows.flatten().bincount(minlength=n)


@pytest.mark.parametrize("name", [*ARMS, "oversample+synthetic"])
def test_every_arm_has_the_same_number_of_steps(name):
    arm = ARMS.get(name) or ARMS["oversample"] + ARMS["synthetic"]
    assert draw(arm, steps=7, batch_size=5).shape == (7, 5)


def test_untreated_images_come_equally_often_and_never_twice_before_all_came_once():
    rows = draw(ARMS["untreated"], steps=3, batch_size=12)
    assert times(rows).tolist() == [2] * 18 + [0] * 18
    assert times(rows.flatten()[:18]).tolist() == [1] * 18 + [0] * 18


def test_passes_are_shuffled_by_the_seed():
    one, same, other = (draw(ARMS["untreated"], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.flatten()[:18].tolist() != one.flatten()[18:36].tolist()


def test_oversampling_draws_every_class_equally_often_in_each_batch_and_each_image_in_its_class():
    rows = draw(ARMS["oversample"])
    for batch in rows:
        assert LABELS[batch].bincount().tolist() == [4, 4, 4]
    assert times(rows).tolist() == [10] * 12 + [30] * 4 + [60] * 2 + [0] * 18


def test_downsampling_cuts_every_class_to_the_smallest_by_the_seed():
    rows = draw(ARMS["downsample"])
    kept = times(rows).nonzero().flatten()
    assert LABELS[kept].bincount().tolist() == [2, 2, 2]
    assert times(rows)[kept].tolist() == [60] * 6
    others = [times(draw(ARMS["downsample"], seed=seed)).nonzero().flatten() for seed in range(5)]
    assert any(not torch.equal(kept, other) for other in others)


def test_downsampling_gives_up_synthetic_images_before_real_ones():
    arm = ARMS["downsample"] + ARMS["synthetic"]
    kept = times(draw(arm, LABELS[:34], SYNTHETIC[:34])).nonzero().flatten()
    assert LABELS[kept].bincount().tolist() == [10, 10, 10]
    assert LABELS[kept[~SYNTHETIC[kept]]].bincount().tolist() == [10, 4, 2]


def test_synthetic_images_beside_real_ones_are_drawn_like_any_other():
    assert times(draw(ARMS["synthetic"])).tolist() == [10] * 36


def test_oversampling_with_synthetic_images_shows_real_ones_at_least_half_of_the_time():
    rows = draw(ARMS["oversample"] + ARMS["synthetic"])
    for batch in rows:
        assert LABELS[batch].bincount().tolist() == [4, 4, 4]
    drawn = rows.flatten()
    for class_ in (1, 2):
        share = SYNTHETIC[drawn[LABELS[drawn] == class_]].double().mean()
        assert share == MOST_SYNTHETIC
    assert times(rows)[12:18].tolist() == [15] * 4 + [30] * 2


def test_oversampling_with_few_synthetic_images_draws_all_of_a_class_equally_often():
    is_synthetic = torch.zeros(18, dtype=torch.bool)
    is_synthetic[12] = True  # one in four of class 1
    rows = draw(ARMS["oversample"] + ARMS["synthetic"], REAL_LABELS, is_synthetic)
    assert times(rows, 18).tolist() == [10] * 12 + [30] * 4 + [60] * 2


def test_synthetic_only_keeps_real_images_of_classes_that_have_no_synthetic_ones():
    drawn = times(draw(ARMS["synthetic-only"]))
    assert drawn[12:18].sum() == 0
    assert (drawn[:12] > 0).all()
    assert (drawn[18:] > 0).all()


def test_a_warm_start_is_synthetic_for_half_of_the_steps_and_then_real():
    rows = draw(ARMS["warm-start"], steps=31)
    first, then = times(rows[:15]), times(rows[15:])
    assert first[12:18].sum() == 0
    assert (first[18:] > 0).all()
    assert then[18:].sum() == 0
    assert (then[:18] > 0).all()


@pytest.mark.parametrize("name", ["synthetic", "classical+synthetic", "warm-start"])
def test_without_any_synthetic_image_an_arm_draws_real_ones_in_every_step(name):
    rows = draw(ARMS[name], REAL_LABELS, NONE)
    assert times(rows, 18).tolist() == [20] * 18


def test_arms_without_an_image_to_draw_are_refused():
    with pytest.raises(DataError, match="'synthetic-only' needs synthetic training images; got"):
        draw(ARMS["synthetic-only"], REAL_LABELS, NONE)
    with pytest.raises(DataError, match="'untreated' needs real training images; got none among 1"):
        draw(ARMS["untreated"], REAL_LABELS[:1], ~NONE[:1])
