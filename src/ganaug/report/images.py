"""A benchmark's images: pictures of real and synthetic ones, and scores beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganaug.evaluation_figures import draw_figures
from ganaug.features import CachedExtractor, build_extractor
from ganaug.model import ImageModel
from ganaug.parts import load_at
from ganaug.randomness import class_seed, seeded
from ganaug.registry import Registry
from ganaug.report.findings import Picture
from ganaug.runs import Run
from ganaug.scoring import ImageRoles, Score, score_images
from ganaug.spec import LabelledImages, class_indices

if TYPE_CHECKING:
    from ganaug.benchmark.experiment import Experiment
    from ganaug.benchmark.outcomes import Outcome

__all__ = ["Looked", "look_at_images"]

_EXTRACTOR, _JUDGE = "random-conv", "classifier"
_MOST_A_CLASS = 200

_TEXTS = {
    "nearest.png": (
        "Real images, synthetic ones, and their nearest training images",
        "Real images are test images of the fold.",
    ),
    "tsne.png": (
        "Where images lie",
        "Training, test and synthetic images of the fold, classes without synthetic ones too.",
    ),
    "colours.png": ("Colours", "Test images of the fold beside synthetic ones."),
    "history.png": ("The generator's training", "Losses over training images."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What there is to say of synthetic images: pictures, and the scores of the study's extras."""

    pictures: tuple[Picture, ...] = ()
    scores: tuple[Score, ...] = ()


def look_at_images(experiment: Experiment, outcomes: Sequence[Outcome]) -> Looked:
    """Draw and score what the first fold's generator makes, beside that fold's test images.

    Nothing where no arm has a generator. A metric that cannot be computed is left out.
    """
    made = [outcome for outcome in outcomes if "generator" in outcome.details]
    if not made:
        return Looked()
    first = min(made, key=lambda o: (-o.cell.fraction, o.cell.repeat, o.cell.fold)).cell
    details = next(o.details["generator"] for o in made if o.cell == first)
    run = Run.open(experiment.out / "generators" / details["run"])
    model = run.read_model(Registry.load()).at_trained_size()
    workspace = experiment.open_workspace()
    part = workspace.protocol.folds[first.repeat, first.fold]
    rows = workspace.protocol.training(part, first.fraction)
    size = model.output.height, model.output.width
    train, test = (load_at(workspace.task.images.subset(r), *size) for r in (rows, part.test))
    roles = ImageRoles(train=train, holdout=test, synthetic=_draw(model, test))
    extractor = build_extractor(_EXTRACTOR, test.spec, Registry.load())
    drawn = draw_figures(
        roles,
        extractor,
        run.recorded_histories(),
        run=f"{experiment.study.name}, repeat {first.repeat + 1}, fold {first.fold + 1}",
        own_rows=True,
        random_state=0,
    )
    pictures = (
        Picture(title=title, caption=caption, png=drawn.files[name])
        for name, (title, caption) in _TEXTS.items()
        if name in drawn.files
    )
    generated = class_indices(model.class_names, test.class_names)
    scores = _score(experiment.study.extras, roles, generated)
    return Looked(pictures=tuple(pictures), scores=tuple(scores))


def _score(metrics: Sequence[str], roles: ImageRoles, classes: Sequence[int]) -> list[Score]:
    """Return the scores of metrics on some classes, with floors and intervals.

    They are in the features of a classifier that tells all classes of the task apart.
    """
    train = roles.train
    if not metrics or train is None:
        return []
    registry = Registry.load()
    extractor = CachedExtractor(build_extractor(_JUDGE, train.spec, registry))
    with seeded(0):
        extractor.prepare(train)
    generated = ImageRoles(
        train=train.only(classes),
        holdout=roles.holdout.only(classes),
        synthetic=roles.synthetic.only(classes),
    )
    return score_images(
        metrics, generated, registry, extractor=extractor, rows="test images of a fold", failed={}
    )


def _draw(model: ImageModel, test: LabelledImages) -> LabelledImages:
    """Draw as many images of each class that the model makes as there are test images of it."""
    classes = class_indices(model.class_names, test.class_names)
    counts = np.bincount(test.labels, minlength=len(test.class_names)).clip(max=_MOST_A_CLASS)
    pixels = [
        model.draw(i, int(counts[label]), seed=class_seed(1, i)) for i, label in enumerate(classes)
    ]
    return LabelledImages(
        pixels=np.concatenate(pixels),
        labels=np.repeat(classes, [len(some) for some in pixels]),
        class_names=test.class_names,
        value_range=model.output.value_range,
    )
