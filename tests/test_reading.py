from __future__ import annotations

import numpy as np
import pytest

from ganaug.cards import render_scores, with_scores
from ganaug.reading import count_text, growth_text, read_scores, resize_rules, score_rows
from ganaug.scoring import Score
from ganaug.stopping import Progress


def score(value=0.05, interval=(0.04, 0.06), floor=0.01, **fields):
    given = {
        "metric": "kid",
        "name": "kid",
        "interval_method": "halves",
        "n": {"holdout": 1200, "synthetic": 1200},
        "higher_is_better": False,
        "extractor": "random-conv",
        "extractor_hash": "0123456789abcdef0123",
        "resize": "none",
        "rows": "holdout of runs/a",
        **fields,
    }
    return Score(value=value, interval=interval, floor=floor, **given)


def row(*args, **fields):
    return score_rows([score(*args, **fields)])[0]


# --- digits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "interval", "floor", "expected"),
    [
        (0.043219, (0.03912, 0.0473), 0.00031, ("0.0432", "0.0391 to 0.0473", "0.0003")),
        (0.9523, (0.9, 1.0), 0.98, ("0.95", "0.90 to 1.00", "0.98")),
        (-12.34, (-14.12, -10.5), 0.2, ("-12.3", "-14.1 to -10.5", "0.2")),
        (12345.6, (12000.0, 13000.0), 10.0, ("12,346", "12,000 to 13,000", "10")),
        (1.2e-9, None, None, ("1.20e-09", "", "")),
        (2442013.7, (2.2e6, 2.6e6), -0.0, ("2.44e+06", "2.20e+06 to 2.60e+06", "0")),
        (0.0, (0.0, 0.0), 0.0, ("0.00", "0.00 to 0.00", "0.00")),
    ],
)
def test_numbers_of_a_score_share_the_digits_that_its_largest_needs(
    value, interval, floor, expected
):
    found = row(value, interval, floor)
    assert (found.value, found.interval, found.floor) == expected


def test_what_rounds_to_zero_has_no_sign():
    assert row(0.5, (-0.0001, 0.9), -0.002).interval == "0.000 to 0.900"
    assert row(0.5, (-0.0001, 0.9), -0.0002).floor == "0.000"


def test_which_end_is_better_is_said():
    assert row(higher_is_better=True).better == "higher"
    assert row(higher_is_better=False).better == "lower"
    assert row(higher_is_better=None).better == "at floor"
    assert row(higher_is_better=None, floor=None).better == ""


@pytest.mark.parametrize("name", ["kid_subset_std", "c2st_p", "ks_p_red"])
def test_spreads_and_p_values_have_no_row_of_their_own(name):
    assert score_rows([score(name=name)]) == []


@pytest.mark.parametrize("name", ["precision", "pairwise_is_cross", "ms_ssim_real"])
def test_other_names_have_a_row(name):
    assert score_rows([score(name=name)])[0].name == name


def test_images_are_counted_by_role():
    assert count_text({"train": 4786, "synthetic": 60, "holdout": 1198}) == (
        "1,198 held out, 60 synthetic, 4,786 training"
    )


def test_each_resize_rule_is_said_once():
    scores = [score(resize="none"), score(resize="a; b"), score(resize="b; c")]
    assert resize_rules(scores) == ["a", "b", "c"]


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "floor", "words"),
    [
        ((0.04, 0.06), 0.01, "farther from held-out ones than real images are"),
        ((0.04, 0.06), 0.09, "closer to held-out ones than real images are"),
        ((0.00, 0.06), 0.01, "No difference"),
        (None, 0.01, "Synthetic images against held-out ones: kid 0.0500; real"),
        ((0.04, 0.06), None, "there is no floor"),
    ],
)
def test_the_distance_is_read_beside_that_of_real_images(interval, floor, words):
    (sentence,) = read_scores([score(0.05, interval, floor)])
    assert words in sentence


def test_without_a_difference_the_smallest_that_would_show_is_named():
    def read(difference):
        (sentence,) = read_scores([score(0.05, (0.0, 0.1), 0.05 - difference)])
        return sentence

    assert read(0.0706).endswith("With these images, only one above 0.071 would show.")
    assert "farther" in read(0.0708)


def test_the_first_distance_is_kid_whatever_the_order():
    fid = score(60.0, (50.0, 70.0), 30.0, metric="fid", name="fd:classifier")
    first, second = read_scores([fid, score()])
    assert "kid 0.05" in first
    assert second == "Unlike real images, by more than chance: fd:classifier."
    assert "fd:classifier 60.0" in read_scores([fid])[0]


def test_other_scores_are_named_by_whether_real_images_get_them_too():
    sentences = read_scores(
        [
            score(0.3, (0.2, 0.4), 0.9, metric="prc", name="recall"),
            score(0.9, (0.8, 1.0), 0.9, metric="prc", name="precision"),
            score(0.9, None, 0.9, metric="prc", name="unsure"),
        ]
    )
    assert sentences == [
        "Unlike real images, by more than chance: recall.",
        "No difference from real images shows in: precision.",
    ]


def test_a_floor_is_as_noisy_as_the_score():
    def sentence(floor):
        return read_scores([score(0.5, (0.4, 0.6), floor, metric="prc", name="recall")])[0]

    assert sentence(0.63).startswith("No difference")  # out of the interval, but not by root 2
    assert sentence(0.65).startswith("Unlike")
    assert sentence(0.35).startswith("Unlike")


def test_the_more_scores_are_read_the_farther_off_each_must_be():
    one = score(0.5, (0.4, 0.6), 0.68, metric="prc", name="recall")
    others = [score(0.5, (0.4, 0.6), 0.5, metric="a", name=f"a{i}") for i in range(20)]
    assert read_scores([one])[0].startswith("Unlike")
    assert read_scores([one, *others])[0].startswith("No difference")
    far = score(0.5, (0.4, 0.6), 0.8, metric="prc", name="recall")
    assert read_scores([far, *others])[0] == "Unlike real images, by more than chance: recall."


def test_a_two_sample_test_is_read_beside_a_half_rather_than_its_floor():
    def sentence(value, floor):
        found = score(value, (value - 0.02, value + 0.02), floor, metric="c2st", name="c2st")
        return read_scores([found])[0]

    assert sentence(0.51, 0.4).startswith("No difference")
    assert sentence(0.53, 0.53).startswith("Unlike")
    assert sentence(0.53, None).startswith("Unlike")


@pytest.mark.parametrize("name", ["ms_ssim_real", "cas_real", "pairwise_is_real", "c2st_p"])
def test_what_is_not_about_synthetic_images_is_not_read(name):
    assert read_scores([score(0.9, (0.8, 1.0), 0.1, metric="x", name=name)]) == []


def test_scores_of_one_name_are_told_apart_by_their_metrics():
    sentences = read_scores(
        [
            score(0.3, (0.2, 0.4), 0.9, metric="prc", name="recall"),
            score(0.9, (0.8, 1.0), 0.9, metric="prc:neighbourhood=5", name="recall"),
        ]
    )
    assert sentences == [
        "Unlike real images, by more than chance: recall (prc).",
        "No difference from real images shows in: recall (prc:neighbourhood=5).",
    ]


def test_hardly_a_report_on_a_perfect_generator_finds_a_difference():
    # Scores and floors of one law, intervals as 20 half samples find them.
    rng = np.random.default_rng(0)
    names = ["kid", "authenticity", *"abcdefghijklm"]
    farther = others = 0
    for _ in range(400):
        values, floors = rng.normal(size=(2, len(names)))
        spreads = 2.093 * np.sqrt(rng.chisquare(19, len(names)) / 19)
        sentences = read_scores(
            [
                score(value, (value - spread, value + spread), floor, metric=name, name=name)
                for name, value, floor, spread in zip(names, values, floors, spreads, strict=True)
            ]
        )
        farther += any(text.startswith("Synth") for text in sentences)
        others += any(text.startswith(("Unlike", "Closer")) for text in sentences)
    assert 2 < farther < 0.1 * 400
    assert 2 < others < 0.1 * 400  # 55 % by the interval alone


def test_the_distance_has_a_level_to_itself_however_many_scores_there_are():
    kid = score(0.412, (0.178, 0.645), 0.007, metric="kid", name="kid")
    others = [score(0.4, (0.2, 0.6), 0.01, metric=name, name=name) for name in "abcdefghijklmn"]
    sentences = read_scores([kid, *others])
    assert sentences[0].startswith("Synthetic images are farther from held-out ones")
    assert sentences[1].startswith("No difference from real images shows in: a, b")


def copying(**values):
    return [
        score(value, (value - 0.1, value + 0.1), 0.5, metric="authenticity", name=name)
        for name, value in values.items()
    ]


def test_closer_to_training_images_than_real_images_are_is_a_sign_of_copies():
    (sentence,) = read_scores(copying(authenticity=0.1, c_t=0.5, neighbour_ratio=0.2))
    assert sentence.startswith("Closer to training images than other real images are")
    assert "by authenticity, neighbour_ratio:" in sentence


def test_no_sign_of_copies_does_not_promise_that_there_are_none():
    (sentence,) = read_scores(copying(authenticity=0.5, c_t=0.9))
    assert sentence.startswith("Not shown to be closer to training images")
    assert "can hide" in sentence


def test_without_scores_nothing_is_said():
    assert read_scores([]) == []
    assert read_scores([score(metric="authenticity", name="c_t", floor=None)]) == []


# --- the card -----------------------------------------------------------------------------------


def section(scores, **fields):
    return render_scores(scores, **{"skipped": {}, "notes": (), "seed": 3, **fields})


def test_the_card_gives_each_score_with_interval_floor_and_numbers_of_images():
    text = section([score()], skipped={"cas": "One class."}, notes=["A note."])
    line = "| kid | 0.0500 | 0.0400 to 0.0600 | 0.0100 | lower | 1,200 held out, 1,200 synthetic |"
    assert line in text
    for fact in ("holdout of runs/a", "`random-conv` (0123456789abcdef)", "seed 3"):
        assert fact in text
    assert "- A note." in text
    assert "- Not computed: cas. One class." in text


CARD = "# Title\n\n## Training\n\nx\n\n## Scores\n\nNone yet.\n\n## Not for\n\nDiagnosis.\n"


def test_new_scores_take_the_place_of_old_ones_and_leave_the_rest():
    once = with_scores(CARD, section([score()]))
    assert "None yet." not in once
    assert once.startswith("# Title\n\n## Training\n\nx\n\n## Scores\n\nAgainst")
    assert once.endswith("\n\n## Not for\n\nDiagnosis.\n")
    assert with_scores(once, section([score()])) == once
    assert with_scores(once, section([score(0.5)])).count("## Scores") == 1


def test_a_card_without_the_section_gets_one_before_what_it_is_not_for():
    old = CARD.replace("## Scores\n\nNone yet.\n\n", "")
    assert with_scores(old, section([score()])) == with_scores(CARD, section([score()]))
    assert with_scores("# Title\n", section([score()])).startswith("# Title\n\n## Scores\n")


@pytest.mark.parametrize(
    ("logs", "text"),
    [
        ({}, ""),
        ({"growing": 0.0}, ""),
        (
            {"growing": 1.0},
            "ended in a stage before the last one; images are not yet what they are to be",
        ),
        ({"resolution": 64.0, "alpha": 1.0}, ""),
        (
            {"resolution": 64.0, "alpha": 0.2},
            "trained up to 64 px of 64, which was still fading in",
        ),
        ({"resolution": 32.0}, "trained up to 32 px of 64; images are enlarged to 64 px"),
        (
            {"resolution": 32.0, "alpha": 0.2},
            "trained up to 32 px of 64, which was still fading in; images are enlarged to 64 px",
        ),
    ],
)
def test_what_has_not_grown_to_the_end_is_said(logs, text):
    progress = Progress(images_seen=1, step=1, epoch=0, losses={}, logs=logs)
    assert growth_text(progress, 64) == text
