"""A GAN on an autoencoder's codes against a plain GAN: time, parameters and KID.

For each size, on the same training images:

plain GAN: generator dcgan, presets `default` and `radford`, for --minutes each.
GAN with AE: generator aegan. The autoencoder's own time and parameters come first, then those of
    the GAN on its codes, which has at most 21 % of the plain GAN's time (reported: 78.8 % less)
    and should have at most 5 % of its parameters (reported: 2.6 %), to a KID that is not above
    the plain GAN's interval. Between the two, what the GAN begins with: the codes' mean and
    covariance by class, which are fitted without training, and are not among its parameters.
equal total: the same training, gone on until autoencoder and GAN together have taken as long as
    a plain GAN.

KID is that of `ganaug evaluate` on features of fixed random convolutions, times 1000, against
held-out images (three in ten of each class); 95 % from half samples. floor: training images in
place of synthetic ones.

    python benchmarks/aegan_vs_gan.py [DATA] [--size 64 --size 128] [--minutes 10] [--quick]

DATA is what `ganaug fit` takes, such as ham10000_224_sub/labels.csv; scikit-learn's digits
unless told. Time is this process's own CPU time (all threads) over the number of threads, so that
other work on the machine does not count; --clock wall counts what the clock on the wall does.
--quick trains for seconds: to see that it runs, not to be quoted.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ganaug import LabelledImages, Registry, Training, train
from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.builtin.aegan.report import format_params, params_report
from ganaug.features import CachedExtractor, build_extractor
from ganaug.pixels import from_signed
from ganaug.scoring import ImageRoles, Score, score_images
from ganaug.sources import open_images

SHARE = 0.21  # of the plain GAN's time: 1 - 78.8 %
PLAIN = {"default": {"preset": "default"}, "radford": {"preset": "radford"}}
Clock = Callable[[], float]


def cpu_seconds() -> float:
    return time.process_time() / torch.get_num_threads()


@dataclass
class Result:
    """A row of the table. parameters: that the training moved. seconds: of training."""

    name: str
    parameters: int
    seconds: float
    images_seen: int
    kid: Score | None = None


class Bench:
    """Real images of one size, and how samples are scored against them."""

    def __init__(self, images: LabelledImages, clock: Clock) -> None:
        self.registry = Registry.load()
        self.clock = clock
        rng = np.random.default_rng(0)
        holdout = np.zeros(len(images), dtype=bool)
        for label in np.unique(images.labels):
            rows = rng.permutation(np.flatnonzero(images.labels == label))
            holdout[rows[: max(len(rows) * 3 // 10, 1)]] = True
        self.train = images.subset(np.flatnonzero(~holdout))
        self.holdout = images.subset(np.flatnonzero(holdout))
        self.extractor = CachedExtractor(
            build_extractor("random-conv", self.train.spec, self.registry)
        )
        self.extractor.prepare(self.train)

    def start(self, name: str, fields: dict[str, Any]) -> Training:
        """Return a training at its first step."""
        plugin = self.registry.generators[name]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            generator = plugin.build(plugin.config.from_fields(fields), self.train.spec)
        return train(generator, self.train, total_images=10**9, random_state=0)

    def go_on(self, training: Training, until: Callable[[float], bool]) -> float:
        """Train until a question about the seconds taken is answered yes; return the seconds."""
        started = self.clock()
        for _ in training:
            if until(self.clock() - started):
                break
        return self.clock() - started

    @torch.no_grad()
    def score(self, training: Training) -> Score:
        """KID of as many samples of each class as there are held-out images."""
        like, rng = self.holdout, torch.Generator().manual_seed(0)
        parts = [
            training.ema.sample(part.to(training.device), rng=rng).cpu()
            for part in torch.from_numpy(like.labels).split(100)
        ]
        pixels = from_signed(
            torch.cat(parts), dtype=np.asarray(like.pixels).dtype, value_range=like.value_range
        )
        synthetic = LabelledImages(
            pixels=pixels,
            labels=like.labels,
            class_names=like.class_names,
            value_range=like.value_range,
        )
        roles = ImageRoles(train=self.train, holdout=like, synthetic=synthetic)
        (kid, _) = score_images(
            ["kid"], roles, self.registry, extractor=self.extractor, rows="held-out images"
        )
        return kid

    def plain(self, preset: str, seconds: float) -> Result:
        """Train a plain GAN for so many seconds."""
        training = self.start("dcgan", PLAIN[preset])
        taken = self.go_on(training, lambda passed: passed >= seconds)
        count = sum(p.numel() for p in training.generator.parameters())
        return Result(f"GAN, {preset}", count, taken, training.images_seen, self.score(training))

    def with_autoencoder(self, fields: dict[str, Any], seconds: float) -> list[Result]:
        """Autoencoder, GAN on its codes for its share of the time, and for equal total time."""
        training = self.start("aegan", fields)
        rows = params_report(AEGANConfig.from_fields(fields), self.train.spec)
        network = training.generator.network
        first = self.go_on(training, lambda _: bool(network.stage == 2))
        seen = training.images_seen
        fitted = sum(buffer.numel() for buffer in network.prior.buffers())
        results = [
            Result("AE", rows[0].parameters, first, seen),
            Result("law of codes", fitted, 0.0, 0, self.score(training)),
        ]
        taken = self.go_on(training, lambda passed: passed >= SHARE * seconds)
        count = rows[2].parameters
        kid = self.score(training)
        results.append(Result("GAN with AE", count, taken, training.images_seen - seen, kid))
        left = seconds - first - taken
        if left > 0:
            total = first + taken + self.go_on(training, lambda passed: passed >= left)
            count += rows[0].parameters
            kid = self.score(training)
            results.append(Result("equal total", count, total, training.images_seen, kid))
        else:
            print(f"The autoencoder leaves no time for 'equal total' within {seconds:.0f} s.")
        return results


def show(results: list[Result]) -> None:
    print(f"{'':16}{'parameters':>12}{'seconds':>9}{'images':>12}{'KID x 1000 [95 %]':>28}  floor")
    for row in results:
        line = f"{row.name:16}{row.parameters:>12,}{row.seconds:>9.1f}{row.images_seen:>12,}"
        if row.kid is not None:
            low, high = row.kid.interval or (float("nan"), float("nan"))
            shown = f"{1e3 * row.kid.value:.1f} [{1e3 * low:.1f}, {1e3 * high:.1f}]"
            floor = "" if row.kid.floor is None else f"{1e3 * row.kid.floor:.1f}"
            line += f"{shown:>28}  {floor}"
        print(line)


def judge(plain: list[Result], small: Result) -> None:
    """Say what holds of the headline, against each plain GAN."""
    for row in plain:
        assert row.kid is not None
        assert small.kid is not None
        high = row.kid.interval[1] if row.kid.interval else row.kid.value
        verdict = "not above" if small.kid.value <= high else "ABOVE"
        print(
            f"GAN with AE against {row.name}: {small.parameters / row.parameters:.1%} of its "
            f"parameters, {small.seconds / row.seconds:.1%} of its time, KID {verdict} its interval"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default="digits:digits")
    parser.add_argument("--size", type=int, action="append", help="side in pixels; 64 and 128")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each plain GAN")
    parser.add_argument("--autoencoder-images", type=int, help="aegan's default unless given")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes, seconds = options.size or [64, 128], 60 * options.minutes
    fields: dict[str, Any] = {}
    if options.autoencoder_images or options.quick:
        fields = {"autoencoder_images": options.autoencoder_images or 160}
    if options.quick:
        sizes, seconds = options.size or [16], 2.0
    images = open_images(options.data, Registry.load())
    for size in sizes:
        bench = Bench(
            images.load(size), cpu_seconds if options.clock == "cpu" else time.perf_counter
        )
        print(
            f"\n{len(bench.train)} training images {bench.train.spec.shape}, {options.clock} time"
        )
        plain = [bench.plain(preset, seconds) for preset in PLAIN]
        results = bench.with_autoencoder(fields, seconds)
        show([*plain, *results])
        judge(plain, results[2])
        counts = params_report(
            AEGANConfig.from_fields(fields), bench.train.spec, plain_gan=plain[1].parameters
        )
        print(f"\n{format_params(counts)}\nGAN: dcgan, preset radford.", flush=True)


if __name__ == "__main__":
    main()
