"""Runs begun and gone on with: everything is checked before anything is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ganaug.cli.console import output, status
from ganaug.cli.requests import FitRequest, extended_recipe, make_recipe, recorded_fields
from ganaug.cli.rows import cut_rows, loaded_rows, training_rows
from ganaug.cli.summary import print_header
from ganaug.cli.tensorboard import check_tensorboard
from ganaug.errors import ConfigError, RunError
from ganaug.fitting import rows_for_filters
from ganaug.hashes import hash_images
from ganaug.parts import Part, plan_parts, with_conditioning
from ganaug.recipes import Recipe
from ganaug.registry import Registry
from ganaug.run_config import describe_run
from ganaug.runs import Run
from ganaug.sources import check_outside, open_images
from ganaug.spec import class_indices
from ganaug.splits import write_splits

if TYPE_CHECKING:
    from ganaug.spec import LabelledImages

from ganaug.cli.session import Session

__all__ = ["fit_run", "resume_run"]


def fit_run(request: FitRequest) -> int:
    """Fit a new run; return the exit code.

    Everything that the user gave is checked before anything is written. Raises GanaugError.
    """
    _check_single_process()
    if request.tensorboard:
        check_tensorboard()
    Run.check_free(request.out)
    check_outside(request.out, request.data)
    registry = Registry.load()
    recipe = make_recipe(request, registry)
    with status("Reading images"):
        images = open_images(request.data, registry, request.fields)
        hashes = hash_images(images)
        splits = cut_rows(
            images,
            hashes,
            holdout=request.holdout,
            split=request.split,
            random_state=recipe.random_state,
            validate=recipe.eval_every is not None,
        )
        if request.conditioning is None:
            classes = class_indices(request.classes or images.class_names, images.class_names)
            training = training_rows(images, splits)
            recipe = with_conditioning(recipe, training, classes, registry)
        rows = _Rows(images, splits, request.classes, recipe)
    session = _session(request, rows, recipe, registry, request.data, request.fields)
    session.begin()
    print_header(session, images, splits)
    Run.create(request.out, session.run.config)
    write_splits(request.out / "splits.csv", images, splits)
    session.run.write_references(hashes, splits)
    return session.complete()


def resume_run(request: FitRequest) -> int:
    """Go on with a run, on the same images; return the exit code. Raises GanaugError."""
    _check_single_process()
    if request.tensorboard:
        check_tensorboard()
    run = Run.open(request.out)
    registry = Registry.load()
    recipe = extended_recipe(request, run.config, registry)
    fields = recorded_fields(request, run.config)
    with status("Reading images"):
        images = open_images(request.data, registry, fields)
        splits = run.recorded_splits(images)
        if request.split is not None or request.holdout is not None:
            _check_splits(request, images, splits, recipe)
        rows = _Rows(images, splits, run.config.class_names, recipe)
    source = run.config.source
    session = _session(request, rows, recipe, registry, source, fields)
    if session.run.config.fingerprint != run.config.fingerprint:
        raise RunError(
            f"These are not the images that {run.path} was fitted on, which were {source}: names "
            "and labels are the same, pixels differ. Give the images as they were, or fit a new "
            "run."
        )
    session.restore()
    if session.nothing_to_do():
        output().print(
            f"{run.path} is finished: {session.reasons()}. To train on, raise what ended it: "
            "--images, --minutes or --stop.",
            soft_wrap=True,
        )
        return 0
    session.begin()
    hashes = None if run.has_references else hash_images(images)  # an earlier version has none
    run.begin_anew()
    if hashes is not None:
        run.write_references(hashes, splits)
    session.run.write_config()
    _forget(run, session.void)
    print_header(session, images, splits)
    return session.complete()


class _Rows:
    """The rows of a source that a run is about.

    training: of all classes, as they are. loaded: of the trained classes by split, at the size to
    train at. known: of those that are learned from in any way; all, where there is a pretraining.
    """

    def __init__(
        self, images: LabelledImages, splits: Sequence[str], classes: Sequence[str], recipe: Recipe
    ) -> None:
        pretrained = recipe.conditioning == "pretrain-finetune"
        indices = sorted(class_indices(classes or images.class_names, images.class_names))
        self.training = training_rows(images, splits)
        self.known = loaded_rows(images, splits, () if pretrained else classes, recipe.size)
        self.loaded = self.known
        if pretrained and len(indices) < len(images.class_names):
            self.loaded = {name: rows.only(indices) for name, rows in self.known.items()}


def _session(
    request: FitRequest,
    rows: _Rows,
    recipe: Recipe,
    registry: Registry,
    source: str,
    fields: Mapping[str, str],
) -> Session:
    """Plan the trainings of a run and describe it; nothing is written."""
    parts = _plan(request, rows, recipe, registry)
    config = describe_run(
        rows.training, parts, recipe, registry, source=source, source_fields=fields
    )
    return Session(
        Run(request.out, config),
        rows.loaded,
        parts,
        registry,
        request.device,
        tensorboard=request.tensorboard,
        known=rows_for_filters(rows.training, parts, recipe, registry),
        pretraining_rows=rows.known["validation"],
    )


def _plan(request: FitRequest, rows: _Rows, recipe: Recipe, registry: Registry) -> list[Part]:
    """Build what will be trained; refuse a batch size that the generator would not use."""
    known = rows.known["training"]
    parts = plan_parts(rows.loaded["training"], recipe, registry, pretraining=known)
    own = parts[0].generator.batch_size(0)
    is_field = "batch_size" in registry.generators[recipe.generator].config.model_fields
    if own is not None and not is_field and request.batch_size not in (None, own):
        raise ConfigError(
            f"Generator {recipe.generator!r} chooses its batch size itself, {own} at first; leave "
            f"--batch-size out, or --set its own field (ganaug plugins show {recipe.generator})."
        )
    return parts


def _forget(run: Run, void: Sequence[int | None]) -> None:
    """Remove trainings that begin anew from a run, and say so."""
    begun = sum(bool(run.recorded_history(index)) for index in void)
    for index in void:
        run.forget_training(index)
    if begun:
        anew = f"{begun} fine-tunings begin" if begun > 1 else "fine-tuning begins"
        output().print(f"The pretraining goes on, so the {anew} anew.")


def _check_splits(
    request: FitRequest, images: LabelledImages, splits: tuple[str, ...], recipe: Recipe
) -> None:
    again = cut_rows(
        images,
        hash_images(images),
        holdout=request.holdout,
        split=request.split,
        random_state=recipe.random_state,
        validate=recipe.eval_every is not None,
    )
    if again != splits:
        option = "--holdout" if request.split is None else "--split"
        raise ConfigError(
            f"{option} would change which rows are held out, and the run has trained on the "
            "others. Leave it out, or fit a new run."
        )


def _check_single_process() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "ganaug fit runs as one process; under torchrun, train with ganaug.train in a script."
        )
