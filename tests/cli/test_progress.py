"""Bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ganaug.cli.progress import Budget, _Bar, _Lines, duration, losses_text, stage_text
from ganaug.stopping import Progress


def step(images, seconds, **losses):
    losses = losses or {"discriminator/real": 0.5, "discriminator/fake": 0.25, "generator/g": 1.0}
    return Progress(images_seen=images, step=images // 10, epoch=0, losses=losses, seconds=seconds)


@pytest.mark.parametrize(
    ("budget", "fraction", "left"),
    [
        (Budget(1000, None), 0.25, 75.0),
        (Budget(None, 100.0), 0.5, 50.0),
        (Budget(1000, 60.0), 50 / 60, 10.0),
        (Budget(100, None), 1.0, 0.0),
        (Budget(None, None), 0.0, None),
    ],
)
def test_a_budget_is_of_images_or_seconds_whichever_is_over_first(budget, fraction, left):
    progress = step(250, 50.0)
    assert budget.fraction(progress) == pytest.approx(fraction)
    assert budget.seconds_left(progress, speed=10.0) == left


def test_losses_are_summed_by_phase():
    assert losses_text(step(10, 1.0)) == "D 0.75 G 1.00"
    both = {"generator/a": 1.0, "guide/b": 2.0}
    assert losses_text(step(10, 1.0, **both)) == "generator 1.00 guide 2.00"


def test_a_generator_that_grows_says_where_it_is():
    assert stage_text(step(10, 1.0)) == ""
    grown = replace(step(10, 1.0), logs={"resolution": 8.0, "alpha": 0.4})
    assert stage_text(grown) == "8 px fading in"
    stable = replace(step(10, 1.0), logs={"resolution": 8.0, "alpha": 1.0})
    assert stage_text(stable) == "8 px stable"
    screen = io.StringIO()
    with _Lines(Console(file=screen, width=200)) as report:
        report.start("all", Budget(None, None))
        report.update(stable)
        report.saved()
    assert "8 px stable D 0.75 G 1.00" in screen.getvalue()


def test_the_newest_score_stays_beside_the_losses():
    screen = io.StringIO()
    with _Lines(Console(file=screen, width=200)) as report:
        report.start("all", Budget(None, None))
        for n, metrics in enumerate([{}, {"kid": 0.01234, "kid_subset_std": 1.0}, {}]):
            report.update(replace(step(10 * n, 1.0 * n), metrics=metrics))
            report.saved()
    before, scored, after = screen.getvalue().splitlines()[1:]
    assert "kid" not in before
    assert "D 0.75 G 1.00 kid 0.0123" in scored
    assert "kid 0.0123" in after


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_durations_are_read_like_a_clock(seconds, text):
    assert duration(seconds) == text


def show(report_type, width=80):
    screen = io.StringIO()
    console = Console(file=screen, width=width, markup=False, highlight=False)
    with report_type(console) as report:
        report.start("rare [x] 1/2", Budget(100_000, None))
        for n in range(1, 6):
            report.update(step(n * 1000, n * 2.0))
        report.saved()
        report.end("5,000 images were seen")
    return screen.getvalue()


def test_a_bar_shows_images_speed_losses_and_time_left_in_80_columns():
    screen = show(_Bar)
    for text in ("rare [x] 1/2", "5,000/100,000 images", "500/s", "D 0.75 G 1.00", "done"):
        assert text in screen


def test_lines_are_few():
    assert show(_Lines).splitlines() == [
        "rare [x] 1/2: training",
        "rare [x] 1/2: 5,000/100,000 images, 500/s, D 0.75 G 1.00, 3:10 left",
        "rare [x] 1/2: done, 5,000 images were seen",
    ]
