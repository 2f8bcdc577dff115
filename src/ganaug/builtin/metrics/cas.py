"""Classification accuracy score: train on synthetic images, test on real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.linear import tell_apart
from ganaug.builtin.metrics.units import units
from ganaug.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganaug.evaluator import Role

__all__ = ["CAS", "CASConfig"]

#: Bootstrap samples of the holdout.
_RESAMPLES = 1000


class CASConfig(Config):
    """What the classifiers pay for large weights, and the seed.

    strength: inverse of the L2 penalty, scikit-learn's C. 0.01 was about the best of 0.001 to 1
        on two thousand skin lesions, in features of random convolutions and of PCA.
    random_state: the seed that images are drawn with where a role has more than it needs, and
        that the bootstrap draws with.
    """

    strength: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    random_state: int = Field(default=0, ge=0)


class CAS(FeatureEvaluator):
    """Classification accuracy score (Ravuri and Vinyals 2019, section 3), by a linear probe.

    One classifier learns from synthetic images, one from as many training images of each class,
    and both are tested on the holdout. The paper trains a ResNet-50 on pixels for each; here a
    logistic regression on features stands in, which takes seconds. It can only see what the
    extractor sees: a low score of both says that the extractor, rather than the generator, does
    not know the classes.
    """

    higher_is_better = True
    roles = ("train", "holdout", "synthetic")
    needs_labels = True

    def __init__(self, config: CASConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._config = config

    def compute(self) -> Mapping[str, float]:
        """Return balanced accuracies on the holdout, chance being 1 / classes.

        `cas` has learnt from synthetic images, `cas_real` from training images, and `cas_gap`
        is the first less the second: 0 or more when synthetic images teach as much.
        Raises TooFewImagesError for a single image of a role, and DataError for a single class
        or a class that a role lacks.
        """
        labels, told = self.once(self._told)
        classes = set(labels.tolist())
        return _scores(
            *(
                sum(float(each[labels == one].mean()) for one in classes) / len(classes)
                for each in told.values()
            )
        )

    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Return percentile intervals over 1,000 bootstrap samples of the holdout.

        As many images of each class, or whole groups (of the class of their first image), since
        those of one are right or wrong together. They say how sure the holdout makes the scores;
        the classifiers stay as they are.
        """
        import numpy as np

        labels, told = self.once(self._told)
        unit = units(self.groups("holdout"), len(labels))
        rng = np.random.default_rng(self._config.random_state)
        # Both classifiers are judged on the same draw, for the gap.
        times = _draws(labels[np.unique(unit, return_index=True)[1]], rng)
        recalls = [_recalls(right, labels, unit, times) for right in told.values()]
        bounds = {
            name: np.nanquantile(values, [0.025, 0.975])
            for name, values in _scores(*recalls).items()
        }
        return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}

    def _told(self) -> tuple[NDArray[Any], dict[Role, NDArray[Any]]]:
        """Return the labels of holdout images, and whether they are told right, bool (N,).

        The latter by what a classifier learnt from.
        """
        import numpy as np

        features = {role: self.features(role).flatten(1).numpy() for role in self.roles}
        labels = {role: self.labels(role).numpy() for role in self.roles}
        classes = _classes(labels)
        rng = np.random.default_rng(self._config.random_state)
        rows: dict[Role, list[NDArray[Any]]] = {"synthetic": [], "train": []}
        for each in classes:
            members = {role: np.flatnonzero(labels[role] == each) for role in rows}
            n = min(map(len, members.values()))
            for role, own in members.items():
                rows[role].append(rng.permutation(own)[:n])
        right: dict[Role, NDArray[Any]] = {}
        for role, kept in rows.items():
            chosen = np.concatenate(kept)
            told = tell_apart(
                features[role][chosen],
                labels[role][chosen],
                features["holdout"],
                strength=self._config.strength,
            )
            right[role] = told == labels["holdout"]
        return labels["holdout"], right


def _draws(classes: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Draw as many units of each class as there are, with replacement; classes: of each unit.

    Returns how often each is drawn, float64 (`_RESAMPLES`, units).
    """
    import numpy as np

    times = np.zeros((_RESAMPLES, len(classes)))
    for one in np.unique(classes):
        members = np.flatnonzero(classes == one)
        chances = np.full(len(members), 1 / len(members))
        times[:, members] = rng.multinomial(len(members), chances, size=_RESAMPLES)
    return times


def _recalls(
    right: NDArray[Any], labels: NDArray[Any], unit: NDArray[Any], times: NDArray[Any]
) -> NDArray[Any]:
    """Return the mean recall of classes in each draw of units; NaN where a class was not drawn."""
    import numpy as np

    of_classes = []
    for one in np.unique(labels):
        drawn = times @ np.bincount(unit, weights=labels == one)
        hits = times @ np.bincount(unit, weights=right & (labels == one))
        with np.errstate(invalid="ignore"):
            of_classes.append(hits / drawn)
    return np.mean(of_classes, axis=0)


def _scores(synthetic: Any, real: Any) -> dict[str, Any]:
    return {"cas": synthetic, "cas_real": real, "cas_gap": synthetic - real}


def _classes(labels: Mapping[Role, NDArray[Any]]) -> list[int]:
    """Return the labels there are; raise DataError for one alone, or one that a role lacks."""
    found = {role: {int(label) for label in each} for role, each in labels.items()}
    classes = sorted(set().union(*found.values()))
    if len(classes) < 2:
        raise DataError(
            "CAS trains a classifier, which needs images of at least two classes; got one. "
            "Leave this metric out."
        )
    missing = [
        f"no {role} images of class {label}"
        for label in classes
        for role, each in found.items()
        if label not in each
    ]
    if missing:
        raise DataError(
            f"CAS needs every class in each role; there are {', '.join(missing)} (classes by "
            "index). Add them, or leave those classes out."
        )
    return classes
