"""Training speed of a 64 px DCGAN, beside torchgan's own Trainer, in one run.

Both train the same networks (Radford et al. 2016, width 64, batch 64) on the same random images,
in turn, pair by pair, each time in a process of its own, so that neither inherits the other's
heap; the median of the pairs' ratios is what counts. Steps are timed between batches, so neither
side's start, checkpoints or sample pictures are in the figure. Then the share of this machine's
own bf16 matrix-product speed that the training reaches.

    pip install torchgan
    python benchmarks/training_speed.py [--pairs 5] [--steps 12]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from ganaug import LabelledImages, Registry, Training, train

BATCH, SIZE, WARM_UP = 64, 64, 3


def random_images() -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(
        pixels=rng.integers(0, 256, (256, 3, SIZE, SIZE), dtype=np.uint8),
        labels=np.zeros(256, dtype=np.int64),
        class_names=("image",),
        value_range=(0.0, 255.0),
    )


def ganaug_training(images: LabelledImages) -> Training:
    plugin = Registry.load().generators["dcgan"]
    generator = plugin.build(plugin.config(preset="radford"), images.spec)
    return train(generator, images, total_images=10**9, batch_size=BATCH, random_state=0)


def ganaug_rate(steps: int) -> float:
    """Return images a second."""
    training = ganaug_training(random_images())
    for _ in range(WARM_UP):
        next(training)
    started = time.perf_counter()
    for _ in range(steps):
        next(training)
    return steps * BATCH / (time.perf_counter() - started)


class TimedLoader:
    """Batches of (images, labels) that note when each was asked for."""

    def __init__(self, images: LabelledImages, steps: int) -> None:
        pixels = torch.from_numpy(np.asarray(images.pixels)[:BATCH]).float() / 127.5 - 1
        self.batch = (pixels, torch.zeros(BATCH, dtype=torch.long))
        self.steps = steps
        self.times: list[float] = []
        self.batch_size = BATCH

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(self.steps):
            self.times.append(time.perf_counter())
            yield self.batch
        self.times.append(time.perf_counter())


def shim_make_grid() -> None:
    """Give torchvision's make_grid back the argument that torchgan 0.1.0 calls it with."""
    make_grid = torchvision.utils.make_grid

    def with_range(*args: object, range: object = None, **kwargs: object) -> torch.Tensor:  # noqa: A002
        return make_grid(*args, value_range=range, **kwargs)  # its name since torchvision 0.9

    torchvision.utils.make_grid = with_range


def torchgan_rate(steps: int) -> float:
    """Return images a second."""
    warnings.simplefilter("ignore")
    os.environ["TENSORBOARD_LOGGING"] = "0"
    shim_make_grid()
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import DCGANDiscriminator, DCGANGenerator
    from torchgan.trainer import Trainer

    adam = {"name": torch.optim.Adam, "args": {"lr": 2e-4, "betas": (0.5, 0.999)}}
    size = {"out_channels": 3, "step_channels": 64, "encoding_dims": 100, "out_size": SIZE}
    models = {
        "generator": {"name": DCGANGenerator, "args": size, "optimizer": adam},
        "discriminator": {
            "name": DCGANDiscriminator,
            "args": {"in_channels": 3, "step_channels": 64, "in_size": SIZE},
            "optimizer": adam,
        },
    }
    loader = TimedLoader(random_images(), WARM_UP + steps)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer = Trainer(
            models,
            [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()],
            device=torch.device("cpu"),
            sample_size=BATCH,
            epochs=1,
            checkpoints=str(Path(folder) / "gan"),
            recon=str(Path(folder) / "images"),
        )
        trainer(loader)
    return steps * BATCH / (loader.times[-1] - loader.times[WARM_UP])


def in_own_process(rate: Callable[[int], float], steps: int) -> float:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(rate, steps).result()


def bf16_flops_a_second() -> float:
    """Return the best speed of a bf16 matrix product over a few sizes."""
    best = 0.0
    for n in (1024, 2048, 4096):
        a, b = (torch.randn(n, n, dtype=torch.bfloat16) for _ in range(2))
        for _ in range(4):
            started = time.perf_counter()
            torch.mm(a, b)
            best = max(best, 2 * n**3 / (time.perf_counter() - started))
    return best


def flops_a_step(images: LabelledImages) -> float:
    training = ganaug_training(images)
    next(training)
    with FlopCounterMode(display=False) as counter:
        next(training)
    return float(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    if importlib.util.find_spec("torchgan") is None:
        sys.exit("This benchmark compares with torchgan: pip install torchgan==0.1.0")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}, {SIZE} px")
    print("pair  torchgan images/s  ganaug images/s  ratio")
    ratios, rates = [], []
    for pair in range(1, options.pairs + 1):
        theirs = in_own_process(torchgan_rate, options.steps)
        ours = in_own_process(ganaug_rate, options.steps)
        ratios.append(ours / theirs)
        rates.append(ours)
        print(f"{pair:4}  {theirs:17.1f}  {ours:15.1f}  {ours / theirs:5.2f}")
    print(f"median ratio {statistics.median(ratios):.2f} (wanted: at least 2.1)")
    speed, work = bf16_flops_a_second(), flops_a_step(random_images()) / BATCH
    reached = statistics.median(rates) * work
    print(
        f"{work / 1e9:.2f} GFLOP an image; {reached / 1e9:.0f} of {speed / 1e9:.0f} GFLOP/s of a "
        f"bf16 matrix product on this machine: {reached / speed:.0%}"
    )


if __name__ == "__main__":
    main()
