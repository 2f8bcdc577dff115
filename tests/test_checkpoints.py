from __future__ import annotations

import pytest
import torch

from ganaug.checkpoints import read_tensors, read_tree, write_tensors, write_tree
from ganaug.errors import RunError


def test_a_tree_comes_back_as_it_was(tmp_path):
    path = tmp_path / "state.safetensors"
    shared = torch.arange(6.0)
    state = {
        "numbers": [1, 0.1, None, True, "text"],
        "pair": (1, 2),
        "moments": {0: {"step": torch.tensor(3.0), "avg": torch.randn(2, 3, 4, 4)}, 7: {}},
        "bytes": torch.arange(4, dtype=torch.uint8),
        "shared": [shared, shared[:3]],
        "last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    write_tree(path, state)
    again = read_tree(path)
    assert again["numbers"] == state["numbers"]
    assert again["pair"] == (1, 2)
    assert list(again["moments"]) == [0, 7]
    assert torch.equal(again["moments"][0]["avg"], state["moments"][0]["avg"])
    assert torch.equal(again["shared"][1], shared[:3])
    assert torch.equal(again["last"], state["last"])
    assert again["bytes"].dtype == torch.uint8


def test_a_missing_or_damaged_file_is_one_clear_line(tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.raises(RunError, match="is missing"):
        read_tensors(path)
    write_tensors(path, {"a": torch.ones(100)}, {"x": 1})
    assert read_tensors(path)[1] == {"x": 1}
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match="is damaged") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"no tensors here")
    with pytest.raises(RunError, match="is damaged"):
        read_tensors(path)
