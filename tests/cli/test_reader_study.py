"""``ganaug reader-study``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cli.scenes import TINY, tree, write_images

RARE = [f"rare/{n}.png,training" for n in range(5)]


@pytest.fixture
def run(ganaug, photos):
    """A run of both classes, with four common images held out and two rare ones."""
    assert ganaug("fit", photos, "--out", "run", "--holdout", "0.35", *TINY).code == 0
    return Path("run")


@pytest.fixture
def study(ganaug, run):
    assert ganaug("reader-study", run, "--data", "photos", "--out", "readers", "-n", 8).code == 0
    return Path("readers")


def rows_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_answers(path, key, reader, answer):
    """Write a reader's answers; answer: what is said of a row of the key."""
    lines = [f"{row['study']},{reader},{row['image']},{answer(row)},1500\n" for row in key]
    Path(path).write_text("study,reader,image,answer,ms\n" + "".join(lines), "utf-8")


def truly(row):
    return 6 if row["truth"] == "synthetic" else 1


def test_a_page_and_a_key_are_written(ganaug, run):
    result = ganaug("reader-study", run, "--data", "photos", "--out", "out/readers", "-n", 8)
    assert (result.code, result.err) == (0, "")
    assert set(tree(Path("out/readers"))) == {"study.html", "key.csv"}
    key = rows_of("out/readers/key.csv")
    assert len(key) == 8
    held_out = {row["id"] for row in rows_of("run/splits.csv") if row["split"] == "holdout"}
    real = {row["source"] for row in key if row["truth"] == "real"}
    assert len(real) == 4
    assert real <= held_out
    text = " ".join(result.out.split())
    assert "keep it from the readers" in text
    assert "16x16, as the generator was trained" in text
    assert "4 real and 4 synthetic images are too few" in text


def test_the_page_names_neither_classes_nor_files_nor_the_run(study):
    page = (study / "study.html").read_text("utf-8")
    for word in ("common", "rare", ".png", "photos", "run/"):
        assert word not in page


def test_a_program_can_read_where_the_study_is(ganaug, run):
    result = ganaug("reader-study", run, "--data", "photos", "--out", "readers", "-n", 8, "--json")
    found = json.loads(result.out)
    assert found["page"] == "readers/study.html"
    assert found["counts"] == {"common": 3, "rare": 1}
    assert found["study"] == rows_of(found["key"])[0]["study"]
    assert found["shown_at"] == {"height": 16, "width": 16}


def test_classes_that_are_too_rare_to_be_shown_are_named(ganaug, run):
    result = ganaug("reader-study", run, "--data", "photos", "--out", "readers", "-n", 4)
    assert "rare 2 1 1" in " ".join(result.out.split())
    alone = ganaug(
        *("reader-study", run, "--data", "photos", "--out", "b", "-n", 4, "--class", "rare")
    )
    assert alone.code == 0
    assert {row["class"] for row in rows_of("b/key.csv")} == {"rare"}


def test_rows_of_a_file_are_shown_when_the_run_has_not_seen_them(ganaug, run):
    write_images(Path("fresh/common"), 3, seed=7)
    write_images(Path("fresh/rare"), 3, seed=8)
    lines = [f"{name}/{n}.png,holdout" for name in ("common", "rare") for n in range(3)]
    Path("fresh.csv").write_text("id,split\n" + "\n".join(lines) + "\n")
    result = ganaug(
        *("reader-study", run, "--data", "fresh", "--split", "fresh.csv", "--out", "b", "-n", 12)
    )
    assert result.code == 0
    real = {row["source"] for row in rows_of("b/key.csv") if row["truth"] == "real"}
    assert real == {line.split(",")[0] for line in lines}


def test_training_rows_are_never_shown(ganaug, run):
    ids = [row["id"] for row in rows_of("run/splits.csv")]
    Path("all.csv").write_text("id,split\n" + "".join(f"{id_},holdout\n" for id_ in ids))
    result = ganaug(
        *("reader-study", run, "--data", "photos", "--split", "all.csv", "--out", "b", "-n", 8)
    )
    assert result.code == 2
    assert "overlap with the" in result.err
    assert not Path("b").exists()


def test_rows_that_may_have_chosen_the_weights_are_never_shown(ganaug, photos):
    rows = [f"common/{n}.png,{'validation' if n < 6 else 'training'}" for n in range(12)]
    Path("split.csv").write_text("\n".join(["id,split", *rows, *RARE]))
    assert ganaug("fit", photos, "--out", "run", "--split", "split.csv", *TINY).code == 0
    held = [row.replace("validation", "holdout") for row in rows]
    Path("held.csv").write_text("\n".join(["id,split", *held, *RARE]))
    result = ganaug(
        *("reader-study", "run", "--data", "photos", "--split", "held.csv", "--out", "b", "-n", 8)
    )
    assert result.code == 2
    assert "same pixels as validation row common/0.png" in result.err


def test_other_images_under_the_same_names_are_refused(ganaug, run):
    write_images(Path("other/common"), 12, seed=9)
    write_images(Path("other/rare"), 5, seed=9)
    result = ganaug("reader-study", run, "--data", "other", "--out", "b", "-n", 8)
    assert result.code == 2
    assert "pixels differ" in result.err


def test_a_run_that_holds_nothing_out_says_so(ganaug, photos):
    ganaug("fit", photos, "--out", "run", "--holdout", 0, *TINY)
    result = ganaug("reader-study", "run", "--data", "photos", "--out", "b", "-n", 8)
    assert result.code == 2
    assert "holds no rows out" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--data", "photos", "--out", "b", "-n", "7"], "even number, got -n 7"),
        (["run", "--data", "photos", "--out", "b", "-n", "60"], "there are 6. Use -n 12 or fewer"),
        (["run", "--data", "photos", "--out", "b", "--class", "x"], "There is no class 'x'"),
        (["run", "--data", "photos"], "A reader study needs --out DIR"),
        (["run"], "needs --data DATA, --out DIR"),
        ([], "needs RUN, --data DATA, --out DIR"),
        (["run", "--data", "photos", "--out", "run"], "run exists already"),
        (["run", "--data", "photos", "--out", "photos/b"], "inside the images' own folder"),
        (["photos", "--data", "photos", "--out", "b"], "photos is no run directory"),
        (["run", "--data", "photos", "--out", "b", "--key", "k.csv"], "give --score FILE with it"),
        (["run", "--score", "a.csv", "--out", "b"], "leave out RUN and --data"),
        (["--data", "photos", "--score", "a.csv", "--out", "b"], "leave out RUN and --data"),
    ],
)
def test_what_cannot_be_a_study_is_refused(ganaug, run, words, message):
    result = ganaug("reader-study", *words)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not Path("b").exists()


@pytest.mark.parametrize("where", ["out", "beside", "key"])
def test_the_key_is_found_where_it_may_be(ganaug, study, where):
    place = study if where == "beside" else Path()
    write_answers(place / "answers.csv", rows_of(study / "key.csv"), "AB", truly)
    words = {"out": ("--out", study), "beside": (), "key": ("--key", study / "key.csv")}[where]
    result = ganaug("reader-study", "--score", place / "answers.csv", *words)
    assert (result.code, result.err) == (0, "")
    assert "The reader could tell synthetic images from real ones: AUC 1.00" in " ".join(
        result.out.split()
    )


def test_readers_and_classes_are_scored_in_a_table_and_as_json(ganaug, study):
    key = rows_of(study / "key.csv")
    write_answers("a.csv", key, "AB", truly)
    real = [row for row in key if row["truth"] == "real"]
    synthetic = [row for row in key if row["truth"] == "synthetic"]
    write_answers("b.csv", real[:3] + synthetic[:3], "CD", lambda _: 3)
    words = ("reader-study", "--score", "a.csv", "--score", "b.csv", "--out", study)
    text = ganaug(*words).out
    for word in ("AB", "CD", "pooled", "common", "rare", "CD: 2 of 8", "DeLong", "Wilson"):
        assert word in text
    found = json.loads(ganaug(*words, "--json").out)
    assert found["readers"] == ["AB", "CD"]
    assert found["images"] == {"real": 4, "synthetic": 4}
    assert len(found["scores"]) == 9
    first, pooled = found["scores"][0], found["scores"][6]
    assert (first["reader"], first["class_name"]) == ("AB", None)
    assert first["auc"]["value"] == first["accuracy"]["value"] == 1.0
    assert first["seconds"] == 1.5
    weights = 4 * 4 / 9, 3 * 3 / 7
    assert pooled["reader"] is None
    assert pooled["auc"]["value"] == pytest.approx((weights[0] + 0.5 * weights[1]) / sum(weights))
    assert set(found["interval_methods"]) == {"proportions", "auc"}


def test_the_table_fits_eighty_columns(ganaug, study, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    key, readers = rows_of(study / "key.csv"), ("AB", "Dr Antonia Maier-Schmidt")
    for reader in readers:
        write_answers(f"{reader}.csv", key, reader, lambda row: 2 + (truly(row) > 3))
    files = [word for reader in readers for word in ("--score", f"{reader}.csv")]
    text = ganaug("reader-study", *files, "--out", study).out
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    proportions = [".50", ".22-.78", ".00", ".00-.49", "1.0", ".51-1.0"]
    assert rows["AB"] == ["8", *proportions, "1.0", ".51-1.0"]
    assert rows["common"][0] == "12"
    assert rows["pooled"][0] == "16"
    assert text.count(".50 .22-.78") == 3
    assert "Dr Antonia" in text
    assert "Maier-Schmidt" in text


def test_answers_without_a_key_say_how_to_give_it(ganaug, study):
    write_answers("answers.csv", rows_of(study / "key.csv"), "AB", truly)
    result = ganaug("reader-study", "--score", "answers.csv")
    assert result.code == 2
    assert "There is no key.csv in this folder. Say where" in result.err
    assert "--key FILE" in result.err
    absent = ganaug("reader-study", "--score", "answers.csv", "--out", "photos")
    assert "There is no key.csv in 'photos'. Say where" in absent.err


def test_answers_to_another_study_are_refused(ganaug, run, study):
    words = ("reader-study", run, "--data", "photos", "--out", "other", "-n", 8, "--seed", 3)
    assert ganaug(*words).code == 0
    write_answers("answers.csv", rows_of("other/key.csv"), "AB", truly)
    result = ganaug("reader-study", "--score", "answers.csv", "--out", study)
    assert result.code == 2
    assert "these are answers to study" in result.err
