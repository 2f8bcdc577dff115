"""Tinygan: a small conditional GAN."""

import torch
from ganaug import Config, Generator, GeneratorPlugin, Loss, Phase, hookimpl
from ganaug.errors import ShapeError
from torch import nn
from torch.nn.functional import one_hot, softplus


class TinyganConfig(Config):
    width: int = 32  # channels at full size


def up(channels, out):
    return nn.Upsample(scale_factor=2), nn.Conv2d(channels, out, 3, 1, 1), nn.ReLU()


class Tinygan(Generator):
    def __init__(self, config, spec):
        super().__init__()
        w, side, classes = config.width, spec.height // 4, spec.num_classes
        if spec.shape[1:] != (4 * side, 4 * side) or not side:
            raise ShapeError(f"tinygan makes squares, sides a multiple of 4; got {spec.shape}.")
        self.spec = spec
        first = nn.Linear(64 + classes, 4 * w * side**2), nn.Unflatten(1, (-1, side, side))
        last = nn.Conv2d(w, spec.channels, 3, 1, 1), nn.Tanh()
        self.network = nn.Sequential(*first, nn.ReLU(), *up(4 * w, 2 * w), *up(2 * w, w), *last)
        down = nn.Conv2d(spec.channels, w, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(w, 2 * w, 4, 2, 1)
        opinions = nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(2 * w * side**2, classes)
        self.discriminator = nn.Sequential(*down, *opinions)  # one opinion a class

    def phases(self):
        for name, module in (("discriminator", self.discriminator), ("generator", self.network)):
            adam = torch.optim.Adam(module.parameters(), 2e-4, betas=(0.5, 0.999))
            yield Phase(name, module, adam, getattr(self, f"{name}_loss"))

    def make(self, z, labels):
        return self.network(torch.cat([z, one_hot(labels, self.spec.num_classes).to(z)], dim=1))

    def score(self, images, labels):
        return self.discriminator(images).gather(1, labels[:, None]).squeeze(1)

    def discriminator_loss(self, batch, rng):
        fakes = self.make(batch.randn(64, rng=rng), batch.labels).detach()
        real, fake = (self.score(images, batch.labels) for images in (batch.images, fakes))
        return Loss({"adversarial": (softplus(-real) + softplus(fake)).mean()})

    def generator_loss(self, batch, rng):
        fakes = self.make(batch.randn(64, rng=rng), batch.labels)
        return Loss({"adversarial": softplus(-self.score(fakes, batch.labels)).mean()})

    def sample(self, labels, *, rng):
        return self.make(torch.randn(len(labels), 64, generator=rng).to(labels.device), labels)


@hookimpl
def ganaug_generators():
    yield GeneratorPlugin(name="tinygan", summary="A GAN.", config=TinyganConfig, build=Tinygan)
