"""The generators of a benchmark: each trained once, inside a training part, and kept by content."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ganaug
from ganaug.benchmark.amounts import generated_classes
from ganaug.benchmark.locks import hold
from ganaug.errors import ConfigError, LeakageError, nearest
from ganaug.files import new_folder
from ganaug.filters import FILTERS
from ganaug.fitting import fit_part, make_model, rows_for_filters, start_training
from ganaug.hashes import hash_images
from ganaug.parts import Part, plan_parts, with_conditioning
from ganaug.randomness import class_seed
from ganaug.recipes import Recipe
from ganaug.run_config import describe_run
from ganaug.runs import Run
from ganaug.selection import Ending
from ganaug.spec import class_indices
from ganaug.splits import read_splits, write_splits
from ganaug.stopping import History
from ganaug.training import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.registry import Registry
    from ganaug.spec import LabelledImages
    from ganaug.study import Budget, Study

__all__ = ["Drawn", "Request", "draw", "make_recipe", "plan", "provide"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """A generator that is wanted.

    images: all rows of the task, not resized. rows: those to train on. held_out: those that it
    must not see, ids too. classes: to train, by index. recipe: with the seed. digest: of the
    images. source, fields: where they are from, for the record.
    """

    images: LabelledImages
    rows: NDArray[np.int64]
    held_out: NDArray[np.int64]
    classes: tuple[int, ...]
    recipe: Recipe
    registry: Registry
    digest: str
    source: str
    fields: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"

    @property
    def key(self) -> str:
        """Name what the weights follow from: the same for the same images and recipe."""
        import torch

        content = {
            "images": self.digest,
            "rows": [self.images.ids[row] for row in self.rows.tolist()],
            "classes": [self.images.class_names[index] for index in self.classes],
            "recipe": self.recipe.to_fields(),
            "provider": self.registry.provider("generators", self.recipe.generator),
            "versions": [ganaug.__version__, str(torch.__version__)],
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Synthetic images of a generator, at the size that it makes them.

    pixels: by class index of the task, each (n, C, H, W); fewer than were asked for where too
    many are copies. value_range: of the pixels. details: for the record, as JSON takes it.
    """

    pixels: Mapping[int, NDArray[Any]]
    value_range: tuple[float, float]
    details: Mapping[str, Any]


def make_recipe(study: Study, budget: Budget, registry: Registry, seed: int = 0) -> Recipe:
    """Return the recipe of a study's generator; see `plan` for one that leaves conditioning open.

    Raises ConfigError for a setting that the generator does not have or a filter there is not,
    UnknownPluginError for a generator there is not.
    """
    for name in study.filters:
        if name not in FILTERS:
            raise ConfigError(
                f"Study {study.name!r} has a filter {name!r}, which there is not."
                f"{nearest(name, FILTERS)} The filters are {', '.join(FILTERS)}."
            )
    config = registry.generators[study.generator].config.from_strings(
        {**study.settings, **budget.settings}
    )
    return Recipe.from_fields(
        {
            "generator": study.generator,
            "settings": config.to_fields(),
            "size": budget.generator_size or study.generator_size,
            "conditioning": study.conditioning or "conditional",
            "filters": [name for name in FILTERS if name in study.filters],
            "total_images": budget.generator_images,
            "random_state": seed,
        }
    )


def plan(images: LabelledImages, study: Study, budget: Budget, registry: Registry) -> Recipe:
    """Build, on two images a class, what would be trained; raise what `plan_parts` raises.

    Returns the recipe, with the way of conditioning that the study leaves open.
    """
    classes = generated_classes(images, study)
    recipe = make_recipe(study, budget, registry)
    if study.conditioning is None:
        recipe = with_conditioning(recipe, images, classes, registry)
    of_class = (np.flatnonzero(images.labels == index)[:2] for index in np.unique(images.labels))
    some = images.subset(np.concatenate(list(of_class)))
    plan_parts(some.only(classes), recipe, registry, pretraining=some)
    return recipe


def provide(request: Request, folder: Path) -> Run:
    """Return the run of the generator that is wanted; train it unless a process did before.

    It lies in ``folder/KEY``. Several processes may ask at once: one trains, the others wait.
    One that is killed leaves nothing that is taken for a finished run.

    Raises LeakageError when it would be, or was, trained on rows that are held out.
    """
    _check_rows(request)
    key = request.key
    path = folder / key
    if not path.exists():
        with hold(folder / f"{key}.lock"):
            if not path.exists():
                for left_over in folder.glob(f".{key}.*"):  # of a process that was killed
                    shutil.rmtree(left_over)
                _train(request, path)
    run = Run.open(path)
    held = {request.images.ids[row] for row in request.held_out.tolist()}
    if known := sorted(held & set(read_splits(path / "splits.csv"))):
        raise LeakageError(
            f"The generator {path} was trained on {len(known)} images that are held out here "
            f"(first: {known[0]}). Remove it, and it is trained anew."
        )
    return run


def draw(run: Run, images: LabelledImages, counts: Mapping[int, int], registry: Registry) -> Drawn:
    """Draw images by class index of the task, the same each time.

    images: of the task. counts: by class index; a generator must have been trained on the class.
    """
    model = run.read_model(registry).at_trained_size()
    pixels = {}
    with warnings.catch_warnings():  # counts of what was drawn go into the record
        warnings.filterwarnings("ignore", message=r"Class .*: \d+ of \d+ images;")
        for index, n in counts.items():
            place = class_indices([images.class_names[index]], model.class_names)[0]
            seed = class_seed(run.config.recipe.random_state, place)
            pixels[index] = model.draw(place, n, seed=seed)
    histories = run.recorded_histories().values()
    found = model.memorisation
    return Drawn(
        pixels=pixels,
        value_range=model.output.value_range,
        details={
            "run": run.path.name,
            "seconds": sum(history[-1].seconds for history in histories if history),
            "parameters": sum(p.numel() for g in model.generators for p in g.parameters()),
            "drawing": sum(p.numel() for g in model.generators for p in g.network.parameters()),
            "dropped": dict(model.dropped),
            "memorised": None if found is None else list(found.significant),
        },
    )


def _check_rows(request: Request) -> None:
    shared = np.intersect1d(request.rows, request.held_out)
    if len(shared):
        raise LeakageError(
            f"{len(shared)} of the {len(request.rows)} rows that a generator would be trained on "
            f"are held out (first: {request.images.ids[shared[0]]}). This is a bug: no result of "
            "this fold would mean anything."
        )


def _train(request: Request, path: Path) -> None:
    """Train a generator and write its run, whole or not at all."""
    registry, recipe = request.registry, request.recipe
    training = replace(request.images.subset(request.rows), splits=None)
    chosen = training.only(request.classes)
    parts = plan_parts(chosen, recipe, registry, pretraining=training)
    known = rows_for_filters(training, parts, recipe, registry)
    trainings, endings = _fit(parts, recipe, request.device)
    model = make_model(
        chosen, parts, trainings, recipe, rows=known, endings=endings, registry=registry
    )
    config = describe_run(
        training, parts, recipe, registry, source=request.source, source_fields=request.fields
    )
    splits = ("training",) * len(training)
    with new_folder(path) as folder:
        run = Run.create(folder, config)
        write_splits(folder / "splits.csv", training, splits)
        run.write_references(hash_images(training), splits)
        for index, ending in zip(run.trainings, endings, strict=True):
            run.write_history(index, ending.history)
        run.write_model(model)
        run.write_card(model)
        run.seal()


def _fit(parts: Sequence[Part], recipe: Recipe, device: str) -> tuple[list[Training], list[Ending]]:
    """Train each part to its end; return the trainings and how they ended."""
    trainings: list[Training] = []
    endings = []
    for part in parts:
        training, history = start_training(part, recipe, device=device), History()
        pretrained = trainings[0] if part.role == "fine-tuning" else None
        reason = fit_part(training, [], history=history, pretrained=pretrained)
        trainings.append(training)
        endings.append(Ending(history, reason))
    return trainings, endings
