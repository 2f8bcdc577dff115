"""The filter `classifier`: drops what is confidently taken for another class."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganaug.copies import Rate
from ganaug.duplicates import find_duplicates
from ganaug.errors import ConfigError, DataError, TooFewImagesError
from ganaug.evaluator import FeatureExtractor
from ganaug.features import build_extractor
from ganaug.filters.chunks import signed_chunks
from ganaug.hashes import hash_images
from ganaug.randomness import seeded
from ganaug.spec import LabelledImages
from ganaug.splits import split_rows

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.registry import Registry

__all__ = ["ClassifierFilter"]

#: An image is dropped when the classifier finds another class so many times as likely as its own.
_ODDS = 20.0
#: The part of the training rows that the classifier does not learn from but is calibrated on.
_CHECKED = 0.2
#: Training images of a class, at least, for a classifier that knows it.
_ENOUGH = 10


class ClassifierFilter:
    """Drops images that a classifier confidently takes for another class than theirs.

    The classifier is the extractor ``classifier``, which saw all classes equally often. Its logits
    are divided by a temperature (Guo et al. 2017) fitted on training rows that it did not learn
    from, so that its probabilities mean what they say. An image is dropped when one other class is
    twenty times as likely as its own: where classes cannot be told apart, nothing is.

    extractor: trained, of the classes in `known`. class_names: the model's. temperature: 1 or
    more. checked: how many rows, of the model's classes, of those that set the temperature it
    would drop.
    """

    name = "classifier"
    reason = "images that a classifier takes for another class"

    def __init__(
        self,
        extractor: FeatureExtractor,
        known: Sequence[str],
        class_names: Sequence[str],
        temperature: float,
        checked: Rate,
    ) -> None:
        self.known = tuple(known)
        self.class_names = tuple(class_names)
        self.temperature = temperature
        self.checked = checked
        self._extractor = extractor

    @staticmethod
    def check(images: LabelledImages, class_names: Sequence[str], registry: Registry) -> None:
        """Raise what `fit` would raise for lack of images or classes, or for their shape."""
        build_extractor("classifier", _enough(images, class_names).spec, registry)

    @classmethod
    def fit(
        cls,
        images: LabelledImages,
        class_names: Sequence[str],
        registry: Registry,
        *,
        seed: int,
    ) -> Self:
        """Train on training rows of all classes, loaded at the generator's size.

        class_names: those that are generated. A fifth of the rows, with groups and near
        duplicates whole, sets the temperature; classes of fewer than ten images take no part.
        Raises ConfigError, TooFewImagesError or DataError when this cannot be done.
        """
        learned, checking = _divide(_enough(images, class_names), seed)
        extractor = build_extractor("classifier", learned.spec, registry)
        with seeded(seed):
            extractor.prepare(learned)
        logits = torch.cat([extractor.logits(chunk) for chunk in _signed(checking)])
        temperature = _fit_temperature(logits, torch.from_numpy(checking.labels))
        found = cls(extractor, learned.class_names, class_names, temperature, Rate())
        for class_ in range(len(found.class_names)):
            found.checked += found._rate(checking, class_)
        return found

    def keep(
        self, pixels: NDArray[Any], class_: int, value_range: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Say which images of one class, (N, C, H, W) within `value_range`, may pass; bool (N,)."""
        own = self.known.index(self.class_names[class_])
        found = [np.empty(0, dtype=np.bool_)]
        for chunk in signed_chunks(pixels, value_range):
            logits = self._extractor.logits(chunk) / self.temperature
            others = torch.cat([logits[:, :own], logits[:, own + 1 :]], dim=1).amax(dim=1)
            found.append((others - logits[:, own] <= math.log(_ODDS)).numpy())
        return np.concatenate(found)

    @property
    def summary(self) -> str:
        """What it drops, and how many real images of the generated classes."""
        return (
            f"Drops images for which a classifier of {len(self.known)} classes, trained on "
            f"training rows, finds another class {_ODDS:g} times as likely as theirs. Of rows that "
            f"it did not learn from, which set its temperature of {self.temperature:.2f}, it "
            f"would drop {self.checked}."
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what a run keeps: the classifier's weights, and facts that JSON can hold."""
        header = {
            "known": self.known,
            "temperature": self.temperature,
            "checked": self.checked.to_fields(),
        }
        return dict(self._extractor.state_dict()), header

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        header: Mapping[str, Any],
        model: ImageModel,
        registry: Registry,
    ) -> Self:
        """Take over what `to_tensors` returned, for a model that it filters."""
        spec = dataclasses.replace(
            model.generators[0].spec, class_names=tuple(str(name) for name in header["known"])
        )
        extractor = build_extractor("classifier", spec, registry)
        extractor.load_state_dict(tensors)
        checked = Rate.from_fields(header["checked"])
        return cls(
            extractor, spec.class_names, model.class_names, float(header["temperature"]), checked
        )

    def _rate(self, images: LabelledImages, class_: int) -> Rate:
        own = images.class_names.index(self.class_names[class_])
        pixels = np.asarray(images.pixels)[images.labels == own]
        kept = self.keep(pixels, class_, images.value_range)
        return Rate(flagged=int(np.count_nonzero(~kept)), images=len(kept))


def _enough(images: LabelledImages, class_names: Sequence[str]) -> LabelledImages:
    """Return the rows of the classes that a classifier can learn.

    Raises TooFewImagesError when one of `class_names` is none of these, ConfigError when there is
    no second one.
    """
    counts = images.counts
    for name in class_names:
        if counts[name] < _ENOUGH:
            raise TooFewImagesError(
                f"Class {name!r} has {counts[name]} training images; the filter 'classifier' "
                f"needs at least {_ENOUGH} of each generated class to learn from. Leave that "
                "filter out, or give more images."
            )
    enough = [i for i, name in enumerate(images.class_names) if counts[name] >= _ENOUGH]
    if len(enough) < 2:
        raise ConfigError(
            "The filter 'classifier' drops what looks like another class, and there is only "
            f"class {images.class_names[enough[0]]!r} with {_ENOUGH} training images or more. "
            "Leave that filter out, or give images of more classes."
        )
    return images.only(enough)


def _divide(images: LabelledImages, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Return rows to learn from, and rows of each class to check on."""
    whole = dataclasses.replace(images, splits=None)
    near = find_duplicates(whole, hash_images(whole)).near
    try:
        splits = split_rows(
            whole, holdout=_CHECKED, validation=0.0, random_state=seed, clusters=near
        )
    except DataError as error:
        raise DataError(
            "The filter 'classifier' needs training rows to check itself on, and none can be cut: "
            "groups and near duplicates stay whole, and each class must keep a row to learn from. "
            "Leave that filter out, or give more images."
        ) from error
    learning = np.array(splits) == "training"
    return whole.subset(np.flatnonzero(learning)), whole.subset(np.flatnonzero(~learning))


def _fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature that explains labels best, all classes weighing the same.

    It is at least 1: few rows that happen to be told apart are no reason for more confidence.
    """
    weights = 1.0 / torch.bincount(labels)[labels].float()
    choices = torch.logspace(0, 2, 201).tolist()
    costs = [
        float((weights * cross_entropy(logits / choice, labels, reduction="none")).sum())
        for choice in choices
    ]
    return float(choices[int(np.argmin(costs))])


def _signed(images: LabelledImages) -> Iterator[Tensor]:
    return signed_chunks(np.asarray(images.pixels), images.value_range)
