"""Reader studies: which images are shown, and what the page gives away."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from conftest import TinyGAN, make_images
from PIL import Image

from ganaug.errors import ConfigError, DataError, ShapeError, TooFewImagesError
from ganaug.model import ImageModel, Output
from ganaug.readers.answers import read_answers, read_key
from ganaug.readers.scores import score_answers
from ganaug.readers.study import make_study, render_key, render_page


@pytest.fixture
def holdout():
    """30 images, 20 of class a and 10 of b, larger than those that the generator makes."""
    images = make_images(40, classes=2, size=12)
    rows = [*np.flatnonzero(images.labels == 0)[:20], *np.flatnonzero(images.labels == 1)[:10]]
    return dataclasses.replace(
        images.subset(rows), ids=tuple(f"patient/{row}.png" for row in range(30))
    )


def model_of(images, *, copies=None, dtype="uint8", width=8):
    torch.manual_seed(0)
    spec = dataclasses.replace(images.spec, height=8, width=8)
    output = Output(height=8, width=width, dtype=dtype, value_range=images.value_range)
    return ImageModel([TinyGAN(spec).eval()], images.class_names, output, copies)


@pytest.fixture
def study(holdout):
    return make_study(holdout, model_of(holdout), 12)


def embedded(page):
    return json.loads(re.search(r'<script id="study"[^>]*>(.*?)</script>', page, re.S)[1])


def pngs(page):
    return [base64.b64decode(each["source"].partition(",")[2]) for each in embedded(page)["images"]]


def chunk_names(png):
    names, at = [], 8
    while at < len(png):
        names.append(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4])
    return names


def test_half_are_real_and_half_synthetic_with_classes_as_in_the_holdout(study):
    kinds = [(image.is_synthetic, image.class_name) for image in study.images]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        (False, "a"): 4,
        (False, "b"): 2,
        (True, "a"): 4,
        (True, "b"): 2,
    }
    assert study.counts == {"a": 4, "b": 2}


@pytest.mark.parametrize(("n", "counts"), [(4, (1, 1)), (10, (3, 2)), (60, (20, 10))])
def test_what_cannot_be_divided_goes_to_the_largest_remainders(holdout, n, counts):
    study = make_study(holdout, model_of(holdout), n)
    assert tuple(study.counts.values()) == counts
    assert len(study.images) == n


def test_real_images_are_different_rows_resized_as_for_training(holdout, study):
    real = [image for image in study.images if not image.is_synthetic]
    rows = [holdout.ids.index(image.source) for image in real]
    assert len(set(rows)) == 6
    as_trained = np.asarray(holdout.load(8).pixels)
    for image, row in zip(real, rows, strict=True):
        assert image.class_name == holdout.class_names[holdout.labels[row]]
        np.testing.assert_array_equal(image.pixels, as_trained[row])


def test_synthetic_images_are_the_generators_own_at_its_own_size(holdout, study):
    for image in study.images:
        assert image.pixels.shape == (1, 8, 8)
        assert image.pixels.dtype == np.uint8
    synthetic = [image.pixels.tobytes() for image in study.images if image.is_synthetic]
    assert len(set(synthetic)) == 6


def test_the_same_seed_makes_the_same_study_and_another_another(holdout, study):
    again, other = (
        make_study(holdout, model_of(holdout), 12, random_state=seed) for seed in (0, 1)
    )
    assert render_page(again) == render_page(study)
    assert render_key(again) == render_key(study)
    assert other.id != study.id


def test_the_order_cannot_be_worked_out_from_the_seed(holdout, study):
    darker = dataclasses.replace(holdout, pixels=np.asarray(holdout.pixels) // 2)
    other = make_study(darker, model_of(holdout), 12)
    orders = [[image.source for image in each.images] for each in (study, other)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_a_class_can_be_shown_alone(holdout):
    study = make_study(holdout, model_of(holdout), 8, classes=["b"])
    assert study.counts == {"b": 4}
    assert {image.class_name for image in study.images} == {"b"}


def test_every_group_gives_an_image_before_one_gives_two(holdout):
    groups = ("crowd",) * 24 + ("p1", "p2", "p3", "p4", "", "")
    grouped = dataclasses.replace(holdout, groups=groups, labels=np.zeros(30, dtype=np.int64))
    study = make_study(grouped, model_of(holdout), 14, classes=["a"])
    real = [image.source for image in study.images if not image.is_synthetic]
    assert len({f"patient/{row}.png" for row in range(24, 30)} & set(real)) == 6


@pytest.mark.parametrize("n", [-2, 0, 2, 7])
def test_a_number_that_cannot_be_halved_or_is_too_small_is_refused(holdout, n):
    with pytest.raises(ConfigError, match=f"even number, got -n {n}"):
        make_study(holdout, model_of(holdout), n)


def test_too_few_rows_say_how_many_can_be_shown(holdout):
    with pytest.raises(TooFewImagesError, match="needs 11 holdout rows of b; there are 10. Use -n"):
        make_study(holdout, model_of(holdout), 22, classes=["b"])


def test_copies_of_training_images_are_not_shown(holdout):
    class Everything:
        name, reason = "copies", "near copies"

        def keep(self, pixels, class_, value_range):
            return np.zeros(len(pixels), dtype=bool)

    with (
        pytest.warns(UserWarning, match="memorised"),
        pytest.raises(
            DataError,
            match=r"0 of 4 synthetic images could be drawn that pass .* \(near copies \(\d+\)",
        ),
    ):
        make_study(holdout, model_of(holdout, copies=Everything()), 12)


def test_images_of_other_channels_are_refused(holdout):
    colour = make_images(20, classes=2, size=8, channels=3)
    with pytest.raises(DataError, match=r"3 channel\(s\) and those of the run 1"):
        make_study(colour, model_of(holdout), 8)


def test_an_oblong_generator_takes_images_of_its_own_size_only(holdout):
    with pytest.raises(ShapeError, match="makes images of 8x12; these are 12x12"):
        make_study(holdout, model_of(holdout, width=12), 8)


def test_sixteen_bits_are_shown_from_the_darkest_to_the_brightest_of_the_real_images(holdout):
    deep = dataclasses.replace(
        holdout,
        pixels=np.asarray(holdout.pixels).astype(np.uint16) * 16,  # 12 bits in 16
        value_range=(0.0, 65535.0),
    )
    study = make_study(deep, model_of(deep, dtype="uint16"), 12)
    real = np.stack([image.pixels for image in study.images if not image.is_synthetic])
    assert (real.min(), real.max()) == (0, 255)
    assert len(np.unique(real)) > 100


def test_the_page_says_nothing_about_an_image_but_its_number_and_pixels(holdout, study):
    page = render_page(study)
    for image in embedded(page)["images"]:
        assert set(image) == {"number", "source"}
    assert [image["number"] for image in embedded(page)["images"]] == [
        f"{number:02}" for number in range(1, 13)
    ]
    without_pixels = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "patient" not in without_pixels


def test_all_images_are_files_of_one_length_and_form_without_metadata(study):
    files = pngs(render_page(study))
    assert len({len(file) for file in files}) == 1
    assert {tuple(chunk_names(file)) for file in files} == {(b"IHDR", b"IDAT", b"IEND")}
    assert len({file[:33] for file in files}) == 1  # signature and header: size, depth, colour


def test_the_page_shows_the_pixels_of_the_study(study):
    for file, image in zip(pngs(render_page(study)), study.images, strict=True):
        with Image.open(io.BytesIO(file)) as shown:
            np.testing.assert_array_equal(np.asarray(shown), image.pixels[0])


def test_the_page_needs_nothing_from_elsewhere(study):
    page = render_page(study)
    assert "default-src 'none'" in page
    assert re.search(r"https?://|<link|@import|url\(|\bsrc=", page) is None


def test_the_page_says_at_what_size_images_are_shown(study):
    text = " ".join(render_page(study).split())
    assert "shown at 8 &times; 8 pixels" in text
    assert "You will see 12 images" in text


def test_the_key_says_which_is_which(study, tmp_path):
    (tmp_path / "key.csv").write_text(render_key(study), "utf-8")
    key = read_key(tmp_path / "key.csv")
    assert key.study == study.id
    assert key.numbers == tuple(image.number for image in study.images)
    assert key.is_synthetic.tolist() == [image.is_synthetic for image in study.images]
    assert key.class_names == tuple(image.class_name for image in study.images)
    with (tmp_path / "key.csv").open(newline="") as file:
        assert {row["shown_at"] for row in csv.DictReader(file)} == {"8x8"}


def run_logic(page, script):
    """Run the page's own logic in node, and return what the script prints."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which runs the page's JavaScript")
    logic = re.search(r'<script id="logic">(.*?)</script>', page, re.S)[1]
    study = f"const study = {json.dumps(embedded(page))};"
    done = subprocess.run(
        [node, "-e", f"{logic}\n{study}\n{script}"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_what_the_page_writes_is_what_the_scorer_reads(study, tmp_path):
    page = render_page(study)
    truth = json.dumps({image.number: image.is_synthetic for image in study.images})
    text = run_logic(
        page,
        f"""
        const truth = {truth};
        const session = newSession('Dr "A", B', study.images.length, Math.random);
        for (const index of session.order)
          giveAnswer(session, truth[study.images[index].number] ? 6 : 1, 1234.5);
        process.stdout.write(toCsv(study, session));
        """,
    )
    (tmp_path / "key.csv").write_text(render_key(study), "utf-8")
    (tmp_path / "answers.csv").write_text(text, "utf-8", newline="")
    key = read_key(tmp_path / "key.csv")
    answers = read_answers([tmp_path / "answers.csv"], key)
    assert answers.readers == ('Dr "A", B',)
    score = score_answers(key, answers)[0]
    assert (score.n_real, score.n_synthetic) == (6, 6)
    assert score.accuracy.value == score.auc.value == 1.0
    assert score.seconds == 1.235


def test_the_page_shows_every_image_once_in_an_order_of_the_readers_own(study):
    printed = run_logic(
        render_page(study),
        """
        let state = 1;
        const random = () => (state = (state * 16807) % 2147483647) / 2147483647;
        console.log(JSON.stringify([0, 1].map(() => newSession("a", 12, random).order)));
        """,
    )
    first, second = json.loads(printed)
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second != sorted(second)


def test_an_answer_that_is_changed_replaces_the_one_before(study):
    printed = run_logic(
        render_page(study),
        """
        const session = newSession("a", 12, Math.random);
        giveAnswer(session, 2, 10);
        giveAnswer(session, 3, 10);
        session.at = 0;
        giveAnswer(session, 6, 20);
        console.log(JSON.stringify([session.answers, session.at, isWhole(session, 12)]));
        """,
    )
    answers, at, whole = json.loads(printed)
    assert answers == [{"answer": 6, "ms": 20}, {"answer": 3, "ms": 10}]
    assert (at, whole) == (1, True)


def test_a_session_of_another_length_is_not_gone_on_with(study):
    printed = run_logic(
        render_page(study),
        """
        const session = newSession("a", 10, Math.random);
        console.log(JSON.stringify([isWhole(session, 12), isWhole(null, 12), isWhole({}, 12)]));
        """,
    )
    assert json.loads(printed) == [False, False, False]
