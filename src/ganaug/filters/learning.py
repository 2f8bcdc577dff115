"""Which filters there are, and how those that learn are checked and fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from ganaug.filters.classifier import ClassifierFilter
from ganaug.filters.discriminator import DiscriminatorFilter
from ganaug.generator import Generator
from ganaug.spec import LabelledImages

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.registry import Registry

__all__ = ["FILTERS", "FilterName", "check_filters", "fit_filters"]

FilterName = Literal["copies", "classifier", "discriminator"]

#: All there are, in the order in which images pass them.
FILTERS: tuple[str, ...] = get_args(FilterName)


def check_filters(
    names: Sequence[str],
    generator: Generator,
    rows: LabelledImages,
    class_names: Sequence[str],
    registry: Registry,
) -> None:
    """Raise, before anything is trained, when filters cannot work.

    generator: as it will be trained. rows: training rows of all classes, loaded at its size.
    class_names: the classes that are generated. Raises ConfigError where there is no other class,
    or no discriminator to score by; TooFewImagesError and ShapeError as the classifier does.
    """
    if "classifier" in names:
        ClassifierFilter.check(rows, class_names, registry)
    if "discriminator" in names:
        DiscriminatorFilter.check(generator)


def fit_filters(
    names: Sequence[str],
    model: ImageModel,
    rows: LabelledImages,
    registry: Registry,
    *,
    seed: int,
) -> list[ClassifierFilter | DiscriminatorFilter]:
    """Return the filters that learn, fitted for a trained model, in their order.

    rows: training rows of all classes, loaded at the generator's size.
    """
    found: list[ClassifierFilter | DiscriminatorFilter] = []
    if "classifier" in names:
        found.append(ClassifierFilter.fit(rows, model.class_names, registry, seed=seed))
    if "discriminator" in names:
        own = [rows.only([rows.class_names.index(name)]) for name in model.class_names]
        found.append(DiscriminatorFilter.fit(model, own))
    return found
