"""How often the benchmark's verdict errs, and whether it finds what it says it could detect.

Grids with known truth are simulated: patients with one or more images, real classifiers in grouped
folds, arms that are equally good by construction (tests/benchmark/simulated.py). Each grid goes
through `ganaug.benchmark.statistics.compare`, as results of a benchmark do.

False alarms: grids of 1,000 without any effect in which some arm is said to help, or to harm. The
reference is chosen among the first half of the arms on validation images, and each arm of the
second half has a partner in the first, as in a benchmark. At a level of 5 % there are to be 50 at
most, and 64 are the most that chance leaves of 50.
The two t: false alarms of one arm against one other, without Holm's adjustment, in 1,000: by the
corrected t-test, and by the plain paired one, which takes cells as independent.
Power: one arm is better by the difference that grids say they could detect; the share of grids in
which it is found. Stated is 80 %. The effect is searched for until both are equal; they are printed
in points of balanced accuracy.

    python benchmarks/false_alarms.py [--grids 1000] [--power-grids 400]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import ttest_1samp

from ganaug.benchmark.measures import measure_one
from ganaug.benchmark.statistics import Difference, compare

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from benchmark.simulated import World, simulate

MEASURE = "balanced_accuracy"
WORLDS = {
    "3 x 2, 4 arms, 60 patients": World(),
    "3 x 2, 4 arms, 200 patients": World(patients=200),
    "3 x 2, 10 arms, 200 patients": World(patients=200, arms=10),
    "3 x 2, a quarter of the patients": World(patients=200, fraction=0.25),
    "3 x 2, arms that differ much": World(patients=200, alike=0.0, separation=1.0),
    "3 x 2, noisy training": World(patients=200, seeds=0.05),
    "5 x 5, 4 arms, 60 patients": World(folds=5, repeats=5),
    "5 x 5, 4 arms, 200 patients": World(folds=5, repeats=5, patients=200),
    "5 x 5, 10 arms, 200 patients": World(folds=5, repeats=5, patients=200, arms=10),
    "5 x 5, arms that differ much": World(
        folds=5, repeats=5, patients=200, alike=0.0, separation=1.0
    ),
}


def alarms(world: World, grids: int) -> dict[str, float]:
    """Count false alarms in 1,000 grids."""
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(("any", "helps", "harms", "corrected t", "plain t"), 0)
    for _ in range(grids):
        outcomes = simulate(world, rng)
        half = world.arms // 2
        first, second = world.names[:half], world.names[half:]
        partners = dict(zip(second, first, strict=True))
        rows = compare(outcomes, MEASURE, candidates=first, partners=partners, bootstraps=0)
        verdicts = {row.verdict for row in rows} - {"no benefit shown"}
        counts["any"] += bool(verdicts)
        for verdict in verdicts:
            counts[verdict] += 1
        pair = [
            [outcome for outcome in outcomes if outcome.cell.arm == arm] for arm in ("arm0", "arm1")
        ]
        (row,) = compare([*pair[0], *pair[1]], MEASURE, reference="arm0", bootstraps=0)
        counts["corrected t"] += row.p is not None and row.p < 0.05
        values = [[measure_one(outcome, MEASURE) for outcome in of_arm] for of_arm in pair]
        if np.ptp(np.subtract(*values)):
            counts["plain t"] += ttest_1samp(np.subtract(*values), 0.0).pvalue < 0.05
    return {name: 1000 * count / grids for name, count in counts.items()}


def with_effect(world: World, effect: float, grids: int) -> list[Difference]:
    """Compare the last arm, whose classes lie further apart, with the first."""
    better = replace(world, effects=(*[0.0] * (world.arms - 1), effect))
    rng = np.random.default_rng(1)
    return [
        compare(simulate(better, rng), MEASURE, reference="arm0", bootstraps=0)[-1]
        for _ in range(grids)
    ]


def power(world: World, grids: int) -> tuple[float, float, float] | None:
    """Return the effect, what grids say they could detect, and the share that found it.

    None where no effect is as large as what could be detected: accuracy ends at 1.
    """
    low, high = 0.0, 4.0
    for _ in range(8):
        middle = (low + high) / 2
        rows = with_effect(world, middle, max(grids // 4, 50))
        effect, stated = (
            float(np.mean([getattr(row, name) for row in rows])) for name in ("mean", "detectable")
        )
        low, high = (low, middle) if effect > stated else (middle, high)
    rows = with_effect(world, high, grids)
    effect, stated = (
        float(np.mean([getattr(row, name) for row in rows])) for name in ("mean", "detectable")
    )
    if effect < 0.95 * stated:
        return None
    return effect, stated, float(np.mean([row.verdict == "helps" for row in rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", type=int, default=1000)
    parser.add_argument("--power-grids", type=int, default=400)
    options = parser.parse_args()
    print(
        "| grid | false alarms | helps | harms | one corrected t | one plain t | stated | power |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, world in WORLDS.items():
        counts = alarms(world, options.grids)
        found = power(world, options.power_grids)
        last = f"{100 * found[1]:.1f} | {100 * found[2]:.0f} %" if found else "beyond 1 | -"
        print(
            f"| {name} | {' | '.join(f'{count:.0f}' for count in counts.values())} | {last} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
