"""What synthetic images cost a training loop, beside the same loop without them.

A loader over ``extend(...)`` against a plain loader over as many real images; and batch mode
against a ResNet-18 training step at 28 px. Both in pairs, in one run.

    python benchmarks/loader_overhead.py [--pairs 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

from ganaug import SyntheticAugmenter

SIZE, BATCH = 28, 128


def fitted(pixels: np.ndarray, labels: np.ndarray) -> SyntheticAugmenter:
    augmenter = SyntheticAugmenter(
        "dcgan", config={"width": 4}, total_images=64, filter=None, random_state=0
    )
    return augmenter.fit(TensorDataset(torch.from_numpy(pixels), torch.from_numpy(labels)))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def read_all(dataset: object) -> None:
    for _ in DataLoader(dataset, batch_size=BATCH, shuffle=True):
        pass


def training_step() -> Callable[[torch.Tensor, torch.Tensor], None]:
    network = resnet18(num_classes=2)
    optimizer = torch.optim.Adam(network.parameters())

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6000, 3, SIZE, SIZE), dtype=np.uint8)
    labels = (np.arange(6000) >= 5000).astype(np.int64)
    augmenter = fitted(pixels, labels)
    real = TensorDataset(torch.from_numpy(pixels), torch.from_numpy(labels))
    extended = augmenter.extend(real)
    as_many = rng.integers(0, 256, (len(extended), 3, SIZE, SIZE), dtype=np.uint8)
    plain = TensorDataset(torch.from_numpy(as_many), torch.zeros(len(as_many), dtype=torch.long))
    for dataset in (plain, extended):
        read_all(dataset)
    ratios = [
        seconds(lambda: read_all(extended)) / seconds(lambda: read_all(plain)) for _ in range(pairs)
    ]
    print(f"loader over extend(), {len(extended):,} images, {len(extended) - 6000:,} synthetic:")
    print(f"  {statistics.median(ratios):.2f} of a plain loader (wanted: at most 1.10)")

    step = training_step()
    images = torch.from_numpy(pixels[-BATCH:]).float() / 255
    rare = torch.ones(BATCH, dtype=torch.long)  # the worst case: every image's class is grown
    step(images, rare)
    steps, calls = [], []
    for _ in range(pairs):
        steps.append(seconds(lambda: step(images, rare)))
        calls.append(seconds(lambda: augmenter(images, rare)))
    share = statistics.median(c / s for c, s in zip(calls, steps, strict=True))
    print(f"batch mode, batch {BATCH}, every image of a grown class:")
    print(
        f"  {statistics.median(calls) * 1e3:.1f} ms, {share:.1%} of a ResNet-18 step "
        f"({statistics.median(steps) * 1e3:.0f} ms; wanted: at most 5 %)"
    )


if __name__ == "__main__":
    main()
