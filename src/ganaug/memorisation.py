"""The audit: whether a generator gives out near copies of its training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganaug.config import Config
from ganaug.copies import Rate
from ganaug.randomness import class_seed

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.spec import LabelledImages

__all__ = ["Memorisation", "audit", "p_value"]

#: The level of the tests, all of them together.
LEVEL = 0.01

#: What real images are taken to be flagged at, where there are none to count.
_NOMINAL = 0.01
_DRAWS_A_CLASS = 256
_ALL = "all classes"


class Memorisation(Config):
    """How often raw draws of a generator are near copies, and real images it was not trained on.

    drawn: by class, before any is dropped. holdout: held-out images. crossfit: training images,
    each as if it had not been one; see `ganaug.copies`. thresholds: of the gate, by space.
    p_values: of one-sided tests that draws are flagged no more often than real images, of all
    classes together and of each; Fisher's exact test against holdout and crossfit together, or a
    binomial test against 1 % where both are empty. level: of all tests together (Bonferroni).
    """

    drawn: dict[str, Rate]
    holdout: Rate
    crossfit: Rate
    thresholds: dict[str, float]
    p_values: dict[str, float]
    level: float = LEVEL

    @property
    def real(self) -> Rate:
        """Real images that the generator has not seen, or that were judged as if it had not."""
        return self.holdout + self.crossfit

    @property
    def all_drawn(self) -> Rate:
        """The draws of all classes."""
        return sum(self.drawn.values(), Rate())

    @property
    def significant(self) -> tuple[str, ...]:
        """The classes whose draws are flagged more often than real images are."""
        limit = self.level / len(self.p_values)
        return tuple(name for name, p in self.p_values.items() if p < limit)

    @property
    def flagged(self) -> bool:
        """Whether the generator has memorised training images, by these tests."""
        return bool(self.significant)

    def __str__(self) -> str:
        """Say in a clause what was found: the rates of the draws, and of real images."""
        real, which = self.crossfit, "training images that were judged as if they were new"
        if self.holdout.images:
            real, which = self.holdout, "the held-out real images"
        classes = ", ".join(name for name in self.significant if name != _ALL)
        where = f", most in {classes}" if classes and len(self.drawn) > 1 else ""
        return (
            f"{self.all_drawn} of the generator's raw draws are near copies of training images"
            f"{where}; of {which}, {real}"
        )


def audit(model: ImageModel, holdout: LabelledImages | None) -> Memorisation | None:
    """Draw 256 images of each class, drop none, and compare the rate of near copies.

    holdout: held-out real images in memory, at the generator's size; None or empty where there
    are none. Returns None for a model without a gate. The same model gives the same result.
    """
    if model.copies is None:
        return None
    drawn = {name: _rate_of_draws(model, class_) for class_, name in enumerate(model.class_names)}
    held = Rate() if holdout is None or not len(holdout) else model.copies.rate(holdout)
    real = held + model.copies.crossfit
    tested = drawn if len(drawn) == 1 else {_ALL: sum(drawn.values(), Rate()), **drawn}
    return Memorisation(
        drawn=drawn,
        holdout=held,
        crossfit=model.copies.crossfit,
        thresholds=model.copies.thresholds,
        p_values={name: p_value(rate, real) for name, rate in tested.items()},
    )


def _rate_of_draws(model: ImageModel, class_: int) -> Rate:
    assert model.copies is not None
    pixels = model.draw_raw(class_, _DRAWS_A_CLASS, seed=class_seed(_DRAWS_A_CLASS, class_))
    found = model.copies.find(pixels, model.output.value_range)
    return Rate(flagged=int(np.count_nonzero(found)), images=len(found))


def p_value(drawn: Rate, real: Rate) -> float:
    """Return the one-sided p-value of draws being flagged no more often than real images.

    Fisher's exact test; a binomial one against 1 % where no real images were judged.
    """
    from scipy.stats import binomtest, fisher_exact

    if not real.images:
        test = binomtest(drawn.flagged, drawn.images, _NOMINAL, alternative="greater")
        return float(test.pvalue)
    table = [[rate.flagged, rate.images - rate.flagged] for rate in (drawn, real)]
    return float(fisher_exact(table, alternative="greater").pvalue)
