"""What was tried so that synthetic images help a classifier, and what came of each.

Every trial is a screening of `ham-bcc` (basal cell carcinoma, the rarest of three classes of
ham10000_28, 28 px) with two arms: `oversample+classical`, which is the best that can be done
without a generator, and the same with synthetic images. A trial changes the way of
conditioning, the loss, a filter, the generator, its resolution, how long it trains, how many images
are added or when. Folds, steps, classifier and statistics are those of `ganaug benchmark`.

The table has the difference between the two arms in points, with the 95 % interval of the corrected
resampled t-test, of balanced accuracy and of the sensitivity to bcc at a specificity of 90 %; what
could have been detected; and how often each ratio was chosen on validation images. Intervals are of
each trial alone: of so many, one in twenty may exclude zero by chance, and a trial that stands out
is to be repeated with another seed before anything is made of it.

    python benchmarks/did_it_help.py --out out/tried [--data ../shared/data] [--trial NAME]...
        [--folds 3] [--repeats 2] [--jobs N] [--quick]

Results are kept in OUT, so that the script goes on where it was stopped; table.md is written after
every trial. --quick trains for seconds: to see that it runs, not to be quoted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ganaug import Registry
from ganaug.benchmark.backends import open_backend
from ganaug.benchmark.experiment import Experiment
from ganaug.benchmark.grid import run_cells
from ganaug.benchmark.outcomes import Outcome
from ganaug.benchmark.results import Results
from ganaug.benchmark.statistics import compare

MEASURES = ("balanced_accuracy", "sensitivity_at_specificity:bcc")
WITHOUT, WITH = "oversample+classical", "oversample+classical+synthetic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is changed of the study, and of its budget. arm: the one with synthetic images."""

    name: str
    study: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    arm: str = WITH


TRIALS = (
    Trial(name="as the study has it"),  # a DCGAN on bcc alone, 20,000 images
    Trial(name="pretrain-finetune", study={"conditioning": "pretrain-finetune"}),
    Trial(name="loss hinge", study={"settings": {"loss": "hinge"}}),
    Trial(name="loss relativistic", study={"settings": {"loss": "relativistic"}}),
    Trial(name="preset radford", study={"settings": {"preset": "radford"}}),
    Trial(
        name="pretrain-finetune, filter classifier",  # which needs several classes
        study={"conditioning": "pretrain-finetune", "filters": ("copies", "classifier")},
    ),
    Trial(name="filter discriminator", study={"filters": ("copies", "discriminator")}),
    Trial(name="generator aegan", study={"generator": "aegan"}),
    Trial(name="trained at 64 px", study={"generator_size": 64}),
    Trial(name="four times the training", budget={"generator_images": 80_000}),
    Trial(name="ratio 1 or none", study={"ratios": (1.0,)}),
    Trial(name="warm start", arm="oversample+classical+warm-start"),
)


def main() -> None:
    """Read the command line, run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="Try what could make synthetic images help.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--trial", action="append", choices=[trial.name for trial in TRIALS])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    lines: dict[str, str] = {}
    for trial in TRIALS:
        asked = not options.trial or trial.name in options.trial
        if asked or _results(trial, options).exists():
            lines[trial.name] = _line(trial, list(_run(trial, options)))
            (options.out / "table.md").write_text(_table([*lines.values()]), "utf-8")
            print(lines[trial.name], flush=True)


def _results(trial: Trial, options: argparse.Namespace) -> Path:
    name = trial.name.replace(",", "").replace(" ", "-")
    return Path(options.out, name, "results.sqlite")


def _run(trial: Trial, options: argparse.Namespace) -> Iterable[Outcome]:
    study = replace(Registry.load().studies["ham-bcc"], **trial.study)
    study = study.with_arms((WITHOUT, trial.arm))
    budget = replace(study.small, folds=options.folds, repeats=options.repeats, **trial.budget)
    if options.quick:
        budget = replace(budget, steps=20, generator_images=64)
    path = _results(trial, options)
    data = str(options.data / "ham10000_28" / "ham10000_28.npz")
    experiment = Experiment.of(data, study, out=path.parent, budget=budget)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Results(path) if path.exists() else Results.create(path, experiment.origin) as results:
        results.check(experiment.origin)
        run_cells(experiment, results, backend=open_backend("loky", options.jobs))
        cells = set(experiment.cells)
        return [outcome for outcome in results.outcomes() if outcome.cell in cells]


def _line(trial: Trial, outcomes: Sequence[Outcome]) -> str:
    cells, detectable = [], []
    for measure in MEASURES:
        (found,) = compare(outcomes, measure, partners={trial.arm: WITHOUT}, bootstraps=0)
        interval = ""
        if found.low is not None and found.high is not None:
            interval = f" ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
        cells.append(f"{100 * found.mean:+.1f}{interval}")
        known = found.detectable is not None
        detectable.append(f"{100 * found.detectable:.1f}" if known else "-")
    ratios = Counter(
        "none" if ratio is None else f"{ratio:g}"
        for ratio in (o.details["ratio"] for o in outcomes if o.cell.arm == trial.arm)
    )
    chosen = ", ".join(f"{ratio}: {n}" for ratio, n in sorted(ratios.items()))
    return f"| {trial.name} | {' | '.join(cells)} | {', '.join(detectable)} | {chosen} |"


def _table(lines: Sequence[str]) -> str:
    head = (
        "| what was changed | balanced accuracy | sensitivity to bcc at 90 % | could detect "
        "| ratios chosen |\n|---|---|---|---|---|\n"
    )
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
