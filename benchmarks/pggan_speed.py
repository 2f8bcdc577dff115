"""Training speed of a PGGAN, beside pytorch_GAN_zoo's, in one run.

Both train networks of the same widths (128, 128, 128, 64 and 32 channels at 4 to 64 pixels) with
the same losses (WGAN-GP, lambda 10, drift .001, minibatch deviation), batch 16 and Adam, on random
images of 32 and of 64 pixels, at full resolution of that size, in turn, pair by pair, each time in
a process of its own; the median of the pairs' ratios is what counts. Steps are timed, so neither
side's start is in the figure. The peer's released code needs two things on current PyTorch, which
are given to it at run time: Adam's betas as floats, and `module` where nothing is wrapped.

    git clone https://github.com/facebookresearch/pytorch_GAN_zoo
    python benchmarks/pggan_speed.py pytorch_GAN_zoo [--pairs 3] [--steps 8]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganaug import LabelledImages, Registry, train

BATCH, WARM_UP, LATENT_DIM = 16, 2, 128
WIDTHS = (128, 128, 128, 64, 32)  # at 4, 8, 16, 32 and 64 pixels: the defaults of `pggan`


def random_images(side: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(
        pixels=rng.integers(0, 256, (64, 3, side, side), dtype=np.uint8),
        labels=np.zeros(64, dtype=np.int64),
        class_names=("image",),
        value_range=(0.0, 255.0),
    )


def images_a_second(step: Callable[[], object], steps: int) -> float:
    for _ in range(WARM_UP):
        step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * BATCH / (time.perf_counter() - started)


def ganaug_rate(side: int, steps: int, _: str) -> tuple[float, int]:
    """Return images a second and the number of parameters."""
    images = random_images(side)
    plugin = Registry.load().generators["pggan"]
    generator = plugin.build(plugin.config(first_side=side), images.spec)
    training = train(generator, images, total_images=10**9, random_state=0)
    return images_a_second(lambda: next(training), steps), parameters(generator)


def peer_rate(side: int, steps: int, folder: str) -> tuple[float, int]:
    """Return images a second and the number of parameters."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, folder)
    from models.progressive_gan import ProgressiveGAN

    model = patched(ProgressiveGAN)(
        dimLatentVector=LATENT_DIM,
        depthScale0=WIDTHS[0],
        miniBatchStdDev=True,
        lossMode="WGANGP",
        lambdaGP=10.0,
        epsilonD=0.001,
        baseLearningRate=1e-3,
        useGPU=False,
    )
    for width in WIDTHS[1 : side.bit_length() - 2]:
        model.addScale(width)
    model.updateAlpha(0.0)  # the newest layers alone
    assert model.getSize() == (side, side)
    pixels = np.asarray(random_images(side).pixels)[:BATCH]
    batch = torch.from_numpy(pixels).float() / 127.5 - 1
    rate = images_a_second(lambda: model.optimizeParameters(batch), steps)
    return rate, parameters(model.getOriginalG()) + parameters(model.getOriginalD())


def patched(kind: type[Any]) -> type[Any]:
    """The peer's model, made to run on current PyTorch without a GPU."""

    class Patched(kind):  # type: ignore[misc]
        def getOptimizerD(self) -> torch.optim.Optimizer:  # noqa: N802
            return self.adam(self.netD)

        def getOptimizerG(self) -> torch.optim.Optimizer:  # noqa: N802
            return self.adam(self.netG)

        def adam(self, network: torch.nn.Module) -> torch.optim.Optimizer:
            rate = self.config.learningRate
            return torch.optim.Adam(network.parameters(), betas=(0.0, 0.99), lr=rate)

        def updateAlpha(self, newAlpha: float) -> None:  # noqa: N802, N803
            for network in (self.getOriginalG(), self.getOriginalD(), self.getOriginalAvgG()):
                if hasattr(network, "setNewAlpha"):
                    network.setNewAlpha(newAlpha)

    return Patched


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def in_own_process(rate: Callable[..., tuple[float, int]], *arguments: object) -> tuple[float, int]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(rate, *arguments).result()


def compare(side: int, options: argparse.Namespace) -> None:
    print(f"\n{side} px\npair  pytorch_GAN_zoo images/s  ganaug images/s  ratio")
    ratios = []
    for pair in range(1, options.pairs + 1):
        theirs, their_parameters = in_own_process(
            peer_rate, side, options.steps, str(options.peer.resolve())
        )
        ours, our_parameters = in_own_process(ganaug_rate, side, options.steps, "")
        ratios.append(ours / theirs)
        print(f"{pair:4}  {theirs:24.1f}  {ours:15.1f}  {ours / theirs:5.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f} (wanted: at least 2)")
    # Ours has one bias a channel in the first layer, theirs one a pixel, and keeps all sides'
    # layers to and from pixels, as theirs does.
    print(f"parameters: {their_parameters:,} and {our_parameters:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", type=Path, help="a checkout of pytorch_GAN_zoo")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64], choices=[8, 16, 32, 64])
    options = parser.parse_args()
    if not (options.peer / "models" / "progressive_gan.py").is_file():
        sys.exit(
            f"{options.peer} is no checkout of pytorch_GAN_zoo: "
            "git clone https://github.com/facebookresearch/pytorch_GAN_zoo"
        )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}")
    for side in options.sides:
        compare(side, options)


if __name__ == "__main__":
    main()
