"""Figures of what an evaluation saw: which images they show, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.evaluator import FeatureExtractor, Role
    from ganaug.figures import Strip
    from ganaug.scoring import ImageRoles
    from ganaug.spec import LabelledImages
    from ganaug.stopping import History

__all__ = ["FIGURES", "Drawn", "draw_figures"]

#: The files that there may be.
FIGURES = ("nearest.png", "tsne.png", "colours.png", "history.png")

_CLASSES_DRAWN = 10
_AT_RANDOM, _CLOSEST = 8, 4
_POINTS_A_ROLE = 300  # on one core, t-SNE of 900 points takes 1.5 s and of 2,100 seven
_FEWEST_POINTS = 10
_BATCH = 256

_OTHER_ROWS = "training as the split file has it, which need not be what the run learned from."


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Figures as PNG files by name, and how t-SNE was run, for the record."""

    files: Mapping[str, bytes]
    tsne: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Subject:
    """Images by role with their features, (N, D) a role, and what the figures call things."""

    roles: ImageRoles
    features: Mapping[Role, NDArray[np.float32]]
    extractor: str
    run: str
    own_rows: bool
    random_state: int

    @property
    def generated(self) -> tuple[int, ...]:
        """The classes that there are synthetic images of: the largest, in their own order."""
        images = self.roles.synthetic
        return _largest(images, range(len(images.class_names)), _CLASSES_DRAWN)

    @property
    def shown(self) -> tuple[int, ...]:
        """The same, and where there is room, classes that there are real images of only."""
        images, room = self.roles.holdout, _CLASSES_DRAWN - len(self.generated)
        others = set(range(len(images.class_names))) - set(self.generated)
        return tuple(sorted((*self.generated, *_largest(images, others, room))))


def _largest(images: LabelledImages, labels: Iterable[int], most: int) -> tuple[int, ...]:
    """Return those of the labels that there are most images of, so many, in their own order."""
    counts = list(images.counts.values())
    present = sorted(filter(counts.__getitem__, labels), key=lambda label: -counts[label])
    return tuple(sorted(present[:most]))


def draw_figures(
    roles: ImageRoles,
    extractor: FeatureExtractor,
    histories: Mapping[str, History],
    *,
    run: str,
    own_rows: bool,
    random_state: int,
) -> Drawn:
    """Draw what an evaluation saw.

    roles: classes without synthetic images are in tsne.png and colours.png, beside the others.
    extractor: tells how alike images are. histories: of the run's trainings, by their names.
    run: what the figures call the run. own_rows: whether training images are those that the run
    learned from, so that copies are among what is nearest to them.

    Without training images there is no nearest.png, with fewer than ten images no tsne.png,
    without a history no history.png.
    """
    from ganaug.figures import draw_history, png

    subject = _Subject(
        roles=roles,
        features={role: _features(images, extractor) for role, images in roles.by_name.items()},
        extractor=extractor.name,
        run=run,
        own_rows=own_rows,
        random_state=random_state,
    )
    files = {}
    if roles.train is not None:
        files["nearest.png"] = _draw_nearest(subject, roles.train)
    files["colours.png"] = _draw_colours(subject)
    curves = draw_history(histories, title=f"{run}: training")
    if curves is not None:
        files["history.png"] = png(curves)
    tsne = None
    if sum(map(len, subject.features.values())) >= _FEWEST_POINTS:
        files["tsne.png"], tsne = _draw_tsne(subject)
    return Drawn(files=files, tsne=tsne)


def _features(images: LabelledImages, extractor: FeatureExtractor) -> NDArray[np.float32]:
    import torch

    from ganaug.pixels import to_signed

    pixels = np.asarray(images.pixels)
    with torch.inference_mode():
        batches = [
            extractor.extract(to_signed(pixels[start : start + _BATCH], images.value_range))
            for start in range(0, len(pixels), _BATCH)
        ]
    return np.asarray(torch.cat(batches).cpu().numpy(), dtype=np.float32)


# --- nearest.png ---------------------------------------------------------------------------------


def _draw_nearest(subject: _Subject, train: LabelledImages) -> bytes:
    from ganaug.figures import ClassSheet, draw_nearest, nearest_rows, png

    roles, features = subject.roles, subject.features
    rng = np.random.default_rng([subject.random_state, 2])
    _, real = nearest_rows(features["holdout"], features["train"])
    neighbours, synthetic = nearest_rows(features["synthetic"], features["train"])
    unit = float(np.median(real)) or 1.0
    sheets = []
    for label in subject.generated:
        chosen = _chosen_rows(roles.synthetic.labels == label, synthetic, rng)
        real_rows = _chosen_rows(roles.holdout.labels == label, real, rng)
        captions = [f"{distance / unit:.2f}" for distance in synthetic]
        for row in np.flatnonzero(train.labels[neighbours] != label):
            captions[row] += f" {train.class_names[train.labels[neighbours[row]]]}"
        sheets.append(
            ClassSheet(
                name=roles.holdout.class_names[label],
                real=_strips(roles.holdout, real_rows, [f"{d / unit:.2f}" for d in real]),
                synthetic=_strips(roles.synthetic, chosen),
                nearest=_strips(train.subset(neighbours), chosen, captions),
            )
        )
    lines = (
        f"Numbers: distance to the nearest training image, in {subject.extractor} features; 1.00 "
        "is the median over held-out images. A nearest image of another class is named.",
        f"On the right, the {_CLOSEST} images of the class that are closest to a training image, "
        f"of all {len(real):,} held-out and {len(synthetic):,} synthetic ones: "
        + ("copies would be there." if subject.own_rows else _OTHER_ROWS),
    )
    title = f"{subject.run}: real beside synthetic"
    return png(draw_nearest(sheets, _grey_range(roles.holdout), title=title, lines=lines))


def _chosen_rows(
    of_class: NDArray[np.bool_], distances: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return some rows of a class at random, and those of the smallest distances."""
    rows = np.flatnonzero(of_class)
    drawn = np.sort(rng.choice(rows, min(_AT_RANDOM, len(rows)), replace=False))
    return drawn, rows[np.argsort(distances[rows], kind="stable")[:_CLOSEST]]


def _strips(
    images: LabelledImages,
    blocks: tuple[NDArray[np.int64], NDArray[np.int64]],
    captions: Sequence[str] = (),
) -> tuple[Strip, Strip]:
    """Return the rows of both blocks; captions: one a row of the images, or none."""
    from ganaug.figures import Strip

    pixels = np.asarray(images.pixels)
    first, second = (
        Strip(pixels=pixels[rows], captions=[captions[row] for row in rows] if captions else ())
        for rows in blocks
    )
    return first, second


def _grey_range(images: LabelledImages) -> tuple[float, float]:
    """Return black and white: the value range, or what deep images fill of it."""
    pixels = np.asarray(images.pixels)
    if pixels.dtype == np.uint8:
        return images.value_range
    low, high = np.percentile(pixels, [0.5, 99.5])
    return (float(low), float(high)) if low < high else images.value_range


# --- tsne.png and colours.png --------------------------------------------------------------------


def _draw_tsne(subject: _Subject) -> tuple[bytes, dict[str, Any]]:
    from ganaug.figures import draw_embedding, embed, png

    rng = np.random.default_rng([subject.random_state, 3])
    limit = _fitting_limit(subject)
    kept, roles, labels = [], [], []
    for role, images in subject.roles.by_name.items():
        rows = _some_of_each(images.labels, subject.shown, limit, rng)
        kept.append(subject.features[role][rows])
        roles += [role] * len(rows)
        labels.append(images.labels[rows])
    embedding = embed(np.concatenate(kept), random_state=subject.random_state)
    facts = {
        "perplexity": embedding.perplexity,
        "seed": embedding.random_state,
        "points": len(roles),
        "most_points_a_class_and_role": limit,
    }
    lines = (
        f"t-SNE of {subject.extractor} features: perplexity {embedding.perplexity:.3g}, seed "
        f"{embedding.random_state}, {len(roles):,} points, at most {limit} a class and role.",
        "Look for synthetic images where there are no real ones, and for real ones without "
        "synthetic ones; sizes of clusters and gaps between them mean nothing.",
    )
    figure = draw_embedding(
        embedding.points,
        np.array(roles),
        np.concatenate(labels),
        subject.roles.holdout.class_names,
        title=f"{subject.run}: where images lie",
        lines=lines,
    )
    return png(figure), facts


def _fitting_limit(subject: _Subject) -> int:
    """Return the most points a class and role with which there are not too many in all."""
    every = subject.roles.by_name.values()
    counts = np.array([[(each.labels == k).sum() for k in subject.shown] for each in every])
    limits = range(int(counts.max()), 0, -1)
    fitting = (n for n in limits if np.minimum(counts, n).sum() <= _POINTS_A_ROLE * len(counts))
    return next(fitting, 1)


def _some_of_each(
    labels: NDArray[np.int64], classes: Sequence[int], limit: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw at most so many rows of each class."""
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:limit] for label in classes]
    return np.concatenate(drawn)


def _draw_colours(subject: _Subject) -> bytes:
    from ganaug.figures import draw_colours, mean_colours, png

    real, synthetic = subject.roles.holdout, subject.roles.synthetic
    shown = [images.subset(np.flatnonzero(np.isin(images.labels, subject.shown)))
             for images in (real, synthetic)]  # fmt: skip
    means = [mean_colours(np.asarray(each.pixels), each.value_range) for each in shown]
    figure = draw_colours(
        means[0],
        means[1],
        (shown[0].labels, shown[1].labels),
        real.class_names,
        title=f"{subject.run}: colour",
        lines=(
            f"Mean of each image by channel: {len(shown[0]):,} held-out images and "
            f"{len(shown[1]):,} synthetic ones; medians are marked.",
        ),
    )
    return png(figure)
