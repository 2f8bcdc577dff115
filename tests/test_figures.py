from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp, wasserstein_distance

from ganaug.builtin.metrics.colour_stats import ColourStats, ColourStatsConfig
from ganaug.figures import (
    ClassSheet,
    Strip,
    draw_colours,
    draw_embedding,
    draw_history,
    draw_nearest,
    embed,
    mean_colours,
    nearest_rows,
    png,
)
from ganaug.pixels import to_signed
from ganaug.stopping import History, Progress


def opened(figure):
    return np.asarray(Image.open(io.BytesIO(png(figure))).convert("RGB"))


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def has_text(figure, text):
    return any(text in each for each in texts(figure))


def clusters(n=20, dimension=6):
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 0.1, (n, dimension)), rng.normal(9, 0.1, (n, dimension))
    return np.concatenate([near, far]).astype(np.float32)


# --- nearest neighbours -------------------------------------------------------------------------


def test_the_nearest_reference_and_its_distance_are_found():
    references = np.array([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    rows, distances = nearest_rows(np.array([[3.0, 3.0], [0.0, 0.5]]), references)
    assert rows.tolist() == [1, 0]
    assert distances.tolist() == [1.0, 0.5]


def test_distances_of_float32_features_far_from_the_origin_are_exact():
    references = np.array([[1e4, 0.0]], np.float32)
    _, distances = nearest_rows(np.array([[1e4, 0.25]], np.float32), references)
    assert distances[0] == pytest.approx(0.25)


def sheet(name="a", channels=3, size=16, counts=(3, 2)):
    def strip(value, captions=True):
        return tuple(
            Strip(
                pixels=np.full((n, channels, size, size), value, np.uint8),
                captions=[f"{value / 100:.2f}"] * n if captions else (),
            )
            for n in counts
        )

    return ClassSheet(name=name, real=strip(40), synthetic=strip(90, False), nearest=strip(160))


def test_real_synthetic_and_nearest_images_are_all_on_the_sheet_as_they_are():
    figure = draw_nearest([sheet()], (0.0, 255.0), title="run", lines=["how"])
    pixels = opened(figure)
    for value in (40, 90, 160):  # five images each, enlarged by six
        assert (pixels == value).all(-1).sum() >= 5 * (16 * 6) ** 2


def test_the_sheet_explains_itself():
    figure = draw_nearest(
        [sheet("first"), sheet("second")], (0.0, 255.0), title="run 7", lines=["one", "two"]
    )
    for text in ("run 7", "one", "two", "first", "second", "synthetic", "held out", "0.40", "1.60"):
        assert has_text(figure, text)
    assert not has_text(figure, "0.90")


def test_a_class_without_images_leaves_its_places_empty():
    figure = draw_nearest(
        [sheet(), sheet("empty", counts=(0, 0))], (0.0, 255.0), title="run", lines=[]
    )
    assert has_text(figure, "empty")
    assert opened(figure).shape[2] == 3


def test_a_name_is_never_taken_for_mathematics():
    figure = draw_nearest([sheet("$x_1$")], (0.0, 255.0), title="a$b$", lines=["$y^$"])
    assert opened(figure).size


# --- t-SNE --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "perplexity"), [(6, 5 / 3), (40, 13.0), (120, 30.0)])
def test_perplexity_is_fitted_to_the_number_of_points(n, perplexity):
    features = np.random.default_rng(0).normal(size=(n, 4))
    assert embed(features, random_state=0).perplexity == pytest.approx(perplexity)


def test_one_seed_gives_one_embedding_and_leaves_the_callers_numbers_alone():
    np.random.seed(3)  # noqa: NPY002  # the global state is what is tested
    expected = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (embed(clusters(), random_state=1) for _ in range(2))
    assert (first.points == second.points).all()
    assert (np.random.get_state()[1] == expected).all()  # noqa: NPY002


def test_points_that_are_apart_stay_apart():
    points = embed(clusters(), random_state=0).points
    left, right = points[:20], points[20:]
    gap = np.linalg.norm(left.mean(0) - right.mean(0))
    assert gap > 2 * max(left.std(), right.std())


@pytest.mark.parametrize("features", [np.zeros((12, 5)), np.arange(12.0)[:, None]])
def test_features_that_hardly_vary_are_laid_out_all_the_same(features):
    points = embed(features, random_state=0).points
    assert points.shape == (12, 2)
    assert np.isfinite(points).all()


def embedding_figure(labels, class_names):
    roles = np.array(["train", "holdout", "synthetic", "synthetic"])
    points = np.random.default_rng(0).normal(size=(4, 2))
    return draw_embedding(
        points, roles, np.array(labels), class_names, title="run", lines=["perplexity 3, seed 5"]
    )


def test_all_classes_and_each_that_has_points_get_a_panel():
    figure = embedding_figure([0, 0, 2, 2], ("a", "b", "c"))
    found = texts(figure)
    assert {"All classes", "a", "c", "perplexity 3, seed 5"} <= set(found)
    assert "b" not in found


def test_one_class_needs_one_panel():
    found = texts(embedding_figure([0, 0, 0, 0], ("alone",)))
    assert "alone" in found
    assert "All classes" not in found


def test_roles_are_told_apart_in_the_legend():
    figure = embedding_figure([0, 0, 0, 0], ("alone",))
    assert {"real, training", "real, held out", "synthetic"} <= set(texts(figure))


# --- training -----------------------------------------------------------------------------------


def history(steps, metrics_every=0):
    return History(
        Progress(
            images_seen=16 * step,
            step=step,
            epoch=0,
            losses={"generator/adversarial": 1.0 / step, "discriminator/r1": 0.1},
            metrics={"kid": 0.5 / step} if metrics_every and step % metrics_every == 0 else {},
        )
        for step in range(1, steps + 1)
    )


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.get_axes() if axes.get_title(loc="left")]


def test_metrics_are_drawn_before_losses():
    figure = draw_history({"all classes": history(50, metrics_every=10)}, title="run")
    assert titles(figure) == ["kid", "generator loss: adversarial", "discriminator loss: r1"]


def test_a_metric_is_drawn_where_it_was_recorded():
    figure = draw_history({"all classes": history(50, metrics_every=10)}, title="run")
    (curve,) = [axes for axes in figure.get_axes() if axes.get_title(loc="left") == "kid"]
    (line,) = curve.get_lines()
    assert line.get_xdata() == pytest.approx([160, 320, 480, 640, 800])
    assert line.get_ydata() == pytest.approx([0.05, 0.025, 0.5 / 30, 0.0125, 0.01])


def test_the_spread_of_a_metric_has_no_panel_and_every_panel_names_its_axis():
    records = History(
        Progress(
            images_seen=16 * step,
            step=step,
            epoch=0,
            losses={f"generator/{term}": 1.0 / step for term in "abc"},
            metrics={"kid": 0.5 / step, "kid_subset_std": 0.1},
        )
        for step in range(1, 9)
    )
    figure = draw_history({"all classes": records}, title="run")
    assert titles(figure) == ["kid", *(f"generator loss: {term}" for term in "abc")]
    drawn = [axes for axes in figure.get_axes() if axes.get_title(loc="left")]
    assert {axes.get_xlabel() for axes in drawn} == {"training images seen"}


def test_each_training_of_a_run_has_a_curve():
    figure = draw_history({"rare": history(30), "common": history(20)}, title="run")
    axes = figure.get_axes()[1]
    assert [line.get_label() for line in axes.get_lines()] == ["rare", "common"]


def test_a_training_that_lacks_a_loss_has_no_curve_of_it():
    without = History(replace(step, losses={"generator/adversarial": 1.0}) for step in history(30))
    figure = draw_history({"first": history(30), "then": without}, title="run")
    drawn = {axes.get_title(loc="left"): len(axes.get_lines()) for axes in figure.get_axes()}
    assert drawn["generator loss: adversarial"] == 2
    assert drawn["discriminator loss: r1"] == 1


def test_a_long_training_is_drawn_as_means_of_steps():
    figure = draw_history({"all": history(5000)}, title="run")
    (line,) = figure.get_axes()[1].get_lines()
    assert len(line.get_xdata()) == 120
    assert line.get_xdata()[0] == pytest.approx(16 * np.arange(1, 43).mean())


@pytest.mark.parametrize("histories", [{}, {"all": History()}, {"all": history(1)}])
def test_nothing_recorded_is_no_figure(histories):
    assert draw_history(histories, title="run") is None


# --- colours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_colours_are_those_that_the_metric_scores(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, channels, 8, 8), np.uint8)
    found = mean_colours(pixels, (0.0, 255.0))
    metric = ColourStats(ColourStatsConfig(), None)
    expected = metric.describe(to_signed(pixels, (0.0, 255.0))).numpy().T
    assert list(found) == (["grey"] if channels == 1 else ["red", "green", "blue", "grey"])
    for column, values in zip(found.values(), expected, strict=True):
        assert column == pytest.approx(values, abs=1e-6)


def test_titles_give_wasserstein_and_kolmogorov_smirnov_of_all_classes():
    rng = np.random.default_rng(0)
    real, synthetic = rng.uniform(0, 0.6, 40), rng.uniform(0.2, 1, 30)
    labels = np.arange(40) % 2, np.arange(30) % 2
    figure = draw_colours({"grey": real}, {"grey": synthetic}, labels, ("a", "b"), title="run")
    distance = wasserstein_distance(real, synthetic)
    statistic = ks_2samp(real, synthetic).statistic
    assert titles(figure) == [f"Grey\nWasserstein {distance:.3f} · KS {statistic:.2f}"]
    assert {"all classes", "a", "b"} <= set(texts(figure))


def test_a_class_without_synthetic_images_has_a_line_and_no_part_in_the_distances():
    rng = np.random.default_rng(0)
    real, synthetic = rng.uniform(0, 0.6, 40), rng.uniform(0.2, 1, 30)
    labels = np.arange(40) % 2, np.ones(30, dtype=np.int64)
    figure = draw_colours({"grey": real}, {"grey": synthetic}, labels, ("a", "b"), title="run")
    distance = wasserstein_distance(real[1::2], synthetic)
    statistic = ks_2samp(real[1::2], synthetic).statistic
    assert titles(figure) == [f"Grey\nWasserstein {distance:.3f} · KS {statistic:.2f}"]
    assert {"a", "b"} <= set(texts(figure))


def test_a_class_of_one_side_only_and_equal_images_are_drawn():
    flat = {"grey": np.full(4, 0.5)}
    labels = np.array([0, 0, 0, 0]), np.array([1, 1, 1, 1])
    assert opened(draw_colours(flat, flat, labels, ("a", "b"), title="run")).size


# --- files --------------------------------------------------------------------------------------


def test_the_same_figure_is_the_same_bytes_and_pyplot_stays_out():
    code = (
        "import sys; from ganaug.figures import draw_history, png;"
        "from ganaug.stopping import History, Progress;"
        "h = History(Progress(images_seen=i, step=i, epoch=0, losses={'g/a': i}) for i in (1, 2));"
        "a, b = (png(draw_history({'x': h}, title='t')) for _ in range(2));"
        "assert a == b and a.startswith(b'\\x89PNG');"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
