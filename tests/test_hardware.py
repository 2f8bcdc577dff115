from __future__ import annotations

import pytest
import torch
from torch import nn

from ganaug.errors import ConfigError
from ganaug.hardware import average, describe_device, fuse, open_fabric


def test_optimizers_are_fused_unless_their_author_chose():
    parameters = list(nn.Linear(2, 2).parameters())
    plain = torch.optim.Adam(parameters)
    fuse(plain)
    assert plain.param_groups[0]["fused"] is True
    for chosen in ({"foreach": True}, {"fused": False}):
        adam = torch.optim.Adam(parameters, **chosen)
        fuse(adam)
        assert not adam.param_groups[0]["fused"]
    rprop = torch.optim.Rprop(parameters)
    fuse(rprop)
    assert "fused" not in rprop.param_groups[0]


def test_fused_and_plain_adam_step_alike():
    torch.manual_seed(0)
    one, two = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    two.load_state_dict(one.state_dict())
    one.to(memory_format=torch.channels_last)
    fused, plain = torch.optim.Adam(one.parameters()), torch.optim.Adam(two.parameters())
    fuse(fused)
    x = torch.randn(2, 3, 8, 8)
    for _ in range(3):
        for module, adam in ((one, fused), (two, plain)):
            adam.zero_grad()
            module(x).square().mean().backward()
            adam.step()
    assert torch.allclose(one.weight, two.weight, atol=1e-6)


def test_alone_there_is_nothing_to_average():
    tensor = torch.randn(3)
    kept = tensor.clone()
    average([tensor])
    assert torch.equal(tensor, kept)


def test_a_device_is_described_with_what_it_computes_in(monkeypatch):
    monkeypatch.setattr("ganaug.hardware.computes_in_bf16", lambda kind: True)
    assert describe_device("cpu") == "cpu, bf16"
    monkeypatch.setattr("ganaug.hardware.computes_in_bf16", lambda kind: False)
    assert describe_device("cpu") == "cpu, float32"


def test_a_device_that_is_not_there_is_one_clear_line():
    fabric = open_fabric("cpu", "32-true")
    assert fabric.device.type == "cpu"
    assert fabric.world_size == 1
    there = torch.accelerator.current_accelerator(check_available=True)
    missing = "xpu" if there is None or there.type != "xpu" else "mps"
    with pytest.raises(ConfigError, match=f"This machine has no '{missing}'"):
        open_fabric(missing, "auto")
