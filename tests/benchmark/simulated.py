"""Grids of cells with known truth: real classifiers on drawn patients, without a network.

Images are points; those of a patient resemble each other, and arms see different views of them,
all of which are equally good by construction, as if each arm had its own way to look. Each cell
fits a ridge regression of the classes on its training part. So cells share what makes results of
cross-validation depend on each other: test images that are hard for an arm in every repeat,
training sets that overlap, and patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ganaug.benchmark.outcomes import Cell, Outcome, Predictions

RIDGE = 5.0
SHARPNESS = 4.0


@dataclass(frozen=True, kw_only=True)
class World:
    """How grids are drawn.

    patients, largest: how many, with one to how many images. prevalences: of the classes.
    dimensions: of an image. separation: of the classes. alike: share of the variance that arms see
    alike. within: share of the variance that images of a patient have in common. seeds: noise of
    the fitted weights, as of a classifier's seed. effects: what is added to the separation, by
    arm. fraction: of the training patients, that are trained on.
    """

    folds: int = 3
    repeats: int = 2
    arms: int = 4
    patients: int = 60
    largest: int = 2
    prevalences: tuple[float, ...] = (0.5, 0.3, 0.2)
    dimensions: int = 5
    separation: float = 1.5
    alike: float = 0.5
    within: float = 0.4
    seeds: float = 0.0
    effects: tuple[float, ...] = ()
    fraction: float = 1.0

    @property
    def names(self) -> list[str]:
        """Of the arms."""
        return [f"arm{number}" for number in range(self.arms)]


def simulate(world: World, rng: np.random.Generator) -> list[Outcome]:
    """Draw patients, and return the outcomes of every cell."""
    of_patient, patient, views = _patients(world, rng)
    labels = of_patient[patient]
    parts = [_part(world, of_patient, *place, rng) for place in _places(world, of_patient, rng)]
    trained = np.stack([train[patient] for _, _, train, _, _ in parts])
    probabilities = _classify(world, views, labels, trained, rng)
    outcomes = []
    for column, (repeat, fold, _, *masks) in enumerate(parts):
        rows = [np.flatnonzero(mask[patient]) for mask in masks]
        known = [_known(patient, labels, chosen) for chosen in rows]
        for number, arm in enumerate(world.names):
            validation, test = (
                Predictions(**about, probabilities=probabilities[number, column, chosen])
                for about, chosen in zip(known, rows, strict=True)
            )
            outcomes.append(
                Outcome(
                    cell=Cell(arm=arm, fraction=world.fraction, repeat=repeat, fold=fold),
                    class_names=tuple("abcdefgh"[: len(world.prevalences)]),
                    train=validation,  # only its labels are looked at
                    validation=validation,
                    test=test,
                )
            )
    return outcomes


def _patients(world, rng):
    """Draw the class of each patient, the patient of each image, and what arms see of images."""
    of_patient = rng.choice(len(world.prevalences), size=world.patients, p=world.prevalences)
    sizes = rng.integers(1, world.largest + 1, size=world.patients)
    patient = np.repeat(np.arange(world.patients), sizes)

    def noise(arms):
        of_groups = rng.normal(size=(arms, world.patients, world.dimensions))[:, patient]
        own = rng.normal(size=(arms, len(patient), world.dimensions))
        return np.sqrt(world.within) * of_groups + np.sqrt(1 - world.within) * own

    centres = np.eye(len(world.prevalences), world.dimensions)[of_patient[patient]]
    separation = world.separation + np.array(world.effects or (0.0,) * world.arms)
    views = np.sqrt(world.alike) * noise(1) + np.sqrt(1 - world.alike) * noise(world.arms)
    views += separation[:, None, None] * centres
    return of_patient, patient, np.concatenate([views, np.ones((*views.shape[:2], 1))], axis=2)


def _places(world, of_patient, rng):
    """Yield repeat, fold and the fold of each patient: grouped, stratified, repeated."""
    for repeat in range(world.repeats):
        order = rng.permutation(world.patients)
        order = order[np.argsort(of_patient[order], kind="stable")]
        folds = np.empty(world.patients, dtype=int)
        folds[order] = np.arange(world.patients) % world.folds
        for fold in range(world.folds):
            yield repeat, fold, folds


def _part(world, of_patient, repeat, fold, folds, rng):
    """Return the patients to train, validate and test on, of a cell."""
    rest = rng.permutation(np.flatnonzero(folds != fold))
    rest = rest[np.argsort(of_patient[rest], kind="stable")]
    validated = np.zeros(world.patients, dtype=bool)
    validated[rest[::5]] = True
    trained = (folds != fold) & ~validated & (rng.random(world.patients) < world.fraction)
    return repeat, fold, trained, validated, folds == fold


def _classify(world, views, labels, trained, rng):
    """Return probabilities (arms, cells, N, classes) of classifiers trained on some rows a cell."""
    n, width = views.shape[1:]
    classes = len(world.prevalences)
    squares = (views[..., None] * views[..., None, :]).reshape(-1, n, width * width)
    products = (views[..., None] * np.eye(classes)[labels][:, None]).reshape(-1, n, width * classes)
    shape = (world.arms, len(trained), width)
    left = (trained.astype(float) @ squares).reshape(*shape, width) + RIDGE * np.eye(width)
    weights = np.linalg.solve(left, (trained @ products).reshape(*shape, classes))
    weights += world.seeds * rng.normal(size=weights.shape)
    scores = (views[:, None] @ weights) / np.sqrt(world.prevalences)  # finds rare ones, too
    powers = np.exp(SHARPNESS * scores)
    return powers / powers.sum(axis=-1, keepdims=True)


def _known(patient, labels, rows):
    """Return what predictions say of images beside the probabilities."""
    return {
        "ids": tuple(map(str, rows)),
        "groups": tuple(map(str, patient[rows])),
        "labels": labels[rows],
    }
