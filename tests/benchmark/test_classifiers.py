from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from ganaug.benchmark.classifiers import CLASSIFIERS, build_classifier
from ganaug.errors import ConfigError, ShapeError


def count(model: nn.Module, *, statistics: bool = False) -> int:
    total = sum(p.numel() for p in model.parameters())
    if statistics:
        total += sum(b.numel() for b in model.buffers() if b.is_floating_point())
    return total


def linear(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))


@pytest.mark.parametrize(
    ("name", "channels", "size", "classes"),
    [
        ("small-cnn", 3, 28, 7),
        ("small-cnn", 1, 64, 2),
        ("small-cnn", 1, (40, 100), 3),
        ("bone-xray", 1, 64, 2),
        ("bone-xray", 1, 64, 3),
        ("mammo", 1, 128, 2),
        ("mammo", 1, 128, 3),
        ("resnet18", 3, 28, 7),
        ("resnet18", 1, 64, 2),
        ("resnet50", 1, 32, 2),
        (linear, 2, (5, 6), 4),
    ],
)
def test_images_of_the_size_it_was_built_for_give_a_logit_a_class(name, channels, size, classes):
    model = build_classifier(name, channels, size, classes, seed=0)
    height, width = (size, size) if isinstance(size, int) else size
    assert model.training
    assert model(torch.zeros(3, channels, height, width)).shape == (3, classes)


def test_the_fracture_studys_classifier_has_its_13585_numbers():
    model = build_classifier("bone-xray", 1, 64, 2, seed=0)
    assert (count(model), count(model, statistics=True)) == (13_489, 13_585)


def test_the_mammography_studys_classifier_has_its_357768_weights():
    assert count(build_classifier("mammo", 1, 128, 2, seed=0)) == 357_768


def test_a_single_logit_of_two_classes_is_a_probability_by_the_sigmoid():
    model = build_classifier("bone-xray", 1, 64, 2, seed=0).eval()
    images = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    torch.testing.assert_close(logits.softmax(1)[:, 1], model.network(images)[:, 0].sigmoid())


@pytest.mark.parametrize(("size", "places"), [(28, 4), (64, 2)])
def test_a_resnet_keeps_the_resolution_of_small_images(size, places):
    model = build_classifier("resnet18", 3, size, 2, seed=0)
    seen: list[torch.Size] = []
    model.layer4.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model.eval()(torch.zeros(1, 3, size, size))
    assert seen[0][2:] == (places, places)


@pytest.mark.parametrize("name", ["small-cnn", "resnet18"])
def test_weights_follow_from_the_seed_alone_and_leave_the_callers_numbers(name):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = build_classifier(name, 3, 28, 7, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    same = build_classifier(name, 3, 28, 7, seed=5).state_dict()
    other = build_classifier(name, 3, 28, 7, seed=6).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "channels", "size", "message"),
    [
        ("bone-xray", 3, 28, "bone-xray takes images of 1 channel and 64x64 .* got 3 .* of 28x28"),
        (
            "mammo",
            1,
            64,
            "mammo takes .* 128x128 pixels; got 1 .* 64x64. Set size=128 and channels",
        ),
        ("small-cnn", 1, 7, "at least 8 pixels a side; got 7x7"),
    ],
)
def test_images_that_a_classifier_cannot_take_are_refused_with_what_to_set(
    name, channels, size, message
):
    with pytest.raises(ShapeError, match=message):
        build_classifier(name, channels, size, 2, seed=0)


def test_a_factory_that_does_not_fit_its_images_or_classes_is_refused():
    def narrow(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(10, classes))

    def one_output(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
        return linear(channels, size, 1)

    with pytest.raises(ShapeError, match=r"narrow cannot take images of 1 channel.* of 4x4 pixels"):
        build_classifier(narrow, 1, 4, 2, seed=0)
    with pytest.raises(ShapeError, match=r"shape \(2, 2\) for two images .* got \(2, 1\)"):
        build_classifier(one_output, 1, 4, 2, seed=0)
    with pytest.raises(ConfigError, match=r"should be an nn.Module; got int"):
        build_classifier(lambda *_: 3, 1, 4, 2, seed=0)


def test_a_single_class_is_refused():
    with pytest.raises(ConfigError, match="at least two classes; got 1"):
        build_classifier("small-cnn", 3, 28, 1, seed=0)


@pytest.fixture
def without_timm(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "timm" else find(name)
    )


@pytest.fixture
def fake_timm(monkeypatch) -> ModuleType:
    """What is used of timm, with one model that takes images of 4x4 pixels alone."""
    timm = ModuleType("timm")
    timm.__spec__ = importlib.util.spec_from_loader("timm", loader=None)
    timm.list_models = lambda: ["tiny_net"]
    timm.is_model = lambda name: name == "tiny_net"
    timm.create_model = lambda name, *, pretrained, in_chans, num_classes: (
        pretrained or linear(in_chans, (4, 4), num_classes)
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    return timm


@pytest.mark.usefixtures("without_timm")
def test_an_unknown_name_lists_the_choices_and_says_how_to_get_more():
    with pytest.raises(ConfigError, match=r"no classifier 'smal-cnn'. Did you mean 'small-cnn'"):
        build_classifier("smal-cnn", 3, 28, 7, seed=0)
    with pytest.raises(ConfigError, match=r"resnet50; with timm installed \(pip install timm\)"):
        build_classifier("tiny_net", 3, 28, 7, seed=0)


@pytest.mark.usefixtures("fake_timm")
def test_a_name_of_timms_is_built_by_timm_where_it_is_installed():
    assert count(build_classifier("tiny_net", 3, 4, 2, seed=0)) == 3 * 16 * 2 + 2
    with pytest.raises(ConfigError, match="nor has timm .* Did you mean 'tiny_net'"):
        build_classifier("tiny_nett", 3, 4, 2, seed=0)
    with pytest.raises(ShapeError, match="tiny_net cannot take images of 3 .* of 5x5 pixels"):
        build_classifier("tiny_net", 3, 5, 2, seed=0)


@pytest.mark.usefixtures("fake_timm")
def test_names_that_come_along_are_never_timms(fake_timm):
    fake_timm.create_model = None
    assert "resnet18" in CLASSIFIERS
    build_classifier("small-cnn", 1, 8, 2, seed=0)
