"""Fixtures that every test can use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganaug import Generator, ImageSpec, LabelledImages, Loss, Phase

_ROOT = Path(__file__).resolve().parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread for each of several processes: threads that share a core wait for each other.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt; shells that start tests in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real image sets; GANAUG_SHARED_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("GANAUG_SHARED_DATA", _ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the shared image sets; {folder} is not there")
    return folder


class TinyGAN(Generator):
    """A GAN of two small convolutional networks: enough to train in milliseconds."""

    def __init__(self, spec: ImageSpec, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.spec = spec
        self.learning_rate = learning_rate
        self.network = nn.Sequential(
            nn.Unflatten(1, (8, 1, 1)),
            nn.ConvTranspose2d(8, 8, 4),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.ConvTranspose2d(8, spec.channels, 4, 2, 1),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(spec.channels, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128, 1)
        )

    def phases(self):
        for name, module, loss in (
            ("discriminator", self.discriminator, self.discriminator_loss),
            ("generator", self.network, self.generator_loss),
        ):
            adam = torch.optim.Adam(module.parameters(), lr=self.learning_rate, betas=(0.5, 0.9))
            yield Phase(name, module, adam, loss)

    def discriminator_loss(self, batch, rng):
        fake = self.network(batch.randn(8, rng=rng)).detach()
        real_logits, fake_logits = self.discriminator(batch.images), self.discriminator(fake)
        adversarial = nn.functional.softplus(-real_logits) + nn.functional.softplus(fake_logits)
        return Loss({"adversarial": adversarial.mean()}, {"d_real": real_logits.mean()})

    def generator_loss(self, batch, rng):
        logits = self.discriminator(self.network(batch.randn(8, rng=rng)))
        return Loss({"adversarial": nn.functional.softplus(-logits).mean()})

    def sample(self, labels, *, rng):
        z = torch.randn(len(labels), 8, generator=rng)
        return self.network(z.to(labels.device))


def make_images(
    n: int = 24, *, channels: int = 1, size: int = 8, classes: int = 1, dtype: str = "uint8"
) -> LabelledImages:
    """Images of blobs whose place follows from the class; no two alike."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    top = 255 if dtype == "uint8" else 65535
    y, x = np.mgrid[:size, :size] / size
    centre = (labels + 1) / (classes + 1) + rng.normal(0, 0.03, n)
    blobs = np.exp(-8 * ((x - centre[:, None, None]) ** 2 + (y - 0.5) ** 2))
    noisy = (blobs[:, None] * rng.uniform(0.6, 1, (n, channels, 1, 1))).clip(0, 1)
    noisy = (noisy + rng.uniform(0, 0.1, noisy.shape)).clip(0, 1)
    return LabelledImages(
        pixels=(noisy * top).round().astype(dtype),
        labels=labels,
        class_names=tuple("abcdefghij"[:classes]),
        value_range=(0.0, float(top)),
    )


@pytest.fixture
def blobs() -> LabelledImages:
    return make_images()


@pytest.fixture
def tiny_gan(blobs) -> TinyGAN:
    torch.manual_seed(0)
    return TinyGAN(blobs.spec)


@pytest.fixture(scope="session")
def two_class_arrays() -> tuple[np.ndarray, np.ndarray]:
    """12 images of one class and 6 of another: uint8 (18, 1, 8, 8) and int64 (18,)."""
    images = make_images(24, classes=2)
    keep = np.concatenate([np.flatnonzero(images.labels == c)[:n] for c, n in ((0, 12), (1, 6))])
    return np.asarray(images.pixels)[keep], images.labels[keep]
