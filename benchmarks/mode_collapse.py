"""Mode collapse of the built-in generators: how different their images are, and how near to real.

Trains each generator with its defaults, for each seed, and compares two numbers with real images:

MS-SSIM: the mean similarity of pairs of images of one class, within the training images and within
    as many synthetic ones. More than .05 above the training images is a collapse.
KID: on features of fixed random convolutions, times 1000, against held-out images (three in ten,
    with groups and near duplicates whole), with the 95 % interval of half samples. It must be below
    that of a copy of the training images which a Gaussian of --blur pixels has blurred.

Time is this process's own CPU time (all threads) over the number of threads, so that other work on
the machine does not count; drawing and scoring are not counted. A generator that grows says how
far it came: one that ended at fewer pixels has blocks in place of detail.

    python benchmarks/mode_collapse.py [DATA] [--size 64] [--minutes 10] [--seeds 2]
        [--generator pggan]... [--set pggan:images_per_phase=3000]... [--out PICTURES] [--quick]

DATA is what `ganaug fit` takes, such as mias_patches/labels.csv; scikit-learn's digits unless told.
--quick trains for seconds: to see that it runs, not to be quoted.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from ganaug import LabelledImages, Registry, Training, train
from ganaug.duplicates import find_duplicates
from ganaug.features import CachedExtractor, build_extractor
from ganaug.grids import draw_grid
from ganaug.hashes import hash_images
from ganaug.pixels import from_signed
from ganaug.randomness import seeded
from ganaug.reading import growth_text
from ganaug.scoring import ImageRoles, Score, score_images
from ganaug.sources import open_images
from ganaug.splits import split_rows
from ganaug.stopping import Progress
from ganaug.validation import sample_batches

GENERATORS = ("dcgan", "aegan", "pggan")
MARGIN = 0.05  # of MS-SSIM, over real images
QUICK = {
    "aegan": {"autoencoder_images": "160"},
    "pggan": {"images_per_phase": "64"},
}
SHOWN = 16  # images of a class on a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A row of the table. similar, apart: MS-SSIM within the images, KID against held-out ones."""

    name: str
    similar: Score
    apart: Score
    images_seen: int = 0
    seconds: float = 0.0
    growth: str = ""


def cpu_seconds() -> float:
    return time.process_time() / torch.get_num_threads()


class Bench:
    """Real images of one size, and how others are scored against them."""

    def __init__(self, images: LabelledImages) -> None:
        self.registry = Registry.load()
        near = find_duplicates(images, hash_images(images)).near
        whole = replace(images, splits=None)
        splits = np.array(
            split_rows(whole, holdout=0.3, validation=0.0, random_state=0, clusters=near)
        )
        self.train = images.subset(np.flatnonzero(splits == "training"))
        self.holdout = images.subset(np.flatnonzero(splits == "holdout"))
        self.extractor = CachedExtractor(
            build_extractor("random-conv", self.train.spec, self.registry)
        )
        self.extractor.prepare(self.train)

    def blurred(self, sigma: float) -> LabelledImages:
        """Return the training images after a Gaussian of so many pixels."""
        pixels = np.asarray(self.train.pixels)
        soft = gaussian_filter(pixels.astype(np.float64), sigma=(0, 0, sigma, sigma))
        if np.issubdtype(pixels.dtype, np.integer):
            soft = soft.round()
        return replace(self.train, pixels=soft.astype(pixels.dtype))

    def fit(
        self, name: str, settings: Mapping[str, str], seed: int, seconds: float
    ) -> tuple[Training, Progress, float]:
        """Train for so many seconds; return the training, its last step, and the seconds taken."""
        plugin = self.registry.generators[name]
        with seeded(seed):
            generator = plugin.build(plugin.config.from_strings(dict(settings)), self.train.spec)
        training = train(generator, self.train, total_images=10**9, random_state=seed)
        started = cpu_seconds()
        for progress in training:
            last = progress
            if cpu_seconds() - started >= seconds:
                break
        return training, last, cpu_seconds() - started

    def draw(self, training: Training) -> LabelledImages:
        """Draw as many images of each class as there are training images."""
        real = self.train
        batches = sample_batches(training.ema, real.labels, seed=0)
        if batches is None:
            raise SystemExit("A sample has pixels that are no finite numbers.")
        dtype, value_range = np.asarray(real.pixels).dtype, real.value_range
        return LabelledImages(
            pixels=from_signed(torch.cat(batches), dtype=dtype, value_range=value_range),
            labels=real.labels,
            class_names=real.class_names,
            value_range=value_range,
        )

    def score(self, name: str, images: LabelledImages) -> Result:
        """Score images that play the synthetic ones."""
        ways = {"ms-ssim:pairs=1000": self.train, "kid": self.holdout}
        found = {
            score.name: score
            for metric, real in ways.items()
            for score in score_images(
                [metric],
                ImageRoles(train=None, holdout=real, synthetic=images),
                self.registry,
                extractor=self.extractor,
                rows="real images",
                floors=False,
            )
        }
        return Result(name=name, similar=found["ms_ssim_synthetic"], apart=found["kid"])


def with_interval(score: Score, scale: float, digits: int) -> str:
    low, high = score.interval or (float("nan"), float("nan"))
    value, low, high = (scale * each for each in (score.value, low, high))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def show(results: Sequence[Result], real: Result, blurred: Result) -> None:
    """Print the table: training images, a blurred copy, generators with what holds of them."""
    limit, bar = real.similar.value + MARGIN, blurred.apart.value
    print(
        f"\n{'':14}{'images':>11}{'seconds':>9}{'MS-SSIM [95 %]':>25}"
        f"{'KID x 1000 [95 %]':>26}  verdict"
    )
    for row in (real, blurred, *results):
        line = f"{row.name:14}{row.images_seen:>11,}{row.seconds:>9.0f}"
        line += f"{with_interval(row.similar, 1, 3):>25}{with_interval(row.apart, 1e3, 1):>26}"
        if row is not real and row is not blurred:
            verdicts = (
                "as different as real" if row.similar.value <= limit else "COLLAPSED",
                "nearer than blurred" if row.apart.value < bar else "NOT NEARER than blurred",
            )
            line += f"  {', '.join(verdicts)}"
        print(line)
    print(
        f"Limits: MS-SSIM {limit:.3f}, training images and {MARGIN}; KID {1e3 * bar:.1f}, blurred."
    )
    for row in results:
        if row.growth:
            print(f"{row.name}: {row.growth}")


def write_sheet(path: Path, images: LabelledImages) -> None:
    """Write a picture with a row a class."""
    pixels = np.asarray(images.pixels)
    rows = [
        (name, pixels[np.flatnonzero(images.labels == index)[:SHOWN]])
        for index, name in enumerate(images.class_names)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_grid(rows, images.value_range).save(path)


def settings_of(name: str, options: argparse.Namespace) -> dict[str, str]:
    """Return the settings of a generator: --set GENERATOR:FIELD=VALUE."""
    found = dict(QUICK.get(name, {})) if options.quick else {}
    for text in options.set or []:
        generator, _, assignment = text.partition(":")
        if generator == name:
            found.update([assignment.split("=", 1)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default="digits:digits")
    parser.add_argument("--size", type=int, default=64, help="side in pixels")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--generator", action="append", help=f"{', '.join(GENERATORS)} unless told")
    parser.add_argument("--set", action="append", metavar="GENERATOR:FIELD=VALUE")
    parser.add_argument("--blur", type=float, default=1.0, help="standard deviation in pixels")
    parser.add_argument("--out", type=Path, help="a folder for pictures of what was drawn")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    size, seconds = (16, 2.0) if options.quick else (options.size, 60 * options.minutes)
    bench = Bench(open_images(options.data, Registry.load()).load(size))
    print(f"{len(bench.train)} training and {len(bench.holdout)} held-out images, {size} px")
    real = bench.score("training", bench.train)
    blurred = bench.score(f"blurred {options.blur:g} px", bench.blurred(options.blur))
    results = []
    for name in options.generator or GENERATORS:
        for seed in range(options.seeds):
            training, last, taken = bench.fit(name, settings_of(name, options), seed, seconds)
            drawn = bench.draw(training)
            if options.out is not None:
                write_sheet(options.out / f"{name}-{size}-{seed}.png", drawn)
            scored = bench.score(f"{name} seed {seed}", drawn)
            reached = growth_text(last, size)
            seen = training.images_seen
            results.append(replace(scored, images_seen=seen, seconds=taken, growth=reached))
            print(f"{name} seed {seed}: {seen:,} images", flush=True)
    show(results, real, blurred)


if __name__ == "__main__":
    main()
