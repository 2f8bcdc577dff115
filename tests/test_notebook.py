from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "balance.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text("utf-8"))["cells"]


@pytest.fixture
def no_screen():
    """Draw on no screen, and close what was drawn."""
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_the_notebook_is_committed_without_outputs(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_notebook_runs_and_says_what_it_found(cells, capsys, no_screen):
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            source = re.sub(r"^REPEATS = \d+", "REPEATS = 2", "".join(cell["source"]), flags=re.M)
            source = re.sub(r"^(TRAINING_IMAGES) = [\d_]+", r"\1 = 64", source, flags=re.M)
            exec(source, names)
    assert names["REPEATS"] == 2
    assert names["TRAINING_IMAGES"] == 64
    said = capsys.readouterr().out
    verdict = r"(no difference was shown|synthetic images are (better|worse)) \([-+]0\.\d{3}, 95 %"
    for rival in ("repeated", "untreated"):
        assert re.search(rf"^Against {rival}: {verdict}", said, re.M)
    assert all(len(values) == 2 for values in names["scores"].values())


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        ([0.1, 0.11], "synthetic images are better"),
        ([-0.1, -0.11], "synthetic images are worse"),
        ([-0.1, 0.1], "no difference was shown"),
    ],
)
def test_the_verdict_follows_from_the_interval(cells, capsys, no_screen, gain, verdict):
    import numpy as np
    from scipy.stats import t

    names = {"np": np, "t": t, "plt": plt, "scores": {"repeated": [0.5, 0.5], "untreated": [0, 0]}}
    names["scores"]["synthetic"] = [0.5 + each for each in gain]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for cell in code[-2:]:
        exec("".join(cell["source"]), names)
    assert f"Against repeated: {verdict}" in capsys.readouterr().out
