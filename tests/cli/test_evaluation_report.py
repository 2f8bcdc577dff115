"""The table of scores and the lines below it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ganaug.cli.evaluation_report import print_evaluation
from ganaug.scoring import Score

BOTH = {"holdout": 1198, "synthetic": 5000}


def score(metric, name, value, low, high, floor, **changes):
    given = {
        "interval": (low, high),
        "interval_method": "95 %, halves",
        "floor_method": "1,198 training images",
        "n": BOTH,
        "higher_is_better": None,
        "extractor": "radiomics",
        "extractor_hash": "0123456789abcdef" * 4,
        "resize": "none",
        "rows": "holdout of runs/a",
    }
    return Score(metric=metric, name=name, value=value, floor=floor, **{**given, **changes})


@pytest.fixture
def printed(monkeypatch, capsys):
    """The lines that are printed of scores on a terminal of so many columns."""

    def run(*scores, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        evaluation = SimpleNamespace(
            scores=scores, rows="holdout of runs/a", seed=0, skipped={}, notes=()
        )
        print_evaluation(evaluation)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return run


LARGE = score("kid:subset_size=50,subsets=200", "kid", 2442013.7, 2290123.4, 2593904.1, -1.25e6)
SMALL = score("colour-stats", "wasserstein_grey", 1.2e-7, 0.9e-7, 1.5e-7, 0.0)
PLAIN = score("colour-stats", "ks_grey", -0.0364, -0.0568, -0.0165, -0.0001)


def test_no_number_is_cut_at_eighty_columns(printed):
    lines = printed(LARGE, SMALL, PLAIN)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    assert "..." not in text
    rows = [" ".join(line.split()) for line in lines]
    assert "kid 2.44e+06 2.29e+06 to 2.59e+06 -1.25e+06 at floor" in rows
    assert "wasserstein_grey 1.20e-07 9.00e-08 to 1.50e-07 0 at floor" in rows
    assert "ks_grey -0.0364 -0.0568 to -0.0165 -0.0001 at floor" in rows
    assert rows[rows.index("kid:subset_size=50,") + 1] == "subsets=200"


def test_a_long_name_is_folded_beside_whole_numbers(printed):
    name = "mean_distance_of_nearest_neighbours_within_classes"
    lines = printed(score("far", name, *(-2.5e6, -2.6e6, -2.4e6, -2.4e6)))
    start = lines.index(" far") + 1
    assert "".join(line.split()[0] for line in lines[start : start + 3]) == name
    assert lines[start].endswith("-2.50e+06  -2.60e+06 to -2.40e+06  -2.40e+06  at floor")


def test_a_narrow_terminal_folds_numbers_rather_than_cut_them(printed):
    lines = printed(LARGE, columns=40)
    assert "…" not in "".join(lines)
    assert max(map(len, lines)) <= 40


def test_images_are_counted_once_a_role_with_the_metrics_that_read_it(printed):
    n = {**BOTH, "train": 7993}
    lines = printed(
        PLAIN,
        score("kid", "kid", *(0.5,) * 4),
        score("cas", "cas", *(0.5,) * 4, n=n),
        score("is", "is", *(0.5,) * 4, n={"synthetic": 5000}),
    )
    text = " ".join(" ".join(lines).split())
    assert "1,198 held out (not for is), 5,000 synthetic, 7,993 training (for cas)" in text


def test_a_floor_that_is_missing_says_why(printed):
    why = "none: beside 1,198 training images, 9 are left"
    lines = printed(
        PLAIN,
        score("kid", "kid", *(0.5,) * 4),
        score("authenticity", "c_t", 0.5, 0.4, 0.6, None, floor_method=why),
    )
    text = " ".join(" ".join(lines).split())
    assert f"Floor authenticity: {why}; others: 1,198 training images" in text


def test_a_metric_whose_scores_have_different_intervals_is_told_apart(printed):
    lines = printed(
        PLAIN,
        score("authenticity", "authenticity", *(0.5,) * 4),
        score("authenticity", "c_t", *(0.5,) * 4, interval_method="own"),
    )
    assert "Interval c_t: own; others: 95 %, halves" in " ".join(" ".join(lines).split())


def test_scores_that_are_all_spreads_leave_an_empty_table(printed):
    lines = printed(score("kid", "kid_subset_std", *(0.5,) * 4))
    assert not any("kid_subset_std" in line for line in lines)
