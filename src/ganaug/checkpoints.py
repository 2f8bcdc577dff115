"""Training states as safetensors: tensors beside a JSON tree, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganaug.errors import RunError
from ganaug.files import write_bytes

__all__ = ["read_tensors", "read_tree", "write_tensors", "write_tree"]


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write named tensors, contiguous and on the CPU, with a JSON header. Whole or not at all."""
    apart = {
        # A copy each: safetensors refuses channels-last strides and shared storage.
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    write_bytes(path, save(apart, metadata={"ganaug": json.dumps(header)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote. Raises RunError when it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads(stream.metadata()["ganaug"])
            names = list(stream.keys())  # no mapping: it has no iterator
            return {name: stream.get_tensor(name) for name in names}, header
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing; the run is incomplete.") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} is damaged ({error}). Restore it from a copy, or fit the run again."
        ) from error


def write_tree(path: Path, state: Any) -> None:
    """Write nested dicts and lists of tensors, numbers, strings and None."""
    tensors: dict[str, Tensor] = {}
    tree = _take_apart(state, tensors)
    write_tensors(path, tensors, {"tree": tree})


def read_tree(path: Path) -> Any:
    """Read what `write_tree` wrote. Raises RunError when it is missing or damaged."""
    tensors, header = read_tensors(path)
    return _put_together(header["tree"], tensors)


def _take_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):  # pairs, since the keys of optimizer states are numbers
        return {"dict": [[key, _take_apart(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_take_apart(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_take_apart(item, tensors) for item in value]
    return value


def _put_together(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_together(item, tensors) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "tuple":
            return tuple(_put_together(item, tensors) for item in content)
        return {key: _put_together(item, tensors) for key, item in content}
    return value
