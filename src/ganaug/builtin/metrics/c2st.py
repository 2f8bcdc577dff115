"""Classifier two-sample test: whether a classifier can tell synthetic images from real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.linear import tell_apart
from ganaug.builtin.metrics.units import units
from ganaug.errors import TooFewImagesError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganaug.evaluator import Role

__all__ = ["C2ST", "C2STConfig"]


class C2STConfig(Config):
    """How images are halved, and what the classifier pays for large weights.

    strength: inverse of the L2 penalty, scikit-learn's C. 0.01 was about the best of 0.001 to 1
        at telling 100 or 500 normal samples of 256 dimensions from shifted or narrower ones.
    random_state: the seed that images are halved with.
    """

    strength: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    random_state: int = Field(default=0, ge=0)


class C2ST(FeatureEvaluator):
    """Classifier two-sample test (Lopez-Paz and Oquab 2017, section 3) on features.

    A logistic regression learns on one half of the images of each role and is tested on the
    other. It sees features and their distance from the mean, standardised, where the
    paper has a small network or k-NN: it has one solution, found in seconds. The test half is
    independent of the classifier, so that accuracy is N(.5, 1 / (4 n)) for n test images when
    both roles have one law. Predicting every row once by cross-validation would not keep that:
    folds share training rows, and the standard deviation came out 1.2 to 1.3 times as large.

    Groups, such as the images of one patient, are halved whole: a classifier that knows a patient
    would tell his other images from synthetic ones, however good these are.
    """

    higher_is_better = None  # an accuracy is better low, its p-value high
    minimum_images = 10

    def __init__(self, config: C2STConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._config = config

    def compute(self) -> Mapping[str, float]:
        """Return `c2st`, the balanced accuracy, best near .5, and `c2st_p`.

        The p-value is of one law for both roles, against an accuracy above .5. There is none where
        images have groups: those of one are right or wrong together, and no law of that is known.
        Raises TooFewImagesError below `minimum_images`, and for images of a role that are all of
        one group.
        """
        from scipy.stats import norm

        real, synthetic = self.once(self._correct)
        accuracy = float(real.mean() + synthetic.mean()) / 2
        if self._has_groups():
            return {"c2st": accuracy}
        # 1 / (4 n) when the roles have n / 2 each; the worst case for any other sizes.
        deviation = ((1 / len(real) + 1 / len(synthetic)) / 16) ** 0.5
        return {"c2st": accuracy, "c2st_p": float(norm.sf(accuracy, loc=0.5, scale=deviation))}

    def intervals(self) -> Mapping[str, tuple[float, float] | None]:
        """Return the interval of `c2st`: Newcombe's (1998, method 10) of two Wilson intervals.

        These are of independent images. Where images have groups, nothing is returned, and `c2st`
        gets an interval by half samples of whole groups.
        """
        from scipy.stats import binomtest

        if self._has_groups():
            return {}
        low = high = mean = 0.0
        for correct in self.once(self._correct):
            test = binomtest(int(correct.sum()), len(correct))
            bounds = test.proportion_ci(0.95, method="wilson")
            low += float(test.statistic - bounds.low) ** 2
            high += float(bounds.high - test.statistic) ** 2
            mean += float(test.statistic) / 2
        return {"c2st": (mean - low**0.5 / 2, mean + high**0.5 / 2), "c2st_p": None}

    def _has_groups(self) -> bool:
        return any(name for role in self.roles for name in self.groups(role))

    def _correct(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return whether each test image is told right: of holdout, and of synthetic ones."""
        import numpy as np

        rng = np.random.default_rng(self._config.random_state)
        features = [self.features(role).flatten(1).numpy() for role in self.roles]
        tested = np.concatenate([self._tested(role, rng) for role in self.roles])
        is_synthetic = np.repeat([False, True], [len(each) for each in features])
        rows = np.concatenate(features)
        told = tell_apart(
            rows[~tested],
            is_synthetic[~tested],
            rows[tested],
            strength=self._config.strength,
            spread=True,
        )
        correct = told == is_synthetic[tested]
        return correct[~is_synthetic[tested]], correct[is_synthetic[tested]]

    def _tested(self, role: Role, rng: np.random.Generator) -> NDArray[Any]:
        """Choose about half of a role's images to test on, in whole groups: bool (N,)."""
        import numpy as np

        n = len(self.features(role))
        unit = units(self.groups(role), n)
        sizes = np.bincount(unit)
        if len(sizes) < 2:
            raise TooFewImagesError(
                f"C2ST learns on some groups and is tested on others, and so needs {role} images "
                f"of at least 2; got {n} images of 1."
            )
        order = rng.permutation(len(sizes))
        middle = np.cumsum(sizes[order]) - sizes[order] / 2
        return np.isin(unit, order[middle <= n / 2])
