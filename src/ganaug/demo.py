"""The demonstration's data and its comparison: scikit-learn's digits, two of them made rare."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganaug.files import write_bytes
from ganaug.spec import LabelledImages

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["RARE", "WAYS", "Scores", "compare", "imbalanced_digits", "verdict", "write_archive"]

#: The digits that are made rare: the two that others are taken for most often.
RARE = ("8", "9")

#: What the rare classes' images are for a classifier: too few, repeated, or with new ones.
WAYS = ("untreated", "oversampled", "synthetic")

_SIDE = 16
_IMAGES_A_DIGIT, _IMAGES_A_RARE_DIGIT = 100, 20
# Training rows are taken from the first ones; the rows from here on are held out.
_FIRST_HELD_OUT = 1_100

# Student's t at 5 %, two-sided, for three seeds; more seeds would need less.
_CRITICAL_T = 4.303

_BATCH = 64
_LEARNING_RATE = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Held-out scores of one way of training a classifier, one a seed.

    recall: the mean of the rare classes' recalls. balanced_accuracy: of all classes' recalls.
    """

    name: str
    recall: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]


def imbalanced_digits(digits: LabelledImages) -> LabelledImages:
    """Return digits with 100 training images each, and 20 of those in `RARE`.

    digits: scikit-learn's 1,797 of 8x8 pixels; they come back enlarged to 16x16, so that they
    can be looked at. Training images come from the first 1,100 rows, the others are held out,
    all of them: scikit-learn's examples split them by order too.
    """
    wanted = [
        _IMAGES_A_RARE_DIGIT if name in RARE else _IMAGES_A_DIGIT for name in digits.class_names
    ]
    first = digits.labels[:_FIRST_HELD_OUT]
    training = np.sort(
        np.concatenate([np.flatnonzero(first == label)[:n] for label, n in enumerate(wanted)])
    )
    holdout = np.arange(_FIRST_HELD_OUT, len(digits))
    splits = ("training",) * len(training) + ("holdout",) * len(holdout)
    chosen = digits.subset(np.concatenate([training, holdout])).load(_SIDE)
    return replace(chosen, splits=splits)


def write_archive(path: Path, images: LabelledImages) -> None:
    """Write images of one channel as MedMNIST does, an .npz with a set of arrays a split.

    Raises RunError when it cannot be written.
    """
    pixels, splits = np.asarray(images.pixels)[:, 0], np.array(images.splits)
    arrays = {}
    for split, name in (("training", "train"), ("holdout", "test")):
        arrays[f"{name}_images"] = pixels[splits == split]
        arrays[f"{name}_labels"] = images.labels[splits == split]
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    write_bytes(path, stream.getvalue())


def compare(
    training: LabelledImages,
    balanced: LabelledImages,
    holdout: LabelledImages,
    *,
    steps: int = 500,
    seeds: Sequence[int] = (0, 1, 2),
    on_classifier: Callable[[], None] = lambda: None,
) -> list[Scores]:
    """Train a small classifier in three ways, as often as there are seeds; score each.

    training: the rare set as it is. balanced: the same with synthetic images. All three of one
    spec, in memory, with `RARE` among the classes. steps: of the optimizer, the same for every
    way; a seed draws the same first weights for each of them. on_classifier: called after each.
    """
    rare = [holdout.class_names.index(name) for name in RARE]
    scores = []
    for name in WAYS:
        recalls = []
        for seed in seeds:
            images = balanced if name == "synthetic" else training
            if name == "oversampled":
                images = _oversampled(training, seed)
            recalls.append(_recalls(_train(images, steps, seed), holdout))
            on_classifier()
        scores.append(
            Scores(
                name=name,
                recall=tuple(float(each[rare].mean()) for each in recalls),
                balanced_accuracy=tuple(float(each.mean()) for each in recalls),
            )
        )
    return scores


def verdict(scores: Sequence[Scores]) -> str:
    """Return one sentence on the synthetic images against the better of the other two.

    They helped, or harmed, only if a paired t-test over three seeds says so at 5 %.
    """
    synthetic = next(each for each in scores if each.name == "synthetic")
    rivals = [each for each in scores if each is not synthetic]
    rival = max(rivals, key=lambda each: sum(each.recall))
    gains = np.subtract(synthetic.recall, rival.recall)
    gain = float(gains.mean())
    error = float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else float("inf")
    facts = (
        f"{gain:+.3f} in recall of the rare digits against {rival.name} "
        f"(standard error {error:.3f})"
    )
    if abs(gain) <= _CRITICAL_T * error:
        return f"No difference shown: {facts}."
    return f"Synthetic images {'helped' if gain > 0 else 'harmed'} here: {facts}."


def _oversampled(images: LabelledImages, seed: int) -> LabelledImages:
    """Repeat images of the rare classes until every class has as many as the largest."""
    from imblearn.over_sampling import RandomOverSampler

    rows = np.arange(len(images))[:, None]
    repeated, _ = RandomOverSampler(random_state=seed).fit_resample(rows, images.labels)
    return images.subset(repeated[:, 0])


def _train(images: LabelledImages, steps: int, seed: int) -> nn.Module:
    """Train a convolutional network of two layers with Adam; rows are drawn evenly."""
    import torch

    from ganaug.randomness import seeded

    rng = torch.Generator().manual_seed(seed)
    with seeded(seed):
        network = _network(images)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    pixels, labels = _tensor(images), torch.from_numpy(images.labels)
    for _ in range(steps):
        rows = torch.randint(len(labels), (_BATCH,), generator=rng)
        loss = torch.nn.functional.cross_entropy(network(pixels[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def _network(images: LabelledImages) -> nn.Module:
    from torch import nn

    channels, height, width = images.spec.shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), len(images.class_names)),
    )


def _tensor(images: LabelledImages) -> Tensor:
    from ganaug.pixels import to_signed

    return to_signed(np.asarray(images.pixels), images.value_range)


def _recalls(network: nn.Module, holdout: LabelledImages) -> NDArray[np.float64]:
    """Return the share of each class's images that the network finds."""
    import torch

    with torch.no_grad():
        found = network(_tensor(holdout)).argmax(dim=1).numpy() == holdout.labels
    return np.array([found[holdout.labels == c].mean() for c in range(len(holdout.class_names))])
