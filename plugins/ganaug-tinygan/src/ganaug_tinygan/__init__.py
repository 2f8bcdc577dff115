"""Tinygan: a small conditional GAN."""

import torch
from ganaug import Config, Generator, GeneratorPlugin, Loss, Phase, hookimpl
from ganaug.errors import ShapeError
from torch import nn
from torch.nn.functional import one_hot, softplus


class TinyganConfig(Config):
    width: int = 32  # channels at full size


class Tinygan(Generator):
    """Upsamples from a quarter of the size; its discriminator has an opinion a class."""
    def __init__(self, config, spec):
        super().__init__()
        w, small = config.width, spec.height // 4
        if spec.shape[1:] != (4 * small, 4 * small) or not small:
            raise ShapeError(f"tinygan makes squares, sides a multiple of 4; got {spec.shape}.")
        self.spec = spec
        self.network = nn.Sequential(
            nn.Linear(64 + spec.num_classes, 4 * w * small**2), nn.Unflatten(1, (-1, small, small)),
            nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(4 * w, 2 * w, 3, padding=1),
            nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(2 * w, w, 3, padding=1),
            nn.ReLU(), nn.Conv2d(w, spec.channels, 3, padding=1), nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(spec.channels, w, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(w, 2 * w, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(2 * w * small**2, spec.num_classes),
        )

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
