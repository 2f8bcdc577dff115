"""Devices, precision and processes, through Lightning Fabric."""

from __future__ import annotations

import ctypes
import logging
import os
import warnings
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "Precision",
    "average",
    "computes_in_bf16",
    "describe_device",
    "find_device",
    "fuse",
    "keep_freed_memory",
    "open_fabric",
    "share_state",
]

Precision = Literal["auto", "32-true", "bf16-mixed"]


def open_fabric(device: str, precision: str) -> Fabric:
    """Return a launched Fabric for this process.

    device: "auto" or a torch device, such as "cpu". precision: "auto" (bf16 where the processor
    computes in it, float32 elsewhere), "32-true" or "bf16-mixed". Under torchrun the processes
    are joined. Raises ConfigError for a device or precision there is not.
    """
    from lightning_fabric import Fabric

    if precision not in get_args(Precision):
        raise ConfigError(
            f"precision must be one of {', '.join(get_args(Precision))}; got {precision!r}."
        )
    found = find_device(device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    on_this_host = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
    if precision == "auto":
        precision = "bf16-mixed" if computes_in_bf16(found.type) else "32-true"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Fabric advises on its own data loaders and launchers, which the loop does not use.
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=found.type,
            devices=on_this_host if processes > 1 else 1 if found.index is None else [found.index],
            num_nodes=processes // on_this_host,
            strategy="ddp" if processes > 1 else "auto",
            precision=precision,  # type: ignore[arg-type]  # checked above
        )
        fabric.launch()
    return fabric


def computes_in_bf16(device_type: str) -> bool:
    """Return whether a kind of device ("cpu", "cuda", ...) has instructions for bf16."""
    if device_type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    supported = getattr(torch.get_device_module(device_type), "is_bf16_supported", None)
    return bool(supported and supported())


def find_device(name: str) -> torch.device:
    """Return a torch device; "auto" is the accelerator that this machine has, or the CPU.

    Raises ConfigError for a device there is not.
    """
    there = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return torch.device("cpu" if there is None else there.type)
    try:
        wanted = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"No device is called {name!r}; try 'auto' or 'cpu'.") from error
    if wanted.type != "cpu" and (there is None or there.type != wanted.type):
        found = "only the cpu" if there is None else there.type
        raise ConfigError(f"This machine has no {name!r}, {found}. Use device='auto'.")
    return wanted


def describe_device(name: str) -> str:
    """Return which device it is, and in what it computes. Raises ConfigError as `find_device`."""
    device = find_device(name)
    if device.type == "cpu":
        described = "cpu"
    else:
        module = torch.get_device_module(device)
        described = f"{device}, {module.get_device_name(device)}"
    return f"{described}, {'bf16' if computes_in_bf16(device.type) else 'float32'}"


def keep_freed_memory(limit: int = 1 << 30) -> None:
    """Let glibc's allocator keep up to `limit` freed bytes for the next step.

    By default it hands activations back to the system after each step and takes zeroed pages
    anew in the next, 15,000 page faults a step of a 64 px DCGAN. Does nothing elsewhere.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # their names in malloc.h
        mallopt(mmap_threshold, 32 << 20)  # where glibc's own adaptation would end
        mallopt(trim_threshold, limit)


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Use the optimizer's fused implementation where it has one and its author left the choice."""
    fusable = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad)
    if isinstance(optimizer, fusable):
        for group in optimizer.param_groups:
            unset = group.get("fused") is None and not group.get("foreach")
            if unset and not group.get("differentiable"):
                group["fused"] = True


def share_state(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if torch.distributed.is_initialized():
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor.data, src=0)


def average(tensors: list[torch.Tensor]) -> None:
    """Average tensors over the processes, in place, in one message."""
    if not torch.distributed.is_initialized() or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))
