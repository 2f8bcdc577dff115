"""Which DCGAN recipe gives the best samples at equal time: a table and a picture.

Trains each recipe for the same time on the same images, then compares as many samples of the
averaged generator, class by class as in the real set, with the real images.

KID: squared maximum mean discrepancy with the cubic kernel, unbiased (Binkowski et al. 2018),
    times 1000, on features of fixed random convolutions and principal components of the pixels;
    mean and standard deviation over random subsets. Lower is better.
floor: the same between two halves of the real images; what is below it cannot be told apart.
diversity: mean distance between samples of a class over that between real images of the class;
    near 0 is a collapse, 1 is as different as the real ones.

    python benchmarks/dcgan_recipes.py [DATA] [--size 32] [--class NAME]... [--minutes 2]

DATA is what `ganaug fit` takes; scikit-learn's digits unless told. Time is this process's own
CPU time (all threads) over the number of threads, so that other work on the machine does not
count; --clock wall counts what the clock on the wall does.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor, nn

from ganaug import LabelledImages, Registry, Training, train
from ganaug.grids import draw_grid
from ganaug.pixels import to_signed
from ganaug.sources import open_images

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "light R1": {"r1_gamma": 0.05},
    "relativistic": {"loss": "relativistic"},
    "hinge, cutout": {"loss": "hinge", "diffaugment": ["translation", "cutout"]},
    "default, flips": {"diffaugment": ["translation", "flip", "vflip"]},
    "radford": {"preset": "radford"},
    "radford, batch 16": {"preset": "radford", "batch_size": 16},
}
PER_CLASS = 12  # images of a class on the picture


def cpu_seconds() -> float:
    return time.process_time() / torch.get_num_threads()


def trained(
    images: LabelledImages, fields: dict[str, Any], seconds: float, clock: Callable[[], float]
) -> Training:
    """Train one recipe until the clock has moved on by so many seconds."""
    plugin = Registry.load().generators["dcgan"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = plugin.build(plugin.config.from_fields(fields), images.spec)
    training = train(generator, images, total_images=10**9, random_state=0)
    started = clock()
    for _ in training:
        if clock() - started >= seconds:
            break
    return training


def samples(training: Training, labels: NDArray[np.int64], seed: int = 0) -> Tensor:
    """Draw an image a label from the averaged generator: float32 (N, C, H, W) in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    device = training.device
    with torch.no_grad():
        parts = [
            training.ema.sample(part.to(device), rng=rng).cpu()
            for part in torch.from_numpy(labels).split(100)
        ]
    return torch.cat(parts)


class Features:
    """Means and deviations of fixed random convolutions, and principal components of pixels.

    Both are scaled by the real images' own spread. `__call__` maps (N, C, H, W) to (N, F).
    """

    def __init__(self, real: Tensor) -> None:
        rng = torch.Generator().manual_seed(0)
        widths = (real.shape[1], 64, 128, 256)
        self.weights = [
            torch.randn(wide, narrow, 3, 3, generator=rng) * (2 / (9 * narrow)) ** 0.5
            for narrow, wide in pairwise(widths)
        ]
        self.pca = PCA(min(64, len(real) - 1), random_state=0).fit(real.flatten(1).numpy())
        raw = self._raw(real)
        self.mean, self.scale = raw.mean(axis=0), raw.std(axis=0) + 1e-6

    def __call__(self, images: Tensor) -> NDArray[np.float64]:
        """Return features of order one; clipped, or one outlier would decide a cubic kernel."""
        return np.clip((self._raw(images) - self.mean) / self.scale, -5.0, 5.0)

    def _raw(self, images: Tensor) -> NDArray[np.float64]:
        components = self.pca.transform(images.flatten(1).numpy())[:, :32]
        batches = [self._convolved(batch) for batch in images.split(100)]
        return np.hstack([components, torch.cat(batches).numpy()]).astype(np.float64)

    def _convolved(self, x: Tensor) -> Tensor:
        found = []
        for weight in self.weights:
            x = nn.functional.relu(nn.functional.conv2d(x, weight, padding=1))
            found += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
            x = nn.functional.avg_pool2d(x, 2)
        return torch.cat(found, dim=1)


def mmd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the unbiased squared maximum mean discrepancy of two samples (Gretton et al. 2012)."""

    def off_diagonal(x: NDArray[np.float64]) -> float:
        kernel = polynomial_kernel(x, degree=3)
        return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))

    return off_diagonal(a) + off_diagonal(b) - 2 * float(polynomial_kernel(a, b, degree=3).mean())


def subsets(n: int, size: int, repeats: int = 50) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    for _ in range(repeats):
        yield rng.permutation(n)[:size]


def kid(real: NDArray[np.float64], fake: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and deviation, times 1000, over subsets of the size that `floor` compares."""
    size = len(real) // 2
    values = [mmd(real[rows[:size]], fake[rows[-size:]]) for rows in subsets(len(real), len(real))]
    return 1000 * float(np.mean(values)), 1000 * float(np.std(values))


def floor(real: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and deviation, times 1000, between random halves of the real images."""
    return kid(real, real)


def diversity(real: Tensor, fake: Tensor, labels: NDArray[np.int64]) -> float:
    """Mean distance within a class, of samples over real images; the mean over classes."""
    ratios = []
    for value in np.unique(labels):
        rows = torch.from_numpy(np.flatnonzero(labels == value)[:200])
        if len(rows) > 1:
            spread = [torch.pdist(each[rows].flatten(1)).mean() for each in (fake, real)]
            ratios.append(float(spread[0] / spread[1]))
    return float(np.mean(ratios))


def picture(images: LabelledImages, shown: dict[str, Tensor], path: Path) -> None:
    """Write a sheet with a row a class for the real images and for each recipe."""
    rows = []
    for title, pixels in shown.items():
        for index, name in enumerate(images.class_names):
            chosen = np.flatnonzero(images.labels == index)[:PER_CLASS]
            rows.append((f"{title}: {name}", pixels[torch.from_numpy(chosen)].numpy()))
    draw_grid(rows, (-1.0, 1.0)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default="digits:digits")
    parser.add_argument("--size", type=int, default=32, help="side in pixels")
    parser.add_argument("--class", dest="classes", action="append", help="only these classes")
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="only these recipes")
    parser.add_argument("--minutes", type=float, default=2.0, help="training time of a recipe")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("dcgan_recipes.png"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    images = open_images(options.data, Registry.load())
    if options.classes:
        images = images.only([images.class_names.index(name) for name in options.classes])
    images = images.load(options.size)
    clock = cpu_seconds if options.clock == "cpu" else time.perf_counter
    real = to_signed(np.asarray(images.pixels), images.value_range).contiguous()
    features = Features(real)
    known = features(real)
    print(
        f"{len(images)} images {images.spec.shape}, {options.minutes:g} minutes of {options.clock}"
    )
    print("recipe              images seen           KID x 1000   diversity")
    print(
        f"{'floor: real':18}  {'':11}  {floor(known)[0]:9.1f} +-{floor(known)[1]:6.1f}        1.00"
    )
    shown = {"real": real}
    for name in options.recipe or RECIPES:
        training = trained(images, RECIPES[name], 60 * options.minutes, clock)
        fake = samples(training, images.labels)
        mean, spread = kid(known, features(fake))
        print(
            f"{name:18}  {training.images_seen:11,}  {mean:9.1f} +-{spread:6.1f}  "
            f"{diversity(real, fake, images.labels):10.2f}",
            flush=True,
        )
        shown[name] = fake
        picture(images, shown, options.out)
    print(f"The picture is {options.out}.")


if __name__ == "__main__":
    main()
