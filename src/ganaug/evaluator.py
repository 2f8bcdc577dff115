"""What evaluator and feature-extractor plugins implement."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from ganaug.errors import ConfigError, DataError, TooFewImagesError

if TYPE_CHECKING:
    from torch import Tensor

    from ganaug.spec import LabelledImages

__all__ = ["Evaluator", "FeatureEvaluator", "FeatureExtractor", "Role"]

Role = Literal["train", "holdout", "synthetic"]

FoundT = TypeVar("FoundT")

#: Pairs of images that are kept for subsets to take theirs from: 256 MiB in float64.
_MOST_KEPT = 2**25

#: Pairs of a subset that are taken at once: 1 MiB in float64.
_BLOCK_VALUES = 2**17


class FeatureExtractor(ABC):
    """Turns images into feature vectors.

    name: what scores call it; set to the plugin's name by `ganaug.features.build_extractor`.
    dimension: length of a feature vector, known after `prepare` where that depends on images.
    channels, size, dtype: what the extractor itself looks at: channels, (height, width) in
        pixels, and the name of the dtype of the pixels; None where it takes images as they come.
    resize: how images come to that size, in words; scores record it.
    keeps_pixels: True where what it learned, or its features, could give the images back: then
        neither is kept in a run.
    """

    name: str = ""
    dimension: int
    channels: int | None = None
    size: tuple[int, int] | None = None
    dtype: str = "float32"
    resize: str = "none"
    keeps_pixels: bool = False

    def prepare(self, images: LabelledImages) -> None:
        """Learn from training images, for extractors that do; the default has nothing to learn."""
        return None

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""

    def logits(self, images: Tensor) -> Tensor:
        """Return float32 (N, classes), for images as `extract` takes them.

        Raises ConfigError for an extractor that tells no classes apart, which is the default.
        """
        raise ConfigError(
            f"{type(self).__name__} tells no classes apart, which this metric needs. Choose the "
            "extractor classifier, or inception."
        )

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes whenever the features would; scores record it."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return what `prepare` learned, so that a run can keep it; nothing unless overridden."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned, in place of `prepare`."""
        return None


class Evaluator(ABC):
    """Scores synthetic images against real ones, independent of batch size.

    higher_is_better: True, False, or None where neither end is better.
    minimum_images: the fewest images that each role it reads must have.
    ranges: the least and the greatest value of scores that have them, by name; an interval is
        cut off there.
    """

    higher_is_better: ClassVar[bool | None]
    minimum_images: ClassVar[int] = 2
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType({})

    @abstractmethod
    def update(self, images: Tensor, *, role: Role, labels: Tensor | None = None) -> None:
        """Add images, float32 (N, C, H, W) in [-1, 1], seen in that role; labels int64 (N,).

        A role that the metric does not need is passed over.
        """

    @abstractmethod
    def compute(self) -> Mapping[str, float]:
        """Return named scores over all images added since the last `reset`.

        Raises TooFewImagesError below the minimum, DataError for what cannot be scored.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget every image."""

    def intervals(self) -> Mapping[str, tuple[float, float] | None]:
        """Return 95 % intervals of scores that the metric knows how to estimate, by their name.

        None for a score that has no interval, such as a p-value. Scores that are not named, all of
        them unless overridden, get one by half samples where the evaluator is a
        `FeatureEvaluator`.
        """
        return {}


class FeatureEvaluator(Evaluator):
    """An evaluator of what an extractor says of each image; keeps it by role, in order of arrival.

    roles: the roles whose images it keeps; others are passed over.
    needs_labels: whether images without labels are refused.
    """

    roles: ClassVar[tuple[Role, ...]] = ("holdout", "synthetic")
    needs_labels: ClassVar[bool] = False

    def __init__(self, extractor: FeatureExtractor | None) -> None:
        self.extractor = extractor
        self.reset()

    def reset(self) -> None:
        """Forget every image, and what group each is of."""
        self._features: dict[Role, list[Tensor]] = {role: [] for role in self.roles}
        self._labels: dict[Role, list[Tensor]] = {role: [] for role in self.roles}
        self._groups: dict[Role, list[str]] = {role: [] for role in self.roles}
        self._found: list[Any] = []
        self._drawn: _Drawn | None = None

    def describe(self, images: Tensor) -> Tensor:
        """Return what is kept of images: (N, ...), their features unless overridden.

        Raises ConfigError when there is no extractor.
        """
        if self.extractor is None:
            raise ConfigError(f"{type(self).__name__} needs a feature extractor; got none.")
        return self.extractor.extract(images)

    def update(self, images: Tensor, *, role: Role, labels: Tensor | None = None) -> None:
        """Add images, float32 (N, C, H, W) in [-1, 1]; labels int64 (N,).

        Raises DataError for missing labels where they are needed, and for pixels or features that
        are not finite.
        """
        if role not in self.roles or not len(images):
            return
        if labels is None and self.needs_labels:
            raise DataError(
                f"{type(self).__name__} needs the labels of images; got {role} images without. "
                "Pass labels=."
            )
        features = self.describe(images).detach()
        if not (_are_finite(images) and _are_finite(features)):
            raise DataError(
                f"Some pixels or features of {role} images are not finite numbers, so that "
                f"{type(self).__name__} means nothing. Check the images and the extractor."
            )
        self._found.clear()
        self._drawn = None
        self._features[role].append(features)
        if labels is not None:
            self._labels[role].append(labels)

    def add_groups(self, groups: Sequence[str], *, role: Role) -> None:
        """Say of which patient or lesion each image is: "" for none, in order of arrival.

        Optional; called once per role, after its images. Images of one group resemble each other,
        and so are no independent evidence. A role that the metric does not need is passed over.
        Raises DataError unless there is a group for each image.
        """
        if role not in self.roles:
            return
        n = sum(map(len, self._features[role]))
        if len(groups) != n:
            raise DataError(
                f"{type(self).__name__} needs the group of each of {n} {role} images; got "
                f"{len(groups)} groups. Add them once, after the images."
            )
        self._found.clear()
        self._groups[role] = list(groups)

    def groups(self, role: Role) -> list[str]:
        """Return the groups of a role's images; empty when nobody named any."""
        return list(self._groups[role])

    def features(self, role: Role) -> Tensor:
        """Return what was kept of a role's images, (N, ...), not to be written to.

        Raises TooFewImagesError for fewer than `minimum_images`.
        """
        n = sum(map(len, self._features[role]))
        if n < self.minimum_images:
            raise TooFewImagesError(
                f"{type(self).__name__} needs at least {self.minimum_images} {role} images; "
                f"got {n}."
            )
        return self._joined(role)

    def labels(self, role: Role) -> Tensor:
        """Return the labels of a role's images, int64 (N,)."""
        import torch

        parts = self._labels[role]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)

    def once(self, find: Callable[[], FoundT]) -> FoundT:
        """Return what `find` returns, which is called once for the same images.

        For the work that `compute` and `intervals` share; there is room for one result.
        """
        if not self._found:
            self._found.append(find())
        found: FoundT = self._found[0]
        return found

    def subset(self, rows: Mapping[Role, Sequence[int] | Any]) -> Self:
        """Return a copy that has seen only these rows of each role, by order of arrival."""
        import torch

        chosen = copy.copy(self)
        chosen.reset()
        for role in self.roles:
            if not self._features[role]:
                continue
            index = torch.as_tensor(rows[role], dtype=torch.int64)
            chosen._features[role] = [self._joined(role)[index]]
            if self._labels[role]:
                chosen._labels[role] = [self.labels(role)[index]]
            if self._groups[role]:
                chosen._groups[role] = [self._groups[role][row] for row in index.tolist()]
        return chosen

    def subsets(self, draws: Iterable[Mapping[Role, Sequence[int] | Any]]) -> Iterator[Self]:
        """Yield the `subset` of each draw of rows; they share what `pairs` says of all rows."""
        import torch

        kept: dict[Any, Tensor | None] = {}
        for rows in draws:
            chosen = self.subset(rows)
            index = {role: torch.as_tensor(rows[role]) for role in self.roles if role in rows}
            chosen._drawn = _Drawn(self, index, kept)
            yield chosen

    def pairs(
        self,
        compare: Callable[[Tensor, Tensor], Iterator[Tensor]],
        left: Role,
        right: Role,
        columns: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield what `compare` finds of pairs of images, each of a row of left and one of right.

        A block of successive rows after the other, (R, M), the caller's to write to. One of
        `subsets` takes its own from what was found once for all rows, as long as these make no
        more than 2**25 pairs.

        compare: takes features (N, ...) and (M, ...), and yields the blocks; the same function
            each time. What it finds of a pair must not depend on the other images.
        columns: int64 (M,), which images of right; all unless given.
        Raises TooFewImagesError as `features` does.
        """
        features = self.features(left), _some(self.features(right), columns)
        drawn = self._drawn
        matrix = None if drawn is None else drawn.matrix(compare, left, right)
        if drawn is None or matrix is None:
            yield from compare(*features)
        else:
            yield from _blocks(matrix, drawn.rows[left], _some(drawn.rows[right], columns))

    def _joined(self, role: Role) -> Tensor:
        """Return what was kept of a role's images, one tensor from here on."""
        import torch

        parts = self._features[role]
        if len(parts) != 1:
            self._features[role] = parts = [torch.cat(parts)]
        return parts[0]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Where a subset comes from: rows of each role of the whole, whose pairs several share."""

    whole: FeatureEvaluator
    rows: Mapping[Role, Tensor]
    kept: dict[Any, Tensor | None]

    def matrix(
        self, compare: Callable[[Tensor, Tensor], Iterator[Tensor]], left: Role, right: Role
    ) -> Tensor | None:
        """Return what is found of all pairs of the whole, (N, M); None when they are too many."""
        import torch

        key = compare, left, right
        if key not in self.kept:
            features = self.whole.features(left), self.whole.features(right)
            self.kept[key] = None
            if len(features[0]) * len(features[1]) <= _MOST_KEPT:
                blocks = list(compare(*features))
                self.kept[key] = (blocks[0] if len(blocks) == 1 else torch.cat(blocks)).cpu()
        return self.kept[key]


def _some(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows]


def _blocks(matrix: Tensor, rows: Tensor, columns: Tensor) -> Iterator[Tensor]:
    """Yield rows and columns of a matrix in blocks that stay in the cache of a processor.

    With numpy, which takes columns in about half of torch's time.
    """
    import torch

    values, column = matrix.numpy(), columns.numpy()
    for some in rows.split(max(1, _BLOCK_VALUES // max(1, len(column)))):
        yield torch.from_numpy(values[some.numpy()].take(column, axis=1))


def _are_finite(values: Tensor) -> bool:
    """Say whether all are; by the least and the greatest, which are NaN if one is.

    That is over 20 times as fast as to ask each, and every metric asks of all pixels.
    """
    import torch

    return not values.numel() or bool(torch.isfinite(torch.stack(values.aminmax())).all())
