"""Answers and keys as files, good and bad."""

from __future__ import annotations

import numpy as np
import pytest

from ganaug.errors import DataError
from ganaug.readers.answers import read_answers, read_key

HEADER = "study,reader,image,answer,ms\n"


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key.csv"
    path.write_text(
        "study,image,truth,class,source,shown_at\n"
        "abc,1,real,a,x.png,8x8\nabc,2,synthetic,a,0,8x8\nabc,3,real,a,y.png,8x8\n",
        "utf-8",
    )
    return path


def test_files_of_several_readers_are_read_together(tmp_path, key_file):
    (tmp_path / "one.csv").write_text(HEADER + "abc,A,1,2,900\nabc,B,1,6,\n", "utf-8-sig")
    (tmp_path / "two.csv").write_text(HEADER + "abc, A ,3,5,1100\n", "utf-8")
    answers = read_answers([tmp_path / "one.csv", tmp_path / "two.csv"], read_key(key_file))
    assert answers.readers == ("A", "B")
    np.testing.assert_array_equal(answers.ratings, [[2, np.nan, 5], [6, np.nan, np.nan]])
    np.testing.assert_array_equal(answers.milliseconds[0], [900, np.nan, 1100])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study,reader,image\nabc,A,1\n", "does not hold answers to a study: it lacks the columns"),
        ("study,reader,image\nabc,A,1\n", "lacks the columns answer, ms; found study"),
        ("study;reader;image;answer;ms\nabc;A;1;2;9\n", "Expected CSV with commas"),
        ("", "found none"),
        (HEADER, "has no rows"),
        (HEADER + "xyz,A,1,2,900\n", "line 2: these are answers to study 'xyz'"),
        (HEADER + "abc,A,1,2,900\nabc,A,9,2,900\n", "line 3: study abc has no image '9'"),
        (HEADER + "abc,A,1,2,900\nabc,A,1,3,900\n", "line 3: reader 'A' answers image '1' a sec"),
        (HEADER + "abc,A,1,7,900\n", r"from 1 \(surely real\) to 6 \(surely synthetic\); got '7'"),
        (HEADER + "abc,A,1,,900\n", "got ''"),
        (HEADER + "abc,A,1,2,soon\n", "expected ms as a number; got 'soon'"),
        (HEADER + "abc,,1,2,900\n", "the reader has no name"),
        (HEADER + "abc,A,1\n", "got ''"),
    ],
)
def test_bad_answers_say_what_is_wrong(tmp_path, key_file, text, message):
    path = tmp_path / "answers.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        read_answers([path], read_key(key_file))


def test_a_reader_who_answers_in_two_files_is_refused(tmp_path, key_file):
    path = tmp_path / "answers.csv"
    path.write_text(HEADER + "abc,A,1,2,900\n", "utf-8")
    with pytest.raises(DataError, match="a second time"):
        read_answers([path, path], read_key(key_file))


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path, key_file):
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\xff\xfe")
    for name in ("picture.csv", "absent.csv"):
        with pytest.raises(DataError, match=f"Cannot read .*{name}") as caught:
            read_answers([tmp_path / name], read_key(key_file))
        assert str(caught.value).count(name) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [("abc,2", "xyz,2"), ("abc,2", "abc,1"), ("synthetic", "fake"), ("synthetic", "real")],
)
def test_a_damaged_key_is_refused(key_file, before, after):
    key_file.write_text(key_file.read_text("utf-8").replace(before, after), "utf-8")
    with pytest.raises(DataError, match="no whole key"):
        read_key(key_file)


def test_answers_are_not_taken_for_a_key(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text(HEADER + "abc,A,1,2,900\n", "utf-8")
    with pytest.raises(DataError, match="lacks the columns truth, class, source, shown_at"):
        read_key(path)
