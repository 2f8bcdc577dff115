"""How long scoring takes: 2,000 against 2,000 images of 64 px, with the classifier extractor.

Real images of HAM10000, enlarged from 28 px, play every part, so that no generator is needed:
2,000 are held out, the others train the extractor, and 2,000 of those, mirrored, stand for
synthetic ones: the time is that of any images, the scores mean nothing. Scored twice as
``ganaug evaluate`` does, in a process each: first with nothing kept, then with what the first
run kept on disk, the learned extractor and the features. Then every metric by itself, on kept
features. What is not in the figures is printed apart: importing the libraries that metrics use
(a second by itself, once a process), reading and resizing the images.

    python benchmarks/evaluation_speed.py ../shared/data/ham10000_28/ham10000_28.npz [--n 2000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ganaug import Registry
from ganaug.evaluation import DEFAULT_METRICS
from ganaug.learned import learn_extractor
from ganaug.scoring import ImageRoles, score_images
from ganaug.sources import open_images

SIZE = 64
METRICS = (*DEFAULT_METRICS, "cas")
LIBRARIES = ("scipy.stats", "sklearn.linear_model")


def load_roles(data: str, n: int) -> ImageRoles:
    """Return n images of the holdout, the others as training images, and n of those mirrored."""
    images = open_images(data, Registry.load(), {})
    order = np.random.default_rng(0).permutation(len(images))
    train, holdout = images.subset(order[n:]).load(SIZE), images.subset(order[:n]).load(SIZE)
    copied = train.subset(range(n))
    mirrored = replace(copied, pixels=np.asarray(copied.pixels)[..., ::-1])
    return ImageRoles(train=train, holdout=holdout, synthetic=mirrored)


def score(roles: ImageRoles, folder: Path, metrics: tuple[str, ...], extractor: str) -> dict:
    """Learn or read the extractor and score; return the seconds of each step."""
    registry = Registry.load()
    started = time.perf_counter()
    space, _ = learn_extractor(extractor, roles.train, folder, registry)
    learned = time.perf_counter()
    score_images(metrics, roles, registry, extractor=space, rows="held-out images")
    scored = time.perf_counter()
    space.save()
    saved = time.perf_counter()
    return {
        "learning": learned - started,
        "scoring": scored - learned,
        "writing": saved - scored,
        "together": saved - started,
        "computed": space.computed,
    }


def in_own_process(data: str, n: int, folder: Path, metrics: tuple[str, ...], name: str) -> dict:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(load_and_score, data, n, folder, metrics, name).result()


def load_and_score(data: str, n: int, folder: Path, metrics: tuple[str, ...], name: str) -> dict:
    started = time.perf_counter()
    for library in LIBRARIES:
        import_module(library)
    imported = time.perf_counter()
    roles = load_roles(data, n)
    apart = {"importing": imported - started, "reading": time.perf_counter() - imported}
    return {**apart, **score(roles, folder, metrics, name)}


def print_steps(title: str, steps: dict) -> None:
    apart, within = (
        ", ".join(f"{step} {steps[step]:.2f} s" for step in some)
        for some in (("importing", "reading"), ("learning", "scoring", "writing"))
    )
    print(f"{title:7} {steps['together']:6.2f} s ({within}); apart from that {apart}; ", end="")
    print(f"features of {steps['computed']:,} images computed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="ham10000_28.npz, or other images of several classes")
    parser.add_argument("--n", type=int, default=2000, help="images of each side")
    parser.add_argument("--extractor", default="classifier")
    options = parser.parse_args()
    data, n, name = options.data, options.n, options.extractor
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {n} against {n} images")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        first = in_own_process(data, n, folder, METRICS, name)
        print_steps("first", first)
        second = in_own_process(data, n, folder, METRICS, name)
        print_steps("second", second)
        print("\nwanted: first under 60 s, second under 5 s, on two cores\n")
        print("by metric, on kept features, with floor and interval:")
        roles = load_roles(data, n)
        score(roles, folder, METRICS[:1], name)  # what is imported and read once
        for metric in METRICS:
            steps = score(roles, folder, (metric,), name)
            print(f"  {metric:17} {steps['scoring']:6.2f} s")


if __name__ == "__main__":
    main()
