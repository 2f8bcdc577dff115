"""Does a metric predict what synthetic images are good for? Rank correlations over small runs.

Fits a DCGAN on several image sets with several seeds and lengths of training. Each run is scored
by every metric on its holdout, and by its use:

gain: balanced accuracy on the holdout of a small classifier that is trained on real and synthetic
    images (every class grown to the largest), minus that of one trained on the real ones alone.
    Both draw every class equally often, for as many steps, from the same first weights; the mean
    over seeds of the classifier.

For each metric: Spearman's rank correlation with the gain, of ranks within each image set, since
sets differ in both for reasons that have nothing to do with the generator; its sign is turned so
that +1 means that the better score always belongs to the greater gain (a metric of which neither
end is better keeps its sign and is marked ~). The 95 % interval is a bootstrap over the pairs of
image set and seed: runs that share them share a split.

Gain, cas and every other metric look at the same held-out images of a run, so that correlations
share what is noise of that holdout, and are flattered by it. And pairs of image set and seed are
few, three of each set: a bootstrap over so few is coarse, and its intervals rather too narrow.

    python benchmarks/selection_metric.py --out out/selection [--data ../shared/data] [--quick]

Runs and results are kept in OUT, so that the script goes on where it was stopped: results.csv has
a line a number, table.md what docs/results.md shows. --quick tries the script itself on two tiny
runs of scikit-learn's digits; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from ganaug import LabelledImages, Registry
from ganaug.cli import main as ganaug
from ganaug.errors import GanaugError
from ganaug.evaluation import evaluate_run
from ganaug.pixels import to_signed
from ganaug.runs import Run
from ganaug.scoring import ImageRoles, score_images
from ganaug.sources import open_images

COLUMNS = ("data", "seed", "images", "quantity", "extractor", "higher_is_better", "value")
GAIN, ERROR, ALONE = "gain", "standard error of the gain", "balanced accuracy, real alone"
BATCH = 64
BOOTSTRAPS = 2000
Accuracies = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run. sources: DATA by name; lengths: of training, in images."""

    sources: dict[str, str]
    seeds: Sequence[int]
    lengths: Sequence[int]
    size: int
    settings: Sequence[str] = ()
    extractors: Sequence[str] = ("classifier", "random-conv")
    classifier_seeds: int = 5
    steps: int = 300


def full(data: Path) -> Plan:
    """Fittings of a minute or less on two cores."""
    return Plan(
        sources={
            "ham10000_28": str(data / "ham10000_28" / "ham10000_28.npz"),
            "bccd_cells_32": str(data / "bccd_cells_32" / "bccd_cells_32.npz"),
            "mias_patches": str(data / "mias_patches" / "labels.csv"),
        },
        seeds=(0, 1, 2),
        lengths=(1_500, 5_000, 12_000),
        size=32,
    )


def quick() -> Plan:
    return Plan(
        sources={"digits": "digits:digits"},
        seeds=(0,),
        lengths=(64, 128),
        size=16,
        settings=("width=8",),
        extractors=("classifier",),
        classifier_seeds=2,
        steps=20,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A number about a run."""

    data: str
    seed: int
    images: int
    quantity: str
    extractor: str
    higher_is_better: str
    value: float

    @property
    def run(self) -> tuple[str, int, int]:
        """Which run it is about."""
        return self.data, self.seed, self.images


def read_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                data=line["data"],
                seed=int(line["seed"]),
                images=int(line["images"]),
                quantity=line["quantity"],
                extractor=line["extractor"],
                higher_is_better=line["higher_is_better"],
                value=float(line["value"]),
            )
            for line in csv.DictReader(file)
        ]


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append the rows of a run in one write, so that a run is there whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(COLUMNS)
    writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(text.getvalue())


def fit(plan: Plan, source: str, seed: int, images: int, path: Path) -> Run:
    """Fit a run, or go on with one that was interrupted."""
    if not (path / "manifest.json").exists():
        words = ["fit", source, "--out", path, "--size", plan.size, "--images", images]
        words += [word for setting in plan.settings for word in ("--set", setting)]
        words += ["--seed", seed, *(["--resume"] if (path / "run.toml").exists() else [])]
        with contextlib.redirect_stdout(io.StringIO()):
            code = ganaug([str(word) for word in words])
        if code:
            raise SystemExit(f"ganaug {' '.join(map(str, words))} ended with {code}.")
    return Run.open(path)


def score(
    run: Run, images: LabelledImages, registry: Registry, extractor: str
) -> tuple[ImageRoles, list[tuple[str, str, float]]]:
    """Return the images by role, and name, direction and value of every metric's scores."""
    evaluation = evaluate_run(run, images, registry, metrics=["kid"], extractor=extractor)
    failed: dict[str, GanaugError] = {}
    scores = score_images(
        sorted(registry.evaluators),
        evaluation.roles,
        registry,
        extractor=evaluation.space,
        rows=evaluation.rows,
        floors=False,
        intervals=False,
        failed=failed,
    )
    for metric, error in failed.items():
        print(f"  {metric} ({extractor}) left out: {error}")
    return evaluation.roles, [
        (
            each.name if each.name == each.metric else f"{each.metric}: {each.name}",
            {True: "yes", False: "no", None: ""}[each.higher_is_better],
            each.value,
        )
        for each in scores
    ]


def grown(run: Run, training: LabelledImages, registry: Registry) -> LabelledImages:
    """Return the training images, and synthetic ones until every class is as the largest."""
    model = run.read_model(registry)
    pixels, labels = [np.asarray(training.pixels)], [training.labels]
    counts = training.counts
    for index, name in enumerate(model.class_names):
        label = training.class_names.index(name)
        drawn = model.draw(index, max(counts.values()) - counts[name], seed=1_000 + index)
        drawn = LabelledImages(
            pixels=drawn,
            labels=np.full(len(drawn), label),
            class_names=training.class_names,
            value_range=model.output.value_range,
        )
        if len(drawn):
            pixels.append(np.asarray(drawn.load(training.spec.height).pixels))
            labels.append(drawn.labels)
    return LabelledImages(
        pixels=np.concatenate(pixels),
        labels=np.concatenate(labels),
        class_names=training.class_names,
        value_range=training.value_range,
    )


def tensor(images: LabelledImages) -> Tensor:
    return to_signed(np.asarray(images.pixels), images.value_range)


def network(channels: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for wide in (16, 32, 64):
        layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, classes))


def balanced_accuracy(
    training: LabelledImages, holdout: LabelledImages, steps: int, seed: int
) -> float:
    """Train a small network on classes drawn equally often; score it on the holdout."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = network(training.spec.channels, len(training.class_names))
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    pixels, labels = tensor(training), torch.from_numpy(training.labels)
    members = [rows for rows in _rows_by_class(training) if len(rows)]
    for _ in range(steps):
        classes = rng.integers(len(members), size=BATCH)
        rows = torch.tensor([rng.choice(members[class_]) for class_ in classes])
        loss = nn.functional.cross_entropy(classifier(pixels[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    classifier.eval()
    with torch.no_grad():
        found = torch.cat([classifier(part).argmax(dim=1) for part in tensor(holdout).split(256)])
    return float(balanced_accuracy_score(holdout.labels, found.numpy()))


def _rows_by_class(images: LabelledImages) -> list[NDArray[np.int64]]:
    return [np.flatnonzero(images.labels == label) for label in range(len(images.class_names))]


def accuracies(plan: Plan, training: LabelledImages, holdout: LabelledImages) -> Accuracies:
    """Return the balanced accuracies of classifiers of every seed."""
    return np.array(
        [
            balanced_accuracy(training, holdout, plan.steps, seed)
            for seed in range(plan.classifier_seeds)
        ]
    )


def measure(
    plan: Plan,
    name: str,
    seed: int,
    length: int,
    out: Path,
    real_alone: dict[tuple[str, int], Accuracies],
) -> list[Row]:
    """Fit a run and return every number about it. real_alone: known of the split; is added to."""
    started, registry = time.perf_counter(), Registry.load()
    source = plan.sources[name]
    run = fit(plan, source, seed, length, out / "runs" / f"{name}-{seed}-{length}")
    fitted = time.perf_counter()
    images = open_images(source, registry)
    found: list[tuple[str, str, str, float]] = []
    for extractor in plan.extractors:
        roles, scores = score(run, images, registry, extractor)
        found += [(quantity, extractor, better, value) for quantity, better, value in scores]
    if roles.train is None:
        raise SystemExit(f"{run.path} has no training images.")
    more = grown(run, roles.train, registry)
    if (name, seed) not in real_alone:
        real_alone[name, seed] = accuracies(plan, roles.train, roles.holdout)
    alone, together = real_alone[name, seed], accuracies(plan, more, roles.holdout)
    gains = together - alone
    found += [
        (GAIN, "", "yes", float(gains.mean())),
        (ERROR, "", "", float(gains.std(ddof=1)) / len(gains) ** 0.5),
        (ALONE, "", "yes", float(alone.mean())),
    ]
    print(
        f"{name} seed {seed}, {length:,} images: gain {gains.mean():+.3f} on {alone.mean():.3f}, "
        f"fitted in {fitted - started:.0f} s, measured in {time.perf_counter() - fitted:.0f} s",
        flush=True,
    )
    return [
        Row(
            data=name,
            seed=seed,
            images=length,
            quantity=quantity,
            extractor=extractor,
            higher_is_better=better,
            value=value,
        )
        for quantity, extractor, better, value in found
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A metric's rank correlation with the gain. low, high: None where it cannot be told."""

    quantity: str
    extractor: str
    is_signed: bool
    runs: int
    rho: float
    low: float | None
    high: float | None


def within_sets(
    values: NDArray[np.float64], gains: NDArray[np.float64], sets: NDArray[np.str_]
) -> float:
    """Return the correlation of ranks that are centred within each image set; NaN for no ranks."""
    centred = np.zeros((2, len(values)))
    for name in np.unique(sets):
        rows = sets == name
        for column, numbers in zip(centred, (values, gains), strict=True):
            ranks = rankdata(numbers[rows])
            column[rows] = (ranks - ranks.mean()) / rows.sum()
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(centred[0] @ centred[1]) / scale if scale else float("nan")


def correlate(rows: Sequence[Row]) -> list[Correlation]:
    """Return the correlation of every metric that has values of two runs or more, best first."""
    gains = {row.run: row.value for row in rows if row.quantity == GAIN}
    by_metric: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.quantity not in (GAIN, ERROR, ALONE) and np.isfinite(row.value):
            by_metric.setdefault((row.quantity, row.extractor), []).append(row)
    found = []
    for (quantity, extractor), own in by_metric.items():
        if len(own) < 2:
            continue
        better = own[0].higher_is_better
        values = np.array([row.value for row in own]) * (-1.0 if better == "no" else 1.0)
        use = np.array([gains[row.run] for row in own])
        sets = np.array([row.data for row in own])
        clusters = np.array([f"{row.data} {row.seed}" for row in own])
        low, high = bootstrap(values, use, sets, clusters)
        rho = within_sets(values, use, sets)
        found.append(
            Correlation(
                quantity=quantity,
                extractor=extractor,
                is_signed=bool(better),
                runs=len(own),
                rho=rho,
                low=low,
                high=high,
            )
        )
    return sorted(found, key=lambda each: (not each.is_signed, -np.nan_to_num(each.rho, nan=-2.0)))


def bootstrap(
    values: NDArray[np.float64],
    gains: NDArray[np.float64],
    sets: NDArray[np.str_],
    clusters: NDArray[np.str_],
) -> tuple[float | None, float | None]:
    """Return the 2.5 and 97.5 percentiles over clusters drawn with replacement, set by set."""
    rng = np.random.default_rng(0)
    by_set = [np.unique(clusters[sets == name]) for name in np.unique(sets)]
    if min(map(len, by_set)) < 2:
        return None, None
    members = {name: np.flatnonzero(clusters == name) for name in np.unique(clusters)}
    drawn = []
    for _ in range(BOOTSTRAPS):
        names = np.concatenate([rng.choice(group, len(group)) for group in by_set])
        rows = np.concatenate([members[name] for name in names])
        drawn.append(within_sets(values[rows], gains[rows], sets[rows]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def markdown(rows: Sequence[Row]) -> str:
    """Return the two tables of docs/results.md: of the metrics, and of the runs."""
    lines = [
        "| metric | extractor | runs | correlation with the gain | 95 % |",
        "|---|---|--:|--:|---|",
    ]
    for each in correlate(rows):
        interval = "" if each.low is None else f"{each.low:+.2f} to {each.high:+.2f}"
        rho = f"{each.rho:+.2f}" if np.isfinite(each.rho) else "all the same"
        rho = rho if each.is_signed else f"~{rho}"
        lines.append(f"| {each.quantity} | {each.extractor} | {each.runs} | {rho} | {interval} |")
    lines += ["", "| data | seed | images | real alone | gain |", "|---|--:|--:|--:|--:|"]
    value = {(row.run, row.quantity): row.value for row in rows}
    for run in dict.fromkeys(row.run for row in rows):
        data, seed, images = run
        lines.append(
            f"| {data} | {seed} | {images:,} | {value[run, ALONE]:.3f} | "
            f"{value[run, GAIN]:+.3f} ± {value[run, ERROR]:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/selection"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="two tiny runs, to try the script")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    plan = quick() if options.quick else full(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.csv"
    done = {row.run for row in read_rows(path)}
    real_alone: dict[tuple[str, int], Accuracies] = {}
    for seed, length, name in product(plan.seeds, plan.lengths, plan.sources):
        if (name, seed, length) not in done:
            append_rows(path, measure(plan, name, seed, length, options.out, real_alone))
    table = markdown(read_rows(path))
    (options.out / "table.md").write_text(table, "utf-8")
    print(f"\n{table}\nThe numbers are {path}, the tables {options.out / 'table.md'}.")


if __name__ == "__main__":
    main()
