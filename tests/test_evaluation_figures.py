"""The figures of ``ganaug evaluate``."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from conftest import make_images
from PIL import Image

from ganaug import FeatureExtractor
from ganaug.evaluation_figures import draw_figures
from ganaug.scoring import ImageRoles
from ganaug.stopping import History, Progress


class Pixels(FeatureExtractor):
    name = "pixels"
    fingerprint = "0"

    def extract(self, images):
        return images.flatten(1)


def roles_of(n=42, **options):
    images = make_images(n, **options)
    train, holdout, synthetic = (images.subset(part) for part in np.array_split(range(n), 3))
    return ImageRoles(train=train, holdout=holdout, synthetic=synthetic)


def draw(roles, histories=None, **options):
    given = {"run": "run", "own_rows": True, "random_state": 0, **options}
    return draw_figures(roles, Pixels(), histories or {}, **given)


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def progress(step):
    return Progress(images_seen=step, step=step, epoch=0, losses={"generator/adversarial": 1.0})


def test_a_history_of_nothing_and_unknown_training_images_leave_figures_out():
    roles = roles_of(classes=2)
    assert set(draw(roles).files) == {"nearest.png", "tsne.png", "colours.png"}
    without = replace(roles, train=None)
    history = {"all": History([progress(1), progress(2)])}
    assert set(draw(without, history).files) == {"tsne.png", "colours.png", "history.png"}


def test_so_few_images_that_no_map_can_be_made_of_them_have_none():
    drawn = draw(roles_of(9))
    assert "tsne.png" not in drawn.files
    assert drawn.tsne is None


def test_the_same_seed_draws_the_same_figures_and_another_seed_others():
    roles = roles_of(90, channels=3)
    first, second, other = (draw(roles, random_state=seed).files for seed in (0, 0, 1))
    assert first == second
    assert other["nearest.png"] != first["nearest.png"]
    assert other["tsne.png"] != first["tsne.png"]


def test_points_are_capped_so_that_rare_classes_stay_whole_and_the_record_says_how():
    images = make_images(1_230, classes=2)
    rare = np.flatnonzero(images.labels == 1)[:15]
    kept = images.subset(np.concatenate([np.flatnonzero(images.labels == 0), rare]))
    roles = ImageRoles(train=kept, holdout=kept, synthetic=kept)
    facts = draw(roles).tsne
    assert facts == {
        "perplexity": 30.0,
        "seed": 0,
        "points": 900,
        "most_points_a_class_and_role": 285,
    }


def test_a_class_without_synthetic_images_is_on_the_map_and_not_among_the_nearest():
    roles = roles_of(180, classes=3)
    generated = roles.synthetic.subset(np.flatnonzero(roles.synthetic.labels == 1))
    drawn = draw(replace(roles, synthetic=generated))
    assert drawn.tsne["points"] == 60 + 60 + len(generated)
    of_all = draw(roles)
    height = {name: len(opened(of_all.files[name])) for name in of_all.files}
    assert len(opened(drawn.files["nearest.png"])) < 0.5 * height["nearest.png"]
    assert len(opened(drawn.files["tsne.png"])) == height["tsne.png"]


def test_deep_images_are_shown_from_the_values_that_they_fill():
    roles = roles_of(60, dtype="uint16")
    dim = {
        role: replace(images, pixels=(np.asarray(images.pixels) // 64 + 900).astype(np.uint16))
        for role, images in roles.by_name.items()
    }
    sheet = opened(draw(ImageRoles(**dim)).files["nearest.png"])
    assert np.ptp(sheet[140:200, 140:200]) > 100


def test_a_copy_is_shown_at_distance_zero_beside_what_it_copies():
    roles = roles_of(60, size=16)
    pixels = np.array(roles.synthetic.pixels)
    pixels[7] = np.asarray(roles.train.pixels)[3]
    copied = replace(roles, synthetic=replace(roles.synthetic, pixels=pixels))
    sheet = opened(draw(copied).files["nearest.png"])
    image = np.asarray(roles.train.pixels)[3, 0].repeat(6, 0).repeat(6, 1)
    assert count_of(image, sheet[:, :, 0]) >= 2


def count_of(image, sheet):
    """How often an image is on a sheet, pixel by pixel."""
    height, width = image.shape
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (1, width))[:, :, 0]
    starts = np.argwhere((windows == image[0]).all(-1))
    return sum(
        np.array_equal(sheet[top : top + height, left : left + width], image)
        for top, left in starts
    )


def test_many_classes_are_drawn_up_to_ten():
    roles = roles_of(120, classes=10)
    ten = opened(draw(roles).files["nearest.png"]).shape[0]
    names = tuple("abcdefghijklmno")
    more = ImageRoles(
        **{
            role: replace(images, labels=np.arange(len(images)) % 15, class_names=names)
            for role, images in roles.by_name.items()
        }
    )
    assert opened(draw(more).files["nearest.png"]).shape[0] == ten


def test_rows_of_a_split_file_are_not_said_to_be_what_the_run_learned_from():
    roles = roles_of(classes=2)
    own, others = (draw(roles, own_rows=own).files["nearest.png"] for own in (True, False))
    assert own != others
