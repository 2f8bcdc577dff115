"""R3GAN: a GAN with a loss that converges locally, and residual networks without tricks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ganaug import Batch, Generator, ImageSpec, Loss, Phase
from ganaug.errors import ShapeError
from ganaug_r3gan import R3GANConfig
from ganaug_r3gan.layers import Discriminator, Synthesis, widths_up_to

__all__ = ["R3GAN", "gradient_penalty"]


class R3GAN(Generator):
    """R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!"), written from the paper.

    Conditional when `spec` has more than one class. What is the paper's: the relativistic pairing
    loss with R1 and R2 at every step, grouped inverted bottlenecks without normalisation, fix-up
    initialisation, Adam with betas (0, 0.99). What is not: widths (a CPU's by default), and the
    schedules of its long trainings (of gamma, learning rate and average), as schedules here must
    not depend on the length of the training. Neither are there augmentations: with few images the
    discriminator will learn them by heart.

    Raises ShapeError unless images are square, 32 to 256 pixels a side, a power of two.
    """

    network: Synthesis

    def __init__(self, config: R3GANConfig, spec: ImageSpec) -> None:
        super().__init__()
        side = spec.height
        if spec.width != side or side & (side - 1) or not 32 <= side <= 256:
            raise ShapeError(
                "R3GAN needs a square image of 32, 64, 128 or 256 pixels a side; got "
                f"{spec.height}x{spec.width}. Resize with size=32, 64, 128 or 256."
            )
        self.spec = spec
        self.config = config
        sizes = (widths_up_to(side, config.width), config.blocks, spec.channels, config.latent_dim)
        self.network = Synthesis(*sizes, spec.num_classes)
        self.discriminator = Discriminator(*sizes, spec.num_classes)

    def phases(self) -> Iterable[Phase]:
        """Yield ``discriminator``, then ``generator``, each with an Adam of its own."""
        for name, module, loss in (
            ("discriminator", self.discriminator, self._discriminator_loss),
            ("generator", self.network, self._generator_loss),
        ):
            adam = torch.optim.Adam(
                module.parameters(), lr=self.config.learning_rate, betas=(0.0, 0.99), fused=True
            )
            yield Phase(name, module, adam, loss)

    def batch_size(self, images_seen: int) -> int:
        """Return the config's batch size, or None for the loop's."""
        return self.config.batch_size

    def sample(self, labels: Tensor, *, rng: torch.Generator) -> Tensor:
        """Draw an image a label; see `ganaug.Generator.sample`."""
        latents = torch.randn(len(labels), self.config.latent_dim, generator=rng)
        return self.network(latents.to(labels.device), labels).float().clamp(-1.0, 1.0)

    def score(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits (N,); of a relativistic loss only their differences mean anything."""
        return self.discriminator(images, labels)

    def _make(self, batch: Batch, rng: torch.Generator) -> Tensor:
        return self.network(batch.randn(self.config.latent_dim, rng=rng), batch.labels)

    def _discriminator_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        """Eq. 2 of the paper with both penalties of its Eq. 3."""
        with torch.no_grad():
            fakes = self._make(batch, rng).float()
        together = torch.cat([batch.images, fakes])
        real, fake = self.discriminator(together, batch.labels.repeat(2)).chunk(2)
        terms = {"adversarial": softplus(fake - real).mean()}
        if self.config.gamma:
            for name, images in (("r1", batch.images), ("r2", fakes)):
                penalty = gradient_penalty(self.discriminator, images, batch.labels)
                terms[name] = self.config.gamma / 2 * penalty
        real, fake = real.detach(), fake.detach()
        accuracy = (real > fake).float().mean()  # of pairs
        return Loss(terms, {"d_accuracy": accuracy, "d_real": real.mean(), "d_fake": fake.mean()})

    def _generator_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        fake = self.discriminator(self._make(batch, rng), batch.labels)
        with torch.no_grad():
            real = self.discriminator(batch.images, batch.labels)
        return Loss({"adversarial": softplus(real - fake).mean()})


def gradient_penalty(discriminator: Discriminator, images: Tensor, labels: Tensor) -> Tensor:
    """Squared norm of the discriminator's gradient at images (Mescheder et al. 2018, Eq. 9).

    images: (N, C, H, W), real for R1, fake for R2. labels: int64 (N,). Computed in float32, because
    squares of bfloat16 lose most of their digits. Returns the mean as a scalar to differentiate.
    """
    with torch.autocast(images.device.type, enabled=False), torch.enable_grad():
        images = images.detach().float().requires_grad_()
        logits = discriminator(images, labels)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()
