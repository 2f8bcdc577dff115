"""Runs begun and gone on with: everything is checked before anything is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ganaug.cli.console import output, status
from ganaug.cli.requests import FitRequest, extended_recipe, make_recipe, recorded_fields
from ganaug.cli.rows import cut_rows, loaded_rows, training_rows
from ganaug.cli.summary import print_header
from ganaug.cli.tensorboard import check_tensorboard
from ganaug.errors import ConfigError, RunError
from ganaug.fitting import (
    Part,
    Recipe,
    plan_parts,
    rows_for_filters,
)
from ganaug.hashes import hash_images
from ganaug.registry import Registry
from ganaug.run_config import describe_run
from ganaug.runs import Run
from ganaug.sources import check_outside, open_images
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
        rows = loaded_rows(images, splits, request.classes, recipe.size)
    parts = _plan(rows["training"], recipe, registry)
    config = describe_run(
        training_rows(images, splits),
        parts,
        recipe,
        registry,
        source=request.data,
        source_fields=request.fields,
    )
    session = Session(
        Run(request.out, config),
        rows,
        parts,
        registry,
        request.device,
        tensorboard=request.tensorboard,
        known=rows_for_filters(training_rows(images, splits), parts, recipe, registry),
    )
    session.begin()
    print_header(session, images, splits)
    Run.create(request.out, config)
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
        rows = loaded_rows(images, splits, run.config.class_names, recipe.size)
    parts = _plan(rows["training"], recipe, registry)
    source = run.config.source
    config = describe_run(
        training_rows(images, splits),
        parts,
        recipe,
        registry,
        source=source,
        source_fields=fields,
    )
    if config.fingerprint != run.config.fingerprint:
        raise RunError(
            f"These are not the images that {run.path} was fitted on, which were {source}: names "
            "and labels are the same, pixels differ. Give the images as they were, or fit a new "
            "run."
        )
    session = Session(
        Run(request.out, config),
        rows,
        parts,
        registry,
        request.device,
        tensorboard=request.tensorboard,
        known=rows_for_filters(training_rows(images, splits), parts, recipe, registry),
    )
    session.restore()
    if session.nothing_to_do():
        output().print(
            f"{run.path} is finished: {session.reasons()}. To train on, give more --images or "
            "--minutes.",
            soft_wrap=True,
        )
        return 0
    session.begin()
    hashes = None if run.has_references else hash_images(images)  # an earlier version has none
    run.begin_anew()
    if hashes is not None:
        run.write_references(hashes, splits)
    session.run.write_config()
    print_header(session, images, splits)
    return session.complete()


def _plan(images: LabelledImages, recipe: Recipe, registry: Registry) -> list[Part]:
    """Build what will be trained; refuse a batch size that the generator would not use."""
    parts = plan_parts(images, recipe, registry)
    own = parts[0].generator.batch_size(0)
    default = Recipe.model_fields["batch_size"].default
    if own is not None and recipe.batch_size not in (own, default):
        raise ConfigError(
            f"Generator {recipe.generator!r} chooses its batch size itself, {own} at first; "
            "leave --batch-size out."
        )
    return parts


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
