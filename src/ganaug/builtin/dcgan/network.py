"""DCGAN: convolutional generator and discriminator, conditional when there are classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganaug import losses
from ganaug.builtin.dcgan import layers
from ganaug.builtin.dcgan.config import DCGANConfig
from ganaug.diffaugment import DiffAugment
from ganaug.generator import Generator, Loss, Phase
from ganaug.layers import Down
from ganaug.spec import Batch, ImageSpec, LabelledImages, check_power_of_two

__all__ = ["DCGAN", "Discriminator", "GeneratorNetwork"]

NETWORKS = {
    "default": layers.default_networks,
    "radford": layers.radford,
    "keras-faces": layers.keras_faces,
    "mammo-patches": layers.mammo_patches,
}


class GeneratorNetwork(nn.Module):
    """Latents (N, D) and labels (N,) to images (N, C, S, S); a class is an embedding beside z."""

    def __init__(self, body: nn.Module, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.embedding = nn.Embedding(num_classes, latent_dim) if num_classes > 1 else None

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images; labels are not read where there are no classes."""
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], dim=1)
        images: Tensor = self.body(latents)
        return images


class Discriminator(nn.Module):
    """Images (N, C, S, S) and labels (N,) to logits (N,); a class is a projection.

    With classes, the logit gains the inner product of the class's embedding with the mean
    feature (Miyato & Koyama 2018, Eq. 3).
    """

    def __init__(self, body: nn.Module, head: nn.Module, features: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.projection = nn.Embedding(num_classes, features) if num_classes > 1 else None
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, std=features**-0.5)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return float32 logits; labels are not read where there are no classes."""
        features = self.body(images)
        logits: Tensor = self.head(features).flatten()
        if self.projection is not None:
            logits = logits + (self.projection(labels) * features.mean(dim=(2, 3))).sum(dim=1)
        return logits.float()


class DCGAN(Generator):
    """A DCGAN (Radford et al. 2016) as `config` describes it, for the images of `spec`.

    Conditional when `spec` has more than one class: the class is embedded beside the latents and
    projected onto the features of the discriminator. Raises ShapeError unless images are square,
    16 to 256 pixels a side, a power of two, in 1 or 3 channels.
    """

    epoch: Tensor
    real_label: Tensor
    label_seed: Tensor

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        check_power_of_two(spec, "DCGAN")
        self.spec = spec
        self.config = config
        inputs = config.latent_dim * (2 if spec.num_classes > 1 else 1)
        sizes = layers.Sizes(spec.channels, spec.height, inputs, config.width)
        body = NETWORKS[config.preset](sizes)
        self.network = GeneratorNetwork(body.generator, config.latent_dim, spec.num_classes)
        self.discriminator = Discriminator(
            body.discriminator, body.head, body.features, spec.num_classes
        )
        if config.spectral_norm:
            for module in list(self.discriminator.modules()):
                if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding | Down):
                    spectral_norm(module)
        # In proportion to the pixels, as the automatic settings of Karras et al. 2020: the more of
        # them share a change of the logit, the less is left for each, and for the penalty.
        pixels = spec.height * spec.width
        self.r1_gamma = pixels / 32**2 if config.r1_gamma is None else config.r1_gamma
        self.augment = DiffAugment(config.diffaugment)
        self.register_buffer("epoch", torch.tensor(-1))
        self.register_buffer("real_label", torch.tensor(1.0))
        self.register_buffer("label_seed", torch.randint(2**31, ()))
        self._optimizers: list[tuple[torch.optim.Optimizer, int | None]] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave the optimizers, and their moments, out of copies and pickles."""
        return {**self.__dict__, "_optimizers": []}

    @property
    def has_stages(self) -> bool:
        """False: `advance` moves learning rates and labels, and no phase."""
        return False

    def phases(self) -> Iterable[Phase]:
        """Return ``discriminator``, then ``generator``, each with an Adam of its own."""
        config = self.config
        discriminator = torch.optim.Adam(
            self.discriminator.parameters(),
            lr=config.discriminator_learning_rate,
            betas=config.betas,
            fused=True,
        )
        generator = torch.optim.Adam(
            self.network.parameters(),
            lr=config.generator_learning_rate,
            betas=config.betas,
            fused=True,
        )
        self._optimizers = [
            (discriminator, config.discriminator_decay_epochs),
            (generator, config.generator_decay_epochs),
        ]
        return [
            Phase("discriminator", self.discriminator, discriminator, self._discriminator_loss),
            Phase("generator", self.network, generator, self._generator_loss),
        ]

    def batch_size(self, images_seen: int) -> int | None:
        """Return the config's batch size, or None for the loop's."""
        return self.config.batch_size

    def advance(self, images_seen: int, images: LabelledImages) -> bool:
        """At each new epoch draw the label of real images and decay learning rates by .99."""
        before, now = int(self.epoch), images_seen // len(images)
        if now == before:
            return False
        self.epoch.fill_(now)
        low, high = self.config.real_label
        # From a seed of its own, so that every process draws the same label.
        rng = torch.Generator().manual_seed(int(self.label_seed) + now)
        self.real_label.fill_(low + (high - low) * torch.rand((), generator=rng).item())
        for optimizer, every in self._optimizers:
            if every is not None:
                # Multiplied in, so that it composes with rates that the loop itself has lowered.
                for group in optimizer.param_groups:
                    group["lr"] *= 0.99 ** (now // every - max(before, 0) // every)
        return False

    def sample(self, labels: Tensor, *, rng: torch.Generator) -> Tensor:
        """Draw an image a label; see `Generator.sample`."""
        latents = torch.randn(len(labels), self.config.latent_dim, generator=rng)
        images: Tensor = self.network(latents.to(labels.device), labels)
        return images.float().clamp(-1.0, 1.0)

    def score(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the discriminator's logits, float32 (N,); see `Generator.score`."""
        logits: Tensor = self.discriminator(images, labels)
        return logits

    def _make(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Fake images of the batch's classes, augmented."""
        latents = batch.randn(self.config.latent_dim, rng=rng)
        return self.augment(self.network(latents, batch.labels), self.augment.draw(batch, rng))

    def _discriminator_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        config = self.config
        with torch.no_grad():
            fakes = self._make(batch, rng)
            reals = self.augment(batch.images, self.augment.draw(batch, rng))
        real, fake = self._judge(reals, fakes, batch.labels)
        if config.loss == "bce":
            adversarial = losses.bce_discriminator(real, fake, real_label=self.real_label)
        elif config.loss == "hinge":
            adversarial = losses.hinge_discriminator(real, fake)
        else:
            adversarial = losses.relativistic_discriminator(real, fake)
        terms = {"adversarial": adversarial, **self._penalties(batch, reals, fakes, rng)}
        return Loss(terms, _logs(real.detach(), fake.detach(), config.loss == "relativistic"))

    def _judge(self, reals: Tensor, fakes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both: apart where batch norm would mix them, else in one go, faster."""
        if self.config.preset in ("radford", "mammo-patches"):
            return self.discriminator(reals, labels), self.discriminator(fakes, labels)
        together = torch.cat([reals, fakes.to(reals.dtype)])
        real, fake = self.discriminator(together, labels.repeat(2)).chunk(2)
        return real, fake

    def _penalties(
        self, batch: Batch, reals: Tensor, fakes: Tensor, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """R1 and R2, on one step in `penalty_every` and as many times as strong."""
        every = self.config.penalty_every
        gammas = {"r1": self.r1_gamma, "r2": self.config.r2_gamma}
        wanted = {name: gamma for name, gamma in gammas.items() if gamma}
        if not wanted or torch.rand((), generator=rng) * every >= 1:
            return {}

        def critic(x: Tensor) -> Tensor:
            logits: Tensor = self.discriminator(x, batch.labels)
            return logits

        images = {"r1": reals, "r2": fakes}
        return {
            name: every * gamma / 2 * losses.zero_centered_gradient_penalty(critic, images[name])
            for name, gamma in wanted.items()
        }

    def _generator_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        fake = self.discriminator(self._make(batch, rng), batch.labels)
        if self.config.loss == "bce":
            return Loss({"adversarial": losses.bce_generator(fake)})
        if self.config.loss == "hinge":
            return Loss({"adversarial": losses.hinge_generator(fake)})
        with torch.no_grad():
            reals = self.augment(batch.images, self.augment.draw(batch, rng))
            real = self.discriminator(reals, batch.labels)
        return Loss({"adversarial": losses.relativistic_generator(real, fake)})


def _logs(real: Tensor, fake: Tensor, relativistic: bool) -> dict[str, Tensor]:
    """Mean logits, and the share that D gets right: of pairs where only differences count."""
    if relativistic:
        accuracy = (real > fake).float().mean()
    else:
        accuracy = torch.cat([real > 0, fake < 0]).float().mean()
    return {"d_accuracy": accuracy, "d_real": real.mean(), "d_fake": fake.mean()}
