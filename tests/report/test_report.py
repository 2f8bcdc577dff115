"""Reports: what they conclude, that they are whole, and that a browser shows all of it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import t

from ganaug import Arm, Study
from ganaug.benchmark.outcomes import Cell, Outcome, Predictions
from ganaug.benchmark.statistics import Difference, compare
from ganaug.report import Findings, Picture, write_report
from ganaug.report.drawing import Row, draw_forest
from ganaug.report.files import FILES, render_page
from ganaug.report.findings import Spread
from ganaug.study import Reported

CLASSES = ("mel", "b<k>l", "bcc")
ARMS = (
    Arm(name="untreated", summary="As they are."),
    Arm(name="oversample", summary="Drawn equally often.", sampling="oversample"),
    Arm(name="synthetic", summary="With synthetic ones.", synthetic="beside"),
)
WARM_START = Arm(name="warm-start", summary="First.", synthetic="before", mixup=0.2)
STUDY = Study(
    name="mine",
    summary="Lesions & more.",
    arms=ARMS,
    reported=(Reported(arm="synthetic", measure="accuracy", value=0.61),),
    paper="A paper",
)


def predictions(skill, seed, n=120, common=None):
    """Predictions as good as `skill`; classes alike, or the first with a share of `common`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    if common is not None:
        labels[: round(common * n)] = 0
    logits = rng.normal(size=(n, len(CLASSES)))
    logits[np.arange(n), labels] += skill
    weights = np.exp(logits)
    return Predictions(
        ids=tuple(f"{row}.png" for row in range(n)),
        groups=tuple(f"lesion{row // 2}" for row in range(n)),
        labels=labels,
        probabilities=weights / weights.sum(axis=1, keepdims=True),
    )


def outcomes(skills, *, fractions=(1.0,), repeats=2, folds=3):
    return [
        Outcome(
            cell=Cell(arm=arm.name, fraction=fraction, repeat=repeat, fold=fold),
            class_names=CLASSES,
            train=predictions(skills[arm.name] + fraction, 7),
            validation=predictions(skills[arm.name] + fraction, 90 + fold),
            test=predictions(skills[arm.name] + fraction, 10 * repeat + fold),
            details={"ratio": 0.5 if arm.needs_generator else None, "seconds": 1.5},
        )
        for arm in ARMS
        for fraction in fractions
        for repeat in range(repeats)
        for fold in range(folds)
    ]


EQUAL = {"untreated": 1.0, "oversample": 1.0, "synthetic": 1.0}
BETTER = {"untreated": 0.5, "oversample": 0.6, "synthetic": 4.0}
WORSE = {"untreated": 4.0, "oversample": 4.0, "synthetic": 0.3}


def found_in(rows, **options):
    arms = {each.cell.arm for each in rows}
    differences = compare(
        rows, STUDY.measure, candidates=["untreated", "oversample"], bootstraps=50
    )
    effects = []
    if "synthetic" in arms:
        effects = compare(rows, STUDY.measure, partners=STUDY.partners, bootstraps=50)
    facts = {"images": "lesions/", "ganaug": "1.0", "torch": "2.10"}
    fields = {"facts": facts, "is_screening": True, **options}
    return Findings(study=STUDY, outcomes=rows, differences=differences, effects=effects, **fields)


def test_images_that_add_much_help():
    found = found_in(outcomes(BETTER))
    assert found.verdict == "helps"
    assert re.fullmatch(
        r"In this screening, synthetic images helped: synthetic is \+\d+\.\d points of balanced "
        r"accuracy from untreated, which is the same but for the images\. It is \+\d+\.\d points "
        r"from the reference, oversample, too\.",
        found.headline,
    )


def beside(verdict, mean):
    """Images that helped `synthetic`, in a study where the reference is another arm."""
    effect = difference("helps", 0.2, 0.05, reference="untreated")
    return Findings(
        study=STUDY, outcomes=outcomes(EQUAL), effects=[effect],
        differences=[difference(verdict, mean, 0.05)], facts={}, is_screening=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "mean", "said"),
    [
        ("helps", 0.1, "It is +10.0 points from the reference, oversample, too."),
        (
            "no benefit shown",
            0.01,
            "From the reference, oversample, it is +1.0 points, which shows no benefit.",
        ),
    ],
)
def test_images_that_helped_are_put_beside_the_best_that_can_be_done_without(verdict, mean, said):
    found = beside(verdict, mean)
    assert found.verdict == "helps"
    assert found.headline == (
        "Synthetic images helped: synthetic is +20.0 points of balanced accuracy from untreated, "
        f"which is the same but for the images. {said}"
    )


def test_an_arm_that_is_worse_than_the_reference_shows_no_benefit_however_images_helped_it():
    found = beside("harms", -0.1)
    assert found.verdict == "no benefit shown"
    assert found.headline == (
        "No benefit of synthetic images was shown for balanced accuracy: synthetic is -10.0 points "
        "from the reference, oversample. The images did help it; it is +20.0 points from "
        "untreated, which is the same but for these."
    )
    assert "No benefit shown" in render_page(found)


def test_an_arm_without_a_partner_stands_among_the_others():
    study = replace(STUDY, arms=(*ARMS, WARM_START))
    found = Findings(
        study=study, outcomes=outcomes(EQUAL), facts={}, is_screening=False,
        effects=[difference("no benefit shown", 0.0, 0.05, reference="untreated")],
        differences=[
            replace(difference("harms", -0.2, 0.05), arm=name)
            for name in ("synthetic", WARM_START.name)
        ],
    )  # fmt: skip
    assert [(each.arm, each.reference) for each in found.answers] == [
        ("synthetic", "untreated"),
        ("warm-start", "oversample"),
    ]


def test_synthetic_images_in_place_of_real_ones_have_no_say():
    alone = Arm(name="synthetic-only", summary="Alone.", synthetic="only")
    rows = [
        difference("helps", 0.2, 0.05),
        replace(difference("harms", -0.2, 0.05), arm=alone.name),
    ]
    found = Findings(
        study=replace(STUDY, arms=(*ARMS, alone)), outcomes=outcomes(EQUAL), differences=rows,
        facts={}, is_screening=False,
    )  # fmt: skip
    assert [each.arm for each in found.answers] == ["synthetic"]
    assert found.verdict == "helps"


def test_images_that_cost_much_harm():
    found = found_in(outcomes(WORSE), is_screening=False)
    assert found.verdict == "harms"
    assert found.headline.startswith("Synthetic images did harm: synthetic is -")


def test_without_a_partner_nothing_is_said_to_be_due_to_the_images():
    rows = [each for each in outcomes(BETTER) if each.cell.arm != "untreated"]
    differences = compare(rows, STUDY.measure, candidates=["oversample"], bootstraps=0)
    found = Findings(
        study=STUDY, outcomes=rows, differences=differences, facts={}, is_screening=False
    )
    assert found.verdict == "helps"
    assert re.fullmatch(
        r"synthetic did better than oversample, by \+\d+\.\d points of balanced accuracy\. The two "
        r"differ in more than synthetic images\.",
        found.headline,
    )


def test_harm_is_told_beside_no_benefit():
    rows = [
        difference("no benefit shown", 0.01, 0.034),
        replace(difference("harms", -0.2, 0.05), arm=WARM_START.name),
    ]
    study = replace(STUDY, arms=(*ARMS, WARM_START))
    found = Findings(
        study=study, outcomes=outcomes(EQUAL), differences=rows, facts={}, is_screening=False
    )
    assert found.verdict == "no benefit shown"
    assert "A difference of 5.0 points would have been found" in found.headline
    assert found.headline.endswith("Other arms with synthetic images did harm.")


def test_arms_alike_show_no_benefit_and_say_what_could_have_been_found():
    found = found_in(outcomes(EQUAL, repeats=3))
    assert found.verdict == "no benefit shown"


def difference(verdict, mean, detectable, reference="oversample"):
    return Difference(
        arm="synthetic", reference=reference, measure=STUDY.measure, fraction=1.0, value=0.5,
        reference_value=0.5, mean=mean, low=None, high=None, p=None, p_holm=None,
        bootstrap_low=None, bootstrap_high=None, detectable=detectable, verdict=verdict, n=6,
    )  # fmt: skip


def test_no_benefit_says_that_cells_without_images_say_nothing_of_it():
    rows = [replace(difference("no benefit shown", 0.01, 0.034), equal=2)]
    found = Findings(
        study=STUDY, outcomes=outcomes(EQUAL), differences=rows, facts={}, is_screening=True
    )
    assert found.headline.endswith("in four of five such benchmarks, if every cell took some.")


def test_no_benefit_says_how_large_a_one_would_have_been_found():
    rows = [difference("no benefit shown", 0.01, 0.034)]
    found = Findings(
        study=STUDY, outcomes=outcomes(EQUAL), differences=rows, facts={}, is_screening=True
    )
    assert "A difference of 3.4 points would have been found in four of five" in found.headline


def test_too_few_cells_to_show_anything_are_called_so():
    rows = [difference("no benefit shown", 0.23, 8.25)]
    found = Findings(
        study=STUDY, outcomes=outcomes(EQUAL), differences=rows, facts={}, is_screening=True
    )
    assert found.headline.endswith("There are too few cells to show any.")
    assert rows[0].words() == "no benefit shown (6 cells are too few to show any)"
    assert ">none<" in render_page(found)


def test_without_an_arm_of_synthetic_images_nothing_was_asked():
    rows = [each for each in outcomes(EQUAL) if each.cell.arm != "synthetic"]
    found = found_in(rows)
    assert found.verdict == "not asked"
    assert "It was not asked" in render_page(found)


def test_a_confusion_matrix_has_fractions_of_each_class():
    matrix = found_in(outcomes(BETTER)).confusion("synthetic")
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    assert matrix.diagonal().min() > 0.8


def test_a_confusion_matrix_goes_by_thresholds_of_validation_images():
    """Probabilities of a classifier that hardly calls a rare class, though it knows it."""
    rows = [each for each in outcomes(BETTER) if each.cell.arm == "synthetic"]
    shy = [
        replace(
            each,
            train=predictions(4.0, 7, common=0.9),
            validation=_shy(each.validation),
            test=_shy(each.test),
        )
        for each in rows
    ]
    found = Findings(study=STUDY, outcomes=shy, differences=[], facts={}, is_screening=True)
    called = np.concatenate([each.test.probabilities.argmax(axis=1) for each in shy])
    assert (called == 2).mean() < 0.1
    assert found.confusion("synthetic")[2, 2] > 0.7


def test_a_confusion_matrix_of_two_classes_has_the_sensitivity_of_the_rarer_one():
    def two(some, common=90):
        keep = np.r_[np.flatnonzero(some.labels == 0)[:common], np.flatnonzero(some.labels == 1)]
        weights = some.probabilities[keep][:, :2]
        return Predictions(
            ids=tuple(some.ids[row] for row in keep),
            groups=tuple(some.groups[row] for row in keep),
            labels=some.labels[keep],
            probabilities=weights / weights.sum(axis=1, keepdims=True),
        )

    rows = [
        replace(
            each, class_names=("mel", "nevus"), train=two(each.train, common=5),  # `mel` is rarer
            validation=two(each.validation), test=two(each.test),
        )
        for each in outcomes(EQUAL, repeats=1)
    ]  # fmt: skip
    found = Findings(study=STUDY, outcomes=rows, differences=[], facts={}, is_screening=True)
    matrix = found.confusion("synthetic")
    mean = found.summary("synthetic", 1.0).measures["sensitivity:mel"].mean
    assert matrix[0, 0] == pytest.approx(mean)  # folds are of one size
    assert "the rarer class at its threshold" in render_page(found)


def _shy(some):
    probabilities = some.probabilities * [1, 1e-3, 1e-3]
    return replace(some, probabilities=probabilities / probabilities.sum(axis=1, keepdims=True))


def test_the_papers_figures_of_networks_have_those_of_our_generator_beside_them():
    figures = (
        Reported(network="dcgan", measure="parameters", value=15_683_546),
        Reported(network="autoencoder", measure="minutes", value=27.0),
    )
    generator = {
        "run": "a", "parameters": 1_234_567, "drawing": 2, "seconds": 90.0, "dropped": {},
        "memorised": False,
    }  # fmt: skip
    rows = [replace(each, details={"generator": generator}) for each in outcomes(EQUAL)]
    found = replace(found_in(rows), study=replace(STUDY, reported=figures))
    assert [ours and ours.mean for _, ours in found.reported] == [1_234_567, None]
    score = SimpleNamespace(name="fid", value=80.5)
    best = replace(
        found, scores=[score],
        study=replace(STUDY, reported=(Reported(network="dcgan", measure="fid", value=16.0),)),
    )  # fmt: skip
    assert best.reported[0][1].mean == 80.5
    page = render_page(found)
    assert "<td>15,683,546</td><td>1,234,567</td>" in page
    assert "<td>27</td><td>-</td>" in page


def test_the_papers_figures_stand_beside_ours_and_are_not_mixed_with_them():
    found = found_in(outcomes(BETTER))
    ((reported, ours),) = found.reported
    assert reported.value == 0.61
    assert ours == found.summary("synthetic", 1.0).measures["accuracy"]


def test_three_files_are_written_and_the_table_has_a_line_a_cell(tmp_path):
    rows = outcomes(BETTER)
    paths = write_report(tmp_path, found_in(rows))
    assert [path.name for path in paths] == list(FILES)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert len(lines) == len(rows)
    assert {line["ratio"] for line in lines if line["arm"] == "synthetic"} == {"0.5"}
    assert 0 < float(lines[0]["auroc:bcc"]) < 1


def test_the_tree_has_verdict_differences_and_arms(tmp_path):
    write_report(tmp_path, found_in(outcomes(BETTER)))
    tree = json.loads((tmp_path / "results.json").read_text())
    assert tree["verdict"] == "helps"
    assert tree["reference"] == "oversample"
    assert {each["arm"] for each in tree["differences"]} == {"untreated", "synthetic"}
    assert tree["arms"][2]["ratios"] == {"0.5": 6}


def test_the_interval_of_an_arm_is_that_of_cells_which_share_training_images():
    rows = outcomes(BETTER, repeats=3)
    found = found_in(rows)
    spread = found.summary("synthetic", 1.0).measures["brier"]
    n = sum(each.cell.arm == "synthetic" for each in rows)
    folds = len({each.cell.fold for each in rows})
    error = spread.deviation * np.sqrt(1 / n + 1 / (folds - 1))
    half = t.isf(0.025, n - 1) * error
    assert (spread.low, spread.high) == pytest.approx((spread.mean - half, spread.mean + half))
    shown = f"{spread.mean:.3f} <small>{spread.low:.2f}&#8211;{spread.high:.2f}</small>"
    assert shown in render_page(found)


def test_an_interval_of_few_cells_ends_where_the_measure_does():
    assert Spread.of([0.9, 1.0], 0.5, 1.0).high == 1.0
    assert Spread.of([0.0, 0.1], 0.5, 1.0).low == 0.0
    assert Spread.of([30.0, 90.0]).high > 90.0


def test_a_class_without_test_images_is_unknown_everywhere_and_breaks_nothing(tmp_path):
    rows = outcomes(EQUAL)
    for row in rows:
        row.test.labels[row.test.labels == 2] = 0
    write_report(tmp_path, found_in(rows))
    tree = json.loads((tmp_path / "results.json").read_text())
    assert tree["arms"][0]["measures"]["auroc:bcc"] == dict.fromkeys(("mean", "sd", "low", "high"))
    assert "unknown" in (tmp_path / "report.html").read_text()


def test_the_page_asks_nothing_of_the_network_and_escapes_names():
    page = render_page(found_in(outcomes(EQUAL)))
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "default-src 'none'" in page
    assert "b<k>l" not in page
    assert "b&lt;k&gt;l" in page


def test_a_screening_is_called_one_and_a_full_benchmark_is_not():
    assert "this is a screening" in render_page(found_in(outcomes(EQUAL)))
    assert "screening" not in render_page(found_in(outcomes(EQUAL), is_screening=False))


def test_curves_are_there_for_several_training_sizes_only():
    assert 'id="curves"' not in render_page(found_in(outcomes(EQUAL)))
    several = found_in(outcomes(EQUAL, fractions=(0.25, 1.0)))
    assert 'id="curves"' in render_page(several)
    assert several.final[0].fraction == 1.0


def test_curves_go_by_the_real_images_of_the_rare_classes():
    rows = [
        replace(each, train=predictions(1.0, 7, n=round(120 * each.cell.fraction)))
        for each in outcomes(EQUAL, fractions=(0.25, 1.0))
    ]
    found = found_in(rows)
    assert (found.real_images(0.25), found.real_images(1.0)) == (30, 120)
    rare = replace(found, study=replace(STUDY, rare=(CLASSES[0], CLASSES[2])))
    assert (rare.real_images(0.25), rare.real_images(1.0)) == (20, 80)
    curves = re.search(r'<figure id="curves">.*?</figure>', render_page(rare), re.S).group()
    assert f"real images of {CLASSES[0]} and {CLASSES[2]} to train on" in curves
    assert {">20<", ">80<"} <= set(re.findall(r">\d+<", curves))


def test_a_verdict_is_told_by_shape_as_well_as_by_colour():
    rows = [
        Row(label=tone, value=1.0, low=0.5, high=1.5, text=tone, tone=tone)
        for tone in ("good", "bad", "open")
    ]
    drawing = draw_forest(rows, title="Differences", unit="points")
    assert 'class="good fill" d="M' in drawing
    assert 'class="bad fill" d="M' in drawing
    assert '<circle class="open"' in drawing


def test_one_cell_has_a_page_without_intervals():
    page = render_page(found_in(outcomes(BETTER, repeats=1, folds=1)))
    assert "one cell, so that chance is unknown" in page


# --- in a browser ---------------------------------------------------------------------------------

# Chromium's windows are 500 pixels wide or more; a frame is as narrow as a phone.
_FRAME = """<body style="margin: 0"><iframe style="border: 0; width: {width}px; height: {height}px"
srcdoc="{page}"></iframe><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const shown = [...page.querySelectorAll("#verdict, figure, #differences, #confusion")];
  document.body.dataset.boxes = JSON.stringify(shown.map(each => {{
    const box = each.getBoundingClientRect();
    return [each.id || "picture", box.x, box.y, box.width, box.height];
  }}));
  document.body.dataset.width = page.documentElement.scrollWidth;
  document.body.dataset.cut = [...page.querySelectorAll("svg text")].filter(each => {{
    const box = each.getBBox(), view = each.ownerSVGElement.viewBox.baseVal;
    return box.x < 0 || box.x + box.width > view.width || box.y + box.height > view.height;
  }}).map(each => each.textContent).join(", ");
}}
</script></body>"""


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs chromium")
    return path


@pytest.mark.parametrize(("width", "height"), [(1000, 5200), (390, 8000)])
def test_chromium_shows_the_verdict_and_every_figure(chromium, tmp_path, width, height):
    noise = np.random.default_rng(0).integers(0, 255, (80, 300, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    picture = Picture(title="Images", caption="Noise.", png=stream.getvalue())
    long = "oversample+classical+synthetic"
    found = found_in(outcomes(BETTER, fractions=(0.5, 1.0)), pictures=[picture])
    found = replace(
        found,
        study=replace(STUDY, arms=(*ARMS[:2], replace(ARMS[2], name=long))),
        outcomes=[
            replace(each, cell=replace(each.cell, arm=long))
            if each.cell.arm == "synthetic"
            else each
            for each in found.outcomes
        ],
        differences=[
            replace(each, arm=long) if each.arm == "synthetic" else each
            for each in found.differences
        ],
        effects=[replace(each, arm=long) for each in found.effects],
    )
    frame = tmp_path / "frame.html"
    content = escape(render_page(found), quote=True)
    frame.write_text(_FRAME.format(width=width, height=height, page=content), "utf-8")

    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += [
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={max(width, 500)},{height}",
    ]
    shot = tmp_path / "shot.png"
    for task in f"--screenshot={shot}", "--dump-dom":
        command = [chromium, *options, task, frame.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    boxes = json.loads(re.search(r'data-boxes="(.*?)"', done.stdout)[1].replace("&quot;", '"'))
    assert int(re.search(r'data-width="(\d+)"', done.stdout)[1]) <= width
    assert re.search(r'data-cut="(.*?)"', done.stdout)[1] == ""
    assert [box[0] for box in boxes] == [
        "verdict", "effects", "forest", "differences", "curves", "classes", "confusion", "picture",
    ]  # fmt: skip
    pixels = np.asarray(Image.open(shot).convert("L"), dtype=float)
    for name, x, y, wide, high in boxes:
        assert y + high <= height, f"{name} is below the screenshot"
        part = pixels[int(y) : int(y + high), max(int(x), 0) : int(x + wide)]
        assert part.min() < 128 < part.max(), f"nothing is seen of {name}"
    tone = np.asarray(Image.open(shot).convert("RGB"))[int(boxes[0][2]) + 20, int(boxes[0][1]) + 3]
    assert tuple(tone) == (0x00, 0x72, 0xB2)  # good news
