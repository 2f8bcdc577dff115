"""The classifiers that a benchmark trains, by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from ganaug.errors import ConfigError, ShapeError, nearest
from ganaug.randomness import seeded

__all__ = ["CLASSIFIERS", "ClassifierFactory", "build_classifier"]

#: Takes channels, (height, width) and the number of classes; returns a module from float32
#: (N, C, H, W) in [-1, 1] to logits (N, classes).
ClassifierFactory = Callable[[int, tuple[int, int], int], nn.Module]

#: The most pixels a side that small-cnn looks at without halving; the fewest a ResNet halves.
_FINE, _SMALL = 40, 64


def build_classifier(
    classifier: str | ClassifierFactory,
    channels: int,
    size: int | tuple[int, int],
    classes: int,
    seed: int,
) -> nn.Module:
    """Build a classifier with weights that follow from the seed alone.

    classifier: a name of `CLASSIFIERS`, the name of a timm model where timm is installed, or a
    function of channels, (height, width) and classes. size: pixels a side, or height and width.

    Returns a module from float32 (N, channels, height, width) in [-1, 1] to logits (N, classes).
    The caller's random numbers are not touched.

    Raises ConfigError for an unknown name or fewer than two classes, ShapeError where the
    classifier cannot take such images or does not return a logit a class.
    """
    if classes < 2:
        raise ConfigError(f"A classifier needs at least two classes; got {classes}.")
    height, width = (size, size) if isinstance(size, int) else size
    factory = _find(classifier) if isinstance(classifier, str) else classifier
    name = classifier if isinstance(classifier, str) else getattr(factory, "__name__", "given")
    with seeded(seed):
        model = factory(channels, (height, width), classes)
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"The classifier {name} should be an nn.Module; got {type(model).__name__}."
            )
        _try(model, name, (channels, height, width), classes)
    return model


def _try(model: nn.Module, name: str, shape: tuple[int, int, int], classes: int) -> None:
    """Raise ShapeError unless images of that shape give a logit a class."""
    training = model.training
    images = "{} channel(s) of {}x{} pixels".format(*shape)
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(2, *shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ShapeError(
            f"The classifier {name} cannot take images of {images}: {reason}. "
            "Set size and channels of the study, or choose another classifier."
        ) from error
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != (2, classes):
        raise ShapeError(
            f"The classifier {name} should return logits of shape (2, {classes}) for two images "
            f"of {images} and {classes} classes; got {found}."
        )
    model.train(training)


def _find(name: str) -> ClassifierFactory:
    if name in CLASSIFIERS:
        return CLASSIFIERS[name]
    choices = f"Choose from {', '.join(CLASSIFIERS)}"
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(
            f"There is no classifier {name!r}.{nearest(name, CLASSIFIERS)} {choices}; with timm "
            "installed (pip install timm), any of its names will do."
        )
    import timm  # type: ignore[import-not-found, unused-ignore]  # optional, and seldom there

    if not timm.is_model(name):
        raise ConfigError(
            f"There is no classifier {name!r}, nor has timm a model of that name."
            f"{nearest(name, [*CLASSIFIERS, *timm.list_models()])} {choices}, or a name of "
            "timm.list_models()."
        )
    return lambda channels, size, classes: cast(
        nn.Module,
        timm.create_model(name, pretrained=False, in_chans=channels, num_classes=classes),
    )


class _OneLogit(nn.Module):
    """A network of one logit as one of two classes; softmax is then the sigmoid of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logit = self.network(images)
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def _outputs(classes: int, build: Callable[[int], nn.Module]) -> nn.Module:
    """Return a network of one output for two classes, of one output a class for more."""
    return _OneLogit(build(1)) if classes == 2 else build(classes)


def _check(name: str, channels: int, size: tuple[int, int], expected: int) -> None:
    if (channels, *size) != (1, expected, expected):
        raise ShapeError(
            f"The classifier {name} takes images of 1 channel and {expected}x{expected} pixels; "
            f"got {channels} channel(s) of {size[0]}x{size[1]}. Set size={expected} and "
            "channels=1 in the study, or choose small-cnn."
        )


def _small_cnn(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Five convolutions with batch normalisation, and the mean over all places.

    Larger images are halved by further convolutions first, until a side has 40 pixels or fewer.
    """
    if min(size) < 8:
        raise ShapeError(
            f"The classifier small-cnn takes images of at least 8 pixels a side; got "
            f"{size[0]}x{size[1]}. Resize with size=32."
        )
    layers: list[nn.Module] = []
    side = max(size)
    while side > _FINE:
        layers += _layer(channels, 16, 2)
        channels, side = 16, -(-side // 2)
    for width, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        layers += _layer(channels, width, stride)
        channels = width
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, classes)]
    return nn.Sequential(*layers, *pool)


def _layer(channels: int, width: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]


def _bone_xray(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """The CNN of the fracture study: 13,489 weights and 96 running statistics for two classes."""
    _check("bone-xray", channels, size, 64)
    return _outputs(
        classes,
        lambda outputs: nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=3),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(32),
            nn.Conv2d(32, 16, 3, stride=3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 3),
            nn.BatchNorm2d(16),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(64, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.2),
            nn.Linear(128, outputs),
        ),
    )


def _mammo(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """The discriminator of the mammography study, at 9 features: 357,768 weights for two classes.

    Weights start as N(0, 0.02), those of batch normalisation as N(1, 0.02) (Radford et al. 2016).
    """
    _check("mammo", channels, size, 128)

    def build(outputs: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Conv2d(1, 9, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for before, after in ((9, 18), (18, 36), (36, 72), (72, 90)):
            layers += [
                nn.Conv2d(before, after, 6, 2, 2, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        return nn.Sequential(*layers, nn.Conv2d(90, outputs, 4, 1, 0, bias=False), nn.Flatten())

    model = _outputs(classes, build)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return model


def _resnet(name: str) -> ClassifierFactory:
    def build(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
        """Torchvision's, from scratch.

        Below 64 pixels a side, a 3x3 convolution of stride 1 replaces the stem's 7x7 one and its
        pooling, which would leave a place or two (He et al. 2016, section 4.2).
        """
        import torchvision

        model: Any = getattr(torchvision.models, name)(weights=None, num_classes=classes)
        small = min(size) < _SMALL
        if small or channels != 3:
            kernel, stride = (3, 1) if small else (7, 2)
            model.conv1 = nn.Conv2d(channels, 64, kernel, stride, kernel // 2, bias=False)
            nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        if small:
            model.maxpool = nn.Identity()
        return cast(nn.Module, model)

    return build


#: The classifiers that come along, by name.
CLASSIFIERS: Final[Mapping[str, ClassifierFactory]] = MappingProxyType(
    {
        "small-cnn": _small_cnn,
        "bone-xray": _bone_xray,
        "mammo": _mammo,
        "resnet18": _resnet("resnet18"),
        "resnet50": _resnet("resnet50"),
    }
)
