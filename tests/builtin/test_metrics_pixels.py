from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.regression import compute_ms_ssim
from scipy.stats import ks_2samp, wasserstein_distance

from ganaug import Registry
from ganaug.builtin.metrics import ms_ssim
from ganaug.errors import DataError, ShapeError, TooFewImagesError


@pytest.fixture(scope="module")
def evaluators():
    return Registry(["ganaug.builtin.metrics.plugin"]).evaluators


@pytest.fixture
def fill(evaluators):
    """Show images (N, C, H, W) in [-1, 1] to a metric, by role, in batches."""

    def fill(name, real, synthetic, *, labels=(None, None), batch=10_000, **fields):
        plugin = evaluators[name]
        metric = plugin.build(plugin.config.from_fields(fields), None)
        for role, images, of in zip(
            ("holdout", "synthetic"), (real, synthetic), labels, strict=True
        ):
            for start in range(0, len(images), batch):
                part = slice(start, start + batch)
                metric.update(images[part], role=role, labels=None if of is None else of[part])
        return metric

    return fill


@pytest.fixture
def score(fill):
    return lambda *args, **options: fill(*args, **options).compute()


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def noise(n, rng, size=16, channels=1):
    return 2 * torch.rand(n, channels, size, size, generator=rng) - 1


def smooth(n, rng, size=16, channels=1):
    """Images of a few large spots: alike in nothing but smoothness."""
    coarse = torch.randn(n, channels, 4, 4, generator=rng)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").tanh()


# MS-SSIM


def test_two_images_have_the_similarity_that_monai_gives_them(score, rng):
    real, synthetic = smooth(2, rng, 64, 3), smooth(2, rng, 64, 3)
    weights = np.array([0.0448, 0.2856, 0.3001])
    found = score("ms-ssim", real, synthetic)
    for name, (left, right) in (("real", real / 2 + 0.5), ("synthetic", synthetic / 2 + 0.5)):
        wanted = compute_ms_ssim(left[None], right[None], 2, weights=weights / weights.sum())
        assert found[f"ms_ssim_{name}"] == pytest.approx(wanted.item(), abs=1e-3)  # of 8 bits


@pytest.mark.parametrize(
    ("size", "channels", "window", "scales"),
    [(128, 3, 11, 4), (64, 1, 11, 3), (28, 4, 11, 2), (16, 3, 11, 1), (8, 1, 7, 1), (2, 1, 1, 1)],
)
def test_similarity_is_monais_for_every_size_and_number_of_channels(
    rng, size, channels, window, scales
):
    left, right = torch.rand(2, 12, channels, size, size, generator=rng)
    right[:8] = 0.9 * left[:8] + 0.1 * right[:8]  # alike, and some that are not: means below 0
    left[8] = right[8] = 0.25
    left[9] = 1 - right[9]
    weights = [0.4, 0.3, 0.2, 0.1][:scales]
    wanted = compute_ms_ssim(left, right, 2, kernel_size=window, weights=weights)[:, 0]
    torch.testing.assert_close(ms_ssim._ms_ssim(left, right, window, weights), wanted)


def test_collapse_shows_as_synthetic_images_more_alike_than_real_ones(score, rng):
    one = smooth(1, rng, 32).expand(40, 1, 32, 32)
    found = score("ms-ssim", smooth(40, rng, 32), (one + 0.02 * noise(40, rng, 32)).clamp(-1, 1))
    assert found["ms_ssim_synthetic"] > 0.9 > 0.5 > found["ms_ssim_real"]


def test_two_halves_of_one_law_are_equally_alike_within_their_intervals(fill, rng):
    images = smooth(400, rng, 32)
    metric = fill("ms-ssim", images[:200], images[200:])
    found, intervals = metric.compute(), metric.intervals()
    (low, high), (others_low, others_high) = intervals.values()
    assert low < found["ms_ssim_real"] < high
    assert low < others_high
    assert others_low < high
    assert set(intervals) == set(found)


def test_the_interval_is_as_wide_as_means_over_pairs_vary(fill, rng):
    means, widths = [], []
    for _ in range(30):
        metric = fill("ms-ssim", smooth(60, rng), smooth(2, rng))
        means.append(metric.compute()["ms_ssim_real"])
        metric = fill("ms-ssim", smooth(60, rng), smooth(60, rng), pairs=30)
        means.append(metric.compute()["ms_ssim_real"])
        low, high = metric.intervals()["ms_ssim_real"]
        widths.append((high - low) / 2 / 1.96)
    of_thirty = np.std(means[1::2], ddof=1)
    assert np.mean(widths) == pytest.approx(of_thirty, rel=0.5)


def test_identical_images_are_as_alike_as_can_be(fill):
    grey = torch.zeros(10, 1, 28, 28)
    metric = fill("ms-ssim", grey, grey)
    assert metric.compute() == pytest.approx({"ms_ssim_real": 1, "ms_ssim_synthetic": 1})
    assert metric.intervals()["ms_ssim_real"] == pytest.approx((1, 1))


def test_images_are_compared_within_their_class(score, rng):
    prototypes = smooth(2, rng, 32)
    labels = torch.arange(40) % 2
    images = (prototypes[labels] + 0.02 * noise(40, rng, 32)).clamp(-1, 1)
    within = score("ms-ssim", images, images, labels=(labels, labels))
    across = score("ms-ssim", images, images)
    assert within["ms_ssim_real"] > 0.9 > across["ms_ssim_real"]


def test_a_class_counts_the_same_in_both_roles(score, rng):
    # Class 0 is one image, class 1 is anything; only the numbers of each differ.
    def images(n, m):
        same, other = smooth(1, torch.Generator().manual_seed(1)), smooth(m, rng)
        return torch.cat([same.expand(n, 1, 16, 16), other]), torch.arange(n + m).ge(n).long()

    (real, real_labels), (synthetic, synthetic_labels) = images(20, 80), images(80, 20)
    found = score("ms-ssim", real, synthetic, labels=(real_labels, synthetic_labels), pairs=500)
    assert found["ms_ssim_real"] == pytest.approx(found["ms_ssim_synthetic"], abs=0.1)


def test_no_image_is_in_two_pairs(fill, rng):
    metric = fill("ms-ssim", noise(31, rng), noise(20, rng), pairs=500)
    pairs = metric._pairs({"holdout": np.arange(31), "synthetic": np.arange(20)})
    assert pairs["holdout"].shape == pairs["synthetic"].shape == (10, 2)
    for rows in pairs.values():
        assert len(set(rows.ravel())) == rows.size


def test_so_many_pairs_are_compared(fill, rng):
    metric = fill("ms-ssim", noise(50, rng), noise(50, rng), pairs=7)
    of = {"holdout": np.arange(50), "synthetic": np.arange(50)}
    assert len(metric._pairs(of)["holdout"]) == 7


def patients(n, each, rng):
    """Images of `n` patients, `each` of a patient hardly different; and whose they are."""
    images = smooth(n, rng).repeat_interleave(each, 0) + 0.02 * noise(n * each, rng)
    return images.clamp(-1, 1), [f"patient {row // each}" for row in range(n * each)]


def test_images_of_one_patient_are_not_compared(fill, rng):
    real, groups = patients(6, 20, rng)
    metric = fill("ms-ssim", real, smooth(60, rng))
    metric.add_groups(groups, role="holdout")
    (similarities, of_units), _ = metric._values().values()
    assert len(similarities) == 12  # 4 images of each of 6
    assert (of_units[:, 0] != of_units[:, 1]).all()
    assert np.bincount(of_units.ravel()).tolist() == [4] * 6
    by_patient = {i: real[20 * i : 20 * i + 2] for i in range(6)}
    alike = fill("ms-ssim", by_patient[0], by_patient[0]).compute()["ms_ssim_real"]
    assert similarities.max() < 0.9 < alike


def test_a_patient_with_most_of_the_images_is_paired_with_all_others(fill, rng):
    metric = fill("ms-ssim", noise(12, rng), noise(12, rng))
    metric.add_groups(["x"] * 9 + ["y", "z", ""], role="holdout")
    (_, of_units), _ = metric._values().values()
    assert sorted(of_units.ravel().tolist()) == [0, 0, 0, 1, 2, 3]


def test_one_patient_has_no_pairs(score, fill, rng):
    metric = fill("ms-ssim", noise(6, rng), noise(6, rng))
    metric.add_groups(["x"] * 6, role="holdout")
    with pytest.raises(TooFewImagesError, match="of different groups, and no class has 2"):
        metric.compute()


def test_the_interval_of_images_of_patients_is_as_wide_as_means_vary(fill, rng):
    means, widths = [], []
    for _ in range(40):
        real, groups = patients(8, 5, rng)
        metric = fill("ms-ssim", real, smooth(40, rng))
        metric.add_groups(groups, role="holdout")
        means.append(metric.compute()["ms_ssim_real"])
        low, high = metric.intervals()["ms_ssim_real"]
        widths.append((high - low) / 2 / 1.96)
    assert 0.7 < np.mean(widths) / np.std(means, ddof=1) < 1.6


def test_images_are_kept_in_eight_bits(fill, rng):
    assert fill("ms-ssim", noise(4, rng), noise(4, rng)).features("holdout").dtype == torch.uint8


@pytest.mark.parametrize(
    ("size", "scales"), [(224, 4), (128, 4), (64, 3), (43, 2), (28, 2), (16, 1), (8, 1), (2, 1)]
)
def test_there_are_as_many_scales_as_fit(score, rng, monkeypatch, size, scales):
    asked, ours = [], ms_ssim._ms_ssim

    def spy(left, right, window, weights):
        asked.append(len(weights))
        assert sum(weights) == pytest.approx(1)
        return ours(left, right, window, weights)

    monkeypatch.setattr(ms_ssim, "_ms_ssim", spy)
    found = score("ms-ssim", smooth(4, rng, size), smooth(4, rng, size))
    assert set(asked) == {scales}
    assert all(0 <= value <= 1 for value in found.values())


def test_large_images_are_averaged_down_whatever_their_shape(fill, rng):
    metric = fill("ms-ssim", torch.zeros(4, 1, 300, 200), torch.zeros(4, 1, 300, 200))
    assert metric.features("holdout").shape == (4, 1, 128, 85)
    assert metric.compute()["ms_ssim_real"] == pytest.approx(1)


def test_an_image_of_one_pixel_has_no_structure(score, rng):
    with pytest.raises(ShapeError, match="at least 2 px a side .* got 1x9"):
        score("ms-ssim", noise(4, rng)[:, :, :1, :9], noise(4, rng)[:, :, :1, :9])


def test_pairs_are_compared_in_blocks(score, rng, monkeypatch):
    images = smooth(20, rng), smooth(20, rng)
    whole = score("ms-ssim", *images)
    monkeypatch.setattr(ms_ssim, "_BLOCK", 3)
    assert score("ms-ssim", *images) == pytest.approx(whole, rel=1e-6)


def test_a_class_of_one_image_is_too_few(score, rng):
    labels = torch.arange(6)
    with pytest.raises(TooFewImagesError, match="got 6 holdout and 6 synthetic"):
        score("ms-ssim", noise(6, rng), noise(6, rng), labels=(labels, labels))


# Colours


def test_colours_are_scipys_of_channel_means(score, rng):
    real, synthetic = noise(40, rng, 8, 3), 0.5 * noise(30, rng, 8, 3)
    found = score("colour-stats", real, synthetic)
    grey = np.array([0.299, 0.587, 0.114])
    ours, theirs = ((images.numpy().mean((2, 3)) + 1) / 2 for images in (real, synthetic))
    for colour, left, right in (
        ("red", ours[:, 0], theirs[:, 0]),
        ("blue", ours[:, 2], theirs[:, 2]),
        ("grey", ours @ grey, theirs @ grey),
    ):
        test = ks_2samp(left, right)
        assert found[f"wasserstein_{colour}"] == pytest.approx(
            wasserstein_distance(left, right), abs=1e-6
        )
        assert found[f"ks_{colour}"] == pytest.approx(test.statistic)
        assert found[f"ks_p_{colour}"] == pytest.approx(test.pvalue)


def test_a_shift_of_red_is_found_in_red_and_grey_in_units_of_the_range(score, rng):
    real = 0.5 * noise(50, rng, 8, 3)
    redder = real + torch.tensor([0.2, 0, 0])[:, None, None]  # 0.2 of a range of 2
    found = score("colour-stats", real, redder)
    assert found["wasserstein_red"] == pytest.approx(0.1, abs=1e-6)
    assert found["wasserstein_grey"] == pytest.approx(0.0299, abs=1e-6)
    assert found["wasserstein_green"] == found["wasserstein_blue"] == 0
    assert found["ks_red"] > found["ks_green"] == 0
    assert found["ks_p_red"] < 1e-6


def test_one_law_gives_p_values_that_are_uniform(score, rng):
    p = [
        score("colour-stats", noise(80, rng, 4), noise(80, rng, 4))["ks_p_grey"] for _ in range(60)
    ]
    assert 0.35 < np.mean(p) < 0.65


def test_images_of_one_channel_are_grey(score, rng):
    found = score("colour-stats", noise(10, rng), noise(10, rng))
    assert set(found) == {"wasserstein_grey", "ks_grey", "ks_p_grey"}


def test_identical_images_do_not_differ_in_colour(score):
    white = torch.ones(10, 3, 8, 8)
    found = score("colour-stats", white, white)
    assert found["wasserstein_grey"] == found["ks_red"] == 0
    assert found["ks_p_blue"] == 1


def test_white_is_the_whole_range_from_black(score):
    white = torch.ones(10, 1, 8, 8)
    assert score("colour-stats", white, -white)["wasserstein_grey"] == pytest.approx(1)


def test_four_channels_have_no_colour(score, rng):
    with pytest.raises(ShapeError, match="1 or 3 channels .* got 4"):
        score("colour-stats", noise(10, rng, 8, 4), noise(10, rng, 8, 4))


# Both


@pytest.mark.parametrize("name", ["ms-ssim", "colour-stats"])
def test_batches_do_not_matter(score, rng, name):
    images = noise(20, rng), noise(20, rng)
    assert score(name, *images, batch=3) == score(name, *images)


@pytest.mark.parametrize("name", ["ms-ssim", "colour-stats"])
@pytest.mark.parametrize(("n", "m", "alone"), [(1, 9, "holdout"), (9, 1, "synthetic")])
def test_one_image_is_too_few(score, rng, name, n, m, alone):
    with pytest.raises(TooFewImagesError, match=f"2 {alone} images; got 1"):
        score(name, noise(n, rng), noise(m, rng))


@pytest.mark.parametrize("name", ["ms-ssim", "colour-stats"])
def test_pixels_that_are_not_numbers_are_refused(score, rng, name):
    images = noise(10, rng)
    images[3, 0, 2, 2] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        score(name, images, noise(10, rng))
