"""A fitted augmenter as a run directory, and back."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganaug.files import new_folder
from ganaug.hashes import ImageHashes
from ganaug.items import ItemFormat
from ganaug.model import ImageModel
from ganaug.pixels import to_pil
from ganaug.registry import Registry
from ganaug.run_config import FormConfig, RunConfig
from ganaug.runs import Run
from ganaug.spec import LabelledImages, class_indices
from ganaug.splits import write_splits
from ganaug.stopping import History

__all__ = ["Fitted", "Record", "read_fitted", "write_fitted"]


@dataclass(frozen=True, slots=True)
class Record:
    """What a run holds beside the model.

    rows: all rows, without pixels; their splits say which validated, if any did. hashes: of
        these rows. histories: by part.
    """

    config: RunConfig
    rows: LabelledImages
    hashes: ImageHashes
    histories: tuple[History, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What an augmenter takes from a run.

    form: of the images it was fitted on. labels: as the caller knows them, by class index.
    to_add: images to add by class index.
    """

    config: RunConfig
    model: ImageModel
    form: ItemFormat
    labels: list[Any]
    to_add: dict[int, int]


def write_fitted(
    path: str | Path,
    record: Record | Path,
    model: ImageModel,
    form: ItemFormat,
    labels: Sequence[Any],
    to_add: Mapping[int, int],
) -> None:
    """Write a run directory, whole or not at all; from a path, a copy of the run there."""
    with new_folder(path) as folder:
        if isinstance(record, Path):
            shutil.copytree(record, folder, dirs_exist_ok=True)
            return
        described = {"form": _describe_form(form, labels, to_add)}
        run = Run.create(folder, record.config.model_copy(update=described))
        splits = record.rows.splits or ("training",) * len(record.rows)
        write_splits(folder / "splits.csv", record.rows, splits)
        run.write_references(record.hashes, splits)
        for index, history in zip(run.trainings, record.histories, strict=True):
            run.write_history(index, history)
        run.write_model(model)
        run.write_card(model)
        run.seal()


def read_fitted(path: str | Path) -> Fitted:
    """Read what `write_fitted` or ``ganaug fit`` wrote.

    The command line's runs have no form: tensors (C, H, W), and the trained classes grow to the
    largest one.
    """
    run = Run.open(path)
    config, model = run.config, run.read_model(Registry.load())
    if config.form is not None:
        return Fitted(
            config=config,
            model=model,
            form=_rebuild_form(config.form, model.output.value_range),
            labels=list(config.form.labels),
            to_add={int(index): n for index, n in config.form.to_add.items()},
        )
    names = config.source_class_names
    example = torch.from_numpy(np.zeros((config.channels, 8, 8), dtype=model.output.dtype))
    most = max(config.counts.values())
    trained = class_indices(config.class_names, names)
    return Fitted(
        config=config,
        model=model,
        form=ItemFormat.of([(example, 0)], model.output.value_range),
        labels=list(range(len(names))),
        to_add={i: most - config.counts[names[i]] for i in trained},
    )


def _describe_form(
    form: ItemFormat, labels: Sequence[Any], to_add: Mapping[int, int]
) -> FormConfig:
    kind = "pillow"
    if issubclass(form.image_type, Tensor | np.ndarray):
        kind = "tensor" if issubclass(form.image_type, Tensor) else "array"
    return FormConfig.from_fields(
        {
            "kind": kind,
            "layout": form.layout,
            "dtype": str(form.dtype or form.pixel_dtype).removeprefix("torch."),
            "channels": form.channels,
            "labels": list(labels),
            "to_add": {str(index): n for index, n in to_add.items()},
        }
    )


def _rebuild_form(config: FormConfig, value_range: tuple[float, float]) -> ItemFormat:
    """Return the format of an example that is made to be like the described images."""
    shapes = {"HW": (8, 8), "HWC": (8, 8, config.channels), "CHW": (config.channels, 8, 8)}
    example: Any = np.zeros(shapes[config.layout], dtype=config.dtype)
    if config.kind == "tensor":
        example = torch.from_numpy(example)
    elif config.kind == "pillow":
        example = to_pil(np.moveaxis(example, 2, 0))
    return ItemFormat.of([(example, 0)], value_range)
