"""The form of a fitted augmenter's images in ``run.toml``, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganaug.datasets import ItemFormat
from ganaug.pixels import to_pil
from ganaug.runs import FormConfig

__all__ = ["read_form", "write_form"]


def write_form(form: ItemFormat, labels: Sequence[Any], to_add: Mapping[int, int]) -> FormConfig:
    """Describe the images and labels that an augmenter was fitted on."""
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


def read_form(config: FormConfig, value_range: tuple[float, float]) -> ItemFormat:
    """Return the format of an example that is made to be like the described images."""
    shapes = {"HW": (8, 8), "HWC": (8, 8, config.channels), "CHW": (config.channels, 8, 8)}
    example: Any = np.zeros(shapes[config.layout], dtype=config.dtype)
    if config.kind == "tensor":
        example = torch.from_numpy(example)
    elif config.kind == "pillow":
        example = to_pil(np.moveaxis(example, 2, 0))
    return ItemFormat.of([(example, 0)], value_range)
