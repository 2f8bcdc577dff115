"""The memorisation gate against planted copies, on real image sets.

Rows are cut, groups and near duplicates whole, into training and held-out images, several times.
The gate is set on the training images alone. Copies of training images are planted: as they are,
mirrored, 5 % brighter, and shifted by 2 pixels in a random direction, with edges repeated or
wrapped around. Held-out images stand for new ones; those flagged are false.
At most 1 % of them may be, or two images. Then copies of all kinds are mixed in at 0, 1, 5 and
10 % among half of the held-out images, as a generator that memorises would draw them, and the
audit tests whether there are more than among real images: the other half, and training images by
cross-fitting. At 0 % every finding is a false alarm; 1 % of the mixtures are to be expected, and
5 % allowed, since mixtures of one split share their images. How often the audit finds copies is
told, not required: a half is far fewer images than the 256 a class that it draws of a generator.

    python benchmarks/memorisation_gate.py [--data ../shared/data] [--size 64] [--splits 5]

It ends with exit code 1 when a requirement is not met.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganaug import LabelledImages, Registry
from ganaug.copies import CopyGate, Rate
from ganaug.duplicates import find_duplicates
from ganaug.hashes import hash_images
from ganaug.memorisation import LEVEL, p_value
from ganaug.resampling import half_of
from ganaug.sources import open_images
from ganaug.splits import split_rows

SETS = ("ham10000_224_sub", "headct_hemorrhage", "mias_patches")
MIXED_IN = (0.0, 0.01, 0.05, 0.10)
MIXTURES = 20
FALSE_ALARMS = 0.05
HELD_OUT = 0.3
MOST_COPIES = 200
SHIFT = 2
REQUIRED = {"exact": 0.99, "mirrored": 0.99, "brightened": 0.99, "shifted": 0.95, "wrapped": 0.95}

Pixels = NDArray[np.uint8]


def plant(pixels: Pixels, rng: np.random.Generator) -> dict[str, Pixels]:
    """Return copies of images, uint8 (N, C, H, W), by kind."""
    return {
        "exact": pixels,
        "mirrored": pixels[..., ::-1],
        "brightened": (pixels * 1.05).round().clip(0, 255).astype(np.uint8),
        "shifted": np.stack([move(image, rng, mode="edge") for image in pixels]),
        "wrapped": np.stack([move(image, rng, mode="wrap") for image in pixels]),
    }


def move(image: Pixels, rng: np.random.Generator, *, mode: str) -> Pixels:
    """Return an image, (C, H, W), moved by 2 pixels up or down, left or right, or both."""
    directions = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    down, right = np.array(directions[rng.integers(len(directions))]) * SHIFT
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode=mode)
    return padded[:, SHIFT - down :, SHIFT - right :][:, :height, :width]


def judge_split(images: LabelledImages, splits: tuple[str, ...], seed: int) -> dict[str, object]:
    """Set a gate on the training rows; return what it flags of held-out images and copies."""
    rng = np.random.default_rng(seed)
    rows = {name: np.flatnonzero(np.array(splits) == name) for name in ("training", "holdout")}
    training, holdout = (images.subset(rows[name]) for name in ("training", "holdout"))
    started = time.process_time()
    gate = CopyGate.of(training)
    set_up = time.process_time() - started
    started = time.process_time()
    held = gate.find(np.asarray(holdout.pixels), images.value_range)
    judged = time.process_time() - started
    chosen = rng.permutation(len(training))[:MOST_COPIES]
    copies = plant(np.asarray(training.pixels)[chosen], rng)
    found = {kind: gate.find(pixels, images.value_range) for kind, pixels in copies.items()}
    return {
        "held": held,
        "found": found,
        "crossfit": gate.crossfit,
        "mixtures": mix(holdout, held, np.concatenate(list(found.values())), gate.crossfit, rng),
        "seconds": (len(training), set_up, len(holdout), judged),
    }


def mix(
    holdout: LabelledImages,
    held: NDArray[np.bool_],
    copies: NDArray[np.bool_],
    crossfit: Rate,
    rng: np.random.Generator,
) -> dict[float, list[tuple[int, int, bool]]]:
    """Mix copies in among halves of the held-out images, whole groups; test as `audit` does.

    held, copies: which held-out images and which copies are flagged. Returns for each share, of
    each mixture: the copies, those caught, and whether the audit finds memorisation.
    """
    mixtures: dict[float, list[tuple[int, int, bool]]] = {share: [] for share in MIXED_IN}
    for _ in range(MIXTURES):
        half = half_of(holdout, rng)
        new, others = held[half], np.delete(held, half)
        real = Rate(flagged=int(others.sum()), images=len(others)) + crossfit
        for share, found in mixtures.items():
            n = max(1, round(share / (1 - share) * len(new))) if share else 0
            planted = copies[rng.integers(len(copies), size=n)]
            drawn = Rate(flagged=int(planted.sum() + new.sum()), images=n + len(new))
            found.append((n, int(planted.sum()), p_value(drawn, real) < LEVEL))
    return mixtures


def judge_set(data: Path, name: str, size: int, repeats: int) -> bool:
    """Print what the gate does on one set; return whether it does what it must."""
    images = open_images(str(data / name), Registry.load())
    near = find_duplicates(images, hash_images(images)).near
    loaded = images.load(size)
    results = []
    for seed in range(repeats):
        splits = split_rows(
            images, holdout=HELD_OUT, validation=0.0, random_state=seed, clusters=near
        )
        results.append(judge_split(loaded, splits, seed))
    return print_results(name, size, results)


def print_results(name: str, size: int, results: list[Mapping[str, object]]) -> bool:
    held = [result["held"] for result in results]
    flagged, allowed = ([int(h.sum()) for h in held], [max(2, len(h) // 100) for h in held])
    crossfit = sum((result["crossfit"] for result in results), Rate())
    fine = all(n <= most for n, most in zip(flagged, allowed, strict=True))
    print(f"\n{name} at {size} px, {len(results)} splits")
    print(
        f"  held-out images flagged  {sum(flagged)} of {sum(map(len, held))}; by split "
        f"{flagged}, allowed {allowed}: {'ok' if fine else 'TOO MANY'}"
    )
    print(f"  training images flagged  {crossfit}, by cross-fitting")
    for kind, required in REQUIRED.items():
        caught = np.concatenate([result["found"][kind] for result in results])
        enough = caught.mean() >= required
        fine &= bool(enough)
        print(
            f"  {kind:11} copies caught  {caught.sum():5} of {len(caught):5}, "
            f"{caught.mean():7.2%}; required {required:.0%}: {'ok' if enough else 'TOO FEW'}"
        )
    for share in MIXED_IN:
        mixtures = [mixture for result in results for mixture in result["mixtures"][share]]
        n, caught, memorised = (sum(column) for column in zip(*mixtures, strict=True))
        verdict = ""
        if not share:
            enough = memorised <= FALSE_ALARMS * len(mixtures)
            verdict = f"; allowed {FALSE_ALARMS:.0%}: {'ok' if enough else 'TOO MANY'}"
            fine &= enough
        print(
            f"  mixed in at {share:4.0%}        {caught} of {n} caught; the audit finds "
            f"memorisation in {memorised} of {len(mixtures)} mixtures{verdict}"
        )
    n, set_up, judged_n, judged = map(sum, zip(*(r["seconds"] for r in results), strict=True))
    print(
        f"  time                     {set_up / n * 1000:.1f} CPU s to set up with 1,000 images; "
        f"{judged / judged_n * 1000:.1f} CPU s to judge 1,000 against {n // len(results):,}"
    )
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared, help="the folder of the image sets")
    parser.add_argument("--size", type=int, action="append", help="pixels a side; repeatable")
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    fine = [
        judge_set(options.data, name, size, options.splits)
        for size in options.size or [64]
        for name in SETS
    ]
    print(f"\n{'Every requirement is met.' if all(fine) else 'NOT every requirement is met.'}")
    return 0 if all(fine) else 1


if __name__ == "__main__":
    raise SystemExit(main())
