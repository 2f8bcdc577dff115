"""Classifier two-sample test: whether a classifier can tell synthetic images from real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ganaug import Config, FeatureEvaluator, FeatureExtractor
from ganaug.builtin.metrics.linear import linear_classifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """

    higher_is_better = None  # an accuracy is better low, its p-value high
    minimum_images = 10

    def __init__(self, config: C2STConfig, extractor: FeatureExtractor | None) -> None:
        super().__init__(extractor)
        self._config = config

    def compute(self) -> Mapping[str, float]:
        """Return `c2st`, the balanced accuracy, best near .5, and `c2st_p`.

        The p-value is of one law for both roles, against an accuracy above .5.
        Raises TooFewImagesError below `minimum_images`.
        """
        from scipy.stats import norm

        real, synthetic = self._correct()
        accuracy = (real.mean() + synthetic.mean()) / 2
        # 1 / (4 n) when the roles have n / 2 each; the worst case for any other sizes.
        deviation = ((1 / len(real) + 1 / len(synthetic)) / 16) ** 0.5
        return {
            "c2st": float(accuracy),
            "c2st_p": float(norm.sf(accuracy, loc=0.5, scale=deviation)),
        }

    def intervals(self) -> Mapping[str, tuple[float, float] | None]:
        """Return the interval of `c2st`: Newcombe's (1998, method 10) of two Wilson intervals."""
        from scipy.stats import binomtest

        low = high = mean = 0.0
        for correct in self._correct():
            test = binomtest(int(correct.sum()), len(correct))
            bounds = test.proportion_ci(0.95, method="wilson")
            low += (test.statistic - bounds.low) ** 2
            high += (bounds.high - test.statistic) ** 2
            mean += test.statistic / 2
        return {"c2st": (mean - low**0.5 / 2, mean + high**0.5 / 2), "c2st_p": None}

    def _correct(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return whether each test image is told right: of holdout, and of synthetic ones."""
        import numpy as np
        from sklearn.model_selection import train_test_split

        roles = [self.features(role).flatten(1).numpy() for role in self.roles]
        features = np.concatenate(roles)
        is_synthetic = np.repeat([False, True], [len(each) for each in roles])
        learn, test, learn_is, test_is = train_test_split(
            features,
            is_synthetic,
            test_size=0.5,
            stratify=is_synthetic,
            random_state=self._config.random_state,
        )
        classifier = linear_classifier(strength=self._config.strength, spread=True)
        correct = classifier.fit(learn, learn_is).predict(test) == test_is
        return correct[~test_is], correct[test_is]
