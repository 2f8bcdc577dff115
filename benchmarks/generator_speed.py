"""How many training images a second each generator sees, and how many images it draws.

Every generator that is installed trains with its defaults on random RGB images of two classes, for
--seconds at each size, on one thread:

aegan: its autoencoder first, then the GAN on its codes, as two rows.
pggan: at full resolution (first_side), which is where a training ends and spends most of its time.

Time is this process's own CPU time, so that other work on the machine does not count. Images are
drawn 16 at a time, as the generator is after those steps; how good they are is not looked at.

    python benchmarks/generator_speed.py [--seconds 20] [--size 32]... [--generator dcgan]...
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ganaug import LabelledImages, Registry, Training, train
from ganaug.errors import ShapeError

SIZES = (32, 64, 128, 256)
WARM_UP, DRAWN = 2, 16  # steps; images
Rates = tuple[float, float]


def random_images(size: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(
        pixels=rng.integers(0, 256, (128, 3, size, size), dtype=np.uint8),
        labels=np.arange(128) % 2,
        class_names=("one", "two"),
        value_range=(0.0, 255.0),
    )


def cases(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a generator is measured at: a row's name, and settings; SIZE is the size."""
    if name == "aegan":
        yield "aegan, autoencoder", {}
        yield "aegan, GAN on codes", {"autoencoder_images": 1}
    elif name == "pggan":
        yield "pggan, at full size", {"first_side": "SIZE"}
    else:
        yield name, {}


def begin(name: str, settings: dict[str, Any], size: int) -> Training:
    plugin = Registry.load().generators[name]
    fields = {key: size if value == "SIZE" else value for key, value in settings.items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = random_images(size)
        generator = plugin.build(plugin.config.from_fields(fields), images.spec)
    return train(generator, images, total_images=10**9, device="cpu", random_state=0)


def rates(training: Training, seconds: float) -> Rates:
    """Return images trained on, and images drawn, a second."""
    for _ in range(WARM_UP):
        next(training)
    seen, started = training.images_seen, time.process_time()
    while time.process_time() < started + seconds:
        next(training)
    trained = (training.images_seen - seen) / (time.process_time() - started)
    labels, rng = torch.arange(DRAWN) % 2, torch.Generator().manual_seed(0)
    started, times = time.process_time(), 0
    with torch.no_grad():
        while not times or time.process_time() < started + seconds / 10:
            training.ema.sample(labels, rng=rng)
            times += 1
    return trained, times * DRAWN / (time.process_time() - started)


def measure(name: str, settings: dict[str, Any], size: int, seconds: float) -> Rates | None:
    try:
        return rates(begin(name, settings, size), seconds)
    except ShapeError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--generator", action="append")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    sizes = parsed.size or SIZES
    print("images a second, trained on / drawn", *(f"{size:>15} px" for size in sizes))
    for name in parsed.generator or sorted(Registry.load().generators):
        for row, settings in cases(name):
            print(f"{row:<35}", end="", flush=True)
            for size in sizes:
                found = measure(name, settings, size, parsed.seconds)
                text = "-" if found is None else "{:.3g} / {:.3g}".format(*found)
                print(f"{text:>19}", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
