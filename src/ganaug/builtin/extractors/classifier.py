"""Features of a small network that learned the classes of the training images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganaug import FeatureExtractor, ImageSpec, LabelledImages
from ganaug.builtin.extractors.config import ClassifierConfig
from ganaug.builtin.extractors.inputs import (
    batched,
    check_images,
    check_spec,
    digest,
    shrink,
    signed_batches,
    take_state,
)
from ganaug.errors import ConfigError, NotFittedError

__all__ = ["ClassifierFeatures"]

_VERSION = 1
_SMALLEST, _LARGEST = 8, 64
_BATCH = 64

#: Above so many pixels a side, the first convolution halves the image.
_FINE = 40


class ClassifierFeatures(FeatureExtractor):
    """What the last layer but one of a classifier says of an image, and its logits.

    Five convolutions with batch normalisation and global average pooling, trained on the rows
    that `prepare` is given: classes drawn equally often, images flipped left to right at random
    and shifted by up to an eighth of each side, AdamW with one cycle of the learning rate (Smith
    and Topin 2019). The same seed, images and threads give the same features on the CPU. It
    knows its training images better than any others, so that no metric should judge the training
    rows by it as if they were new.

    Takes 1 or 3 channels, at least 8 pixels a side; raises ShapeError for other images,
    ConfigError for a single class, and NotFittedError before `prepare`.
    """

    resize = f"sides above {_LARGEST} px to {_LARGEST} px, bilinear with antialiasing"

    def __init__(self, config: ClassifierConfig, spec: ImageSpec) -> None:
        check_spec("classifier", spec, smallest=_SMALLEST)
        if spec.num_classes < 2:
            raise _one_class()
        self._config = config
        self._channels = self.channels = spec.channels
        self._classes = spec.num_classes
        self._stride = 2 if min(_LARGEST, max(spec.height, spec.width)) > _FINE else 1
        self.dimension = config.dimension
        self._body: nn.Sequential | None = None
        self._head: nn.Linear | None = None

    def prepare(self, images: LabelledImages) -> None:
        """Train on labelled images. Raises ConfigError unless they are of two classes or more."""
        labels = torch.from_numpy(images.labels)
        if len(labels.unique()) < 2:
            raise _one_class()
        pixels = torch.cat([shrink(self._check(part), _LARGEST) for part in signed_batches(images)])
        rng = torch.Generator().manual_seed(self._config.seed)
        network = self._build().to_empty(device="cpu")
        _initialise(network, rng)
        with torch.enable_grad():
            _train(network, pixels, labels, self._config, rng)
        self._keep(network)

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, dimension) for float32 images (N, C, H, W) in [-1, 1]."""
        body, _ = self._prepared()
        body.to(images.device)
        return batched(
            lambda part: body(shrink(part, _LARGEST)), self._check(images), self.dimension
        )

    def logits(self, images: Tensor) -> Tensor:
        """Return float32 (N, classes) for images as `extract` takes them, classes equally likely.

        They are of a training that saw all classes equally often, whatever their numbers.
        """
        body, head = self._prepared()
        body.to(images.device)
        head.to(images.device)
        return batched(
            lambda part: head(body(shrink(part, _LARGEST))), self._check(images), self._classes
        )

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over the trained weights and the version of this code."""
        facts = {"extractor": "classifier", "version": _VERSION, "stride": self._stride}
        return digest(facts, self.state_dict())

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the trained weights and running statistics, by name."""
        body, head = self._prepared()
        state = nn.Sequential(body, head).state_dict()
        return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned. Raises DataError for anything else."""
        network = self._build()
        expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
        taken = take_state("classifier", state, expected)
        own = {name: tensor.clone() for name, tensor in taken.items()}
        network.load_state_dict(own, assign=True)  # in place of memory that was never there
        self._keep(network)

    def _build(self) -> nn.Sequential:
        """Return the network without memory for its weights, so that nobody's RNG is touched."""
        with torch.device("meta"):
            body = nn.Sequential(
                *_layer(self._channels, 16, self._stride),
                *_layer(16, 32, 2),
                *_layer(32, 32, 1),
                *_layer(32, 64, 2),
                *_layer(64, self.dimension, 1),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            return nn.Sequential(body, nn.Linear(self.dimension, self._classes))

    def _keep(self, network: nn.Sequential) -> None:
        network.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
        body, head = network
        assert isinstance(body, nn.Sequential)
        assert isinstance(head, nn.Linear)
        self._body, self._head = body, head

    def _prepared(self) -> tuple[nn.Sequential, nn.Linear]:
        if self._body is None or self._head is None:
            raise NotFittedError(
                "The extractor classifier is not trained yet; call prepare(training_images) first."
            )
        return self._body, self._head

    def _check(self, images: Tensor) -> Tensor:
        check_images("classifier", images, channels=self._channels, smallest=_SMALLEST)
        return images


def _one_class() -> ConfigError:
    return ConfigError(
        "The extractor classifier needs training images of at least two classes; got one class. "
        "Choose an extractor that needs no classes, such as random-conv."
    )


def _layer(channels: int, out: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    ]


def _initialise(network: nn.Module, rng: torch.Generator) -> None:
    """Give weights their first values (He et al. 2015), with numbers of `rng` alone."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=rng)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, generator=rng)
            nn.init.zeros_(module.bias)


def _train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: ClassifierConfig,
    rng: torch.Generator,
) -> None:
    network.train().to(memory_format=torch.channels_last)
    steps = -(-config.total_images // _BATCH)
    adam = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, config.learning_rate, total_steps=steps, pct_start=0.2
    )
    for _ in range(steps):
        rows = _draw_rows(labels, rng)
        loss = cross_entropy(network(_jitter(images[rows], rng)), labels[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()


def _draw_rows(labels: Tensor, rng: torch.Generator) -> Tensor:
    """Return rows of one batch: a class, all being equally likely, then one of its rows."""
    counts = torch.bincount(labels)
    present = counts.nonzero().flatten()
    classes = present[torch.randint(len(present), (_BATCH,), generator=rng)]
    places = (torch.rand(_BATCH, generator=rng) * counts[classes]).long()
    starts = counts.cumsum(0) - counts
    return labels.argsort(stable=True)[starts[classes] + places]


def _jitter(images: Tensor, rng: torch.Generator) -> Tensor:
    """Flip images left to right at random and shift them by up to an eighth, edges repeated."""
    n, _, height, width = images.shape
    down = torch.randint(-(height // 8), height // 8 + 1, (n, 1), generator=rng)
    right = torch.randint(-(width // 8), width // 8 + 1, (n, 1), generator=rng)
    flipped = torch.rand(n, 1, generator=rng) < 0.5
    y = (torch.arange(height) + down).clamp(0, height - 1)
    x = (torch.arange(width) + right).clamp(0, width - 1)
    x = torch.where(flipped, x.flip(1), x)
    moved = images[torch.arange(n)[:, None, None], :, y[:, :, None], x[:, None, :]]
    return moved.permute(0, 3, 1, 2)
