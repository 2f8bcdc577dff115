"""AE+GAN: an autoencoder, then a GAN on its codes, or its decoder trained on as a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganaug import losses
from ganaug.builtin.aegan.codes import CodeBank, encode_images
from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.builtin.aegan.drawing import AUTOENCODER, GAN, AEGANNetwork
from ganaug.builtin.aegan.layers import (
    ImageDiscriminator,
    LatentDiscriminator,
    PatchCritic,
)
from ganaug.builtin.aegan.source import read_autoencoder
from ganaug.diffaugment import DiffAugment
from ganaug.generator import Generator, Loss, Phase
from ganaug.spec import Batch, ImageSpec, LabelledImages, check_power_of_two

__all__ = ["AEGAN"]

_SLOWEST = 0.05  # of the autoencoder's learning rate, at its end
_MOST_FOR_COMPONENTS = 1024  # images
_CRITIC_GAMMA = 0.05  # of the patch critic (Mescheder et al. 2018)
_MOMENTUM = 0.01  # of the statistics of codes while the autoencoder learns


class AEGAN(Generator):
    """An autoencoder and a GAN on top of it, as `config` describes them, for images of `spec`.

    The autoencoder is trained first, or read from another run, and frozen; `advance` then moves
    on to the GAN. Until then samples are decoded normal codes, each dimension by itself, of the
    codes' running mean and deviation: the right colours in the wrong places, whatever the class.

    Conditional when `spec` has more than one class. Raises ShapeError unless images are square,
    16 to 256 pixels a side, a power of two, in 1 or 3 channels.
    """

    rate: Tensor

    def __init__(self, config: AEGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        check_power_of_two(spec, "AE+GAN")
        self.spec = spec
        self.config = config
        self.network: AEGANNetwork = AEGANNetwork(config, spec)
        self.critic = PatchCritic(spec.channels, config.width) if config.critic_weight else None
        self.discriminator = (
            LatentDiscriminator(config.code_dim, config.hidden, spec.num_classes)
            if config.mode == "latent"
            else ImageDiscriminator(spec.channels, spec.height, config.width, spec.num_classes)
        )
        self.bank = CodeBank(config.code_dim, spec.num_classes)
        self.augment = DiffAugment(config.diffaugment)
        self.register_buffer("rate", torch.tensor(1.0, dtype=torch.float64))
        self._optimizers: list[torch.optim.Optimizer] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave the optimizers, and their moments, out of copies and pickles."""
        return {**self.__dict__, "_optimizers": []}

    # --- what is trained when -----------------------------------------------------------------

    def phases(self) -> Iterable[Phase]:
        """Return ``critic`` and ``autoencoder``, later ``discriminator`` and ``generator``."""
        return self._gan_phases() if self.network.stage == GAN else self._autoencoder_phases()

    def batch_size(self, images_seen: int) -> int | None:
        """Return the config's batch size of the autoencoder or of the GAN."""
        if self.network.stage < GAN:
            return self.config.autoencoder_batch_size
        return self.config.batch_size

    def advance(self, images_seen: int, images: LabelledImages) -> bool:
        """Begin the GAN when the autoencoder has seen its images; until then slow it down.

        The GAN's codes and their statistics are computed here, once, from all `images`. Going
        back, to a state of the autoencoder, is a change too. Raises ConfigError, DataError,
        ShapeError or RunError when `autoencoder_run` does not fit.
        """
        total = self.config.images_for_autoencoder(len(images))
        before, now = int(self.network.stage), GAN if images_seen >= total else AUTOENCODER
        if now == before:
            if now == AUTOENCODER:
                self._slow_down(images_seen / total)
            elif not len(self.bank):
                self.bank.fill(self.network.prior.standardise(self._encode(images)), images.labels)
            return False
        if images_seen == 0:
            self._begin(images)
        self.network.stage.fill_(now)
        autoencoder = self.network.autoencoder
        autoencoder.encoder.requires_grad_(now == AUTOENCODER)
        autoencoder.decoder.requires_grad_(now == AUTOENCODER or self.config.mode == "decoder_init")
        if now == GAN:
            self._begin_gan(images)
        else:
            self.bank.clear()
        return True

    def last_stage_at(self, num_images: int) -> int:
        """Return how many images the autoencoder sees."""
        return self.config.images_for_autoencoder(num_images)

    def _slow_down(self, done: float) -> None:
        """Lower the autoencoder's learning rate along a line."""
        wanted = 1.0 - (1.0 - _SLOWEST) * done
        # Multiplied in, so that it composes with rates that the loop itself has lowered.
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] *= wanted / self.rate.item()
        self.rate.fill_(wanted)

    def _begin(self, images: LabelledImages) -> None:
        """Take the autoencoder of another run, or the principal components of the images."""
        autoencoder = self.network.autoencoder
        if self.config.autoencoder_run is not None:
            run = self.config.autoencoder_run
            autoencoder.load_state_dict(read_autoencoder(run, self.config, self.spec, images))
            return
        few = np.linspace(0, len(images) - 1, min(len(images), _MOST_FOR_COMPONENTS))
        flat = encode_images(
            autoencoder.components.shrink, images.subset(few.astype(np.int64)), self.rate.device
        )
        autoencoder.components.take(flat)

    def _begin_gan(self, images: LabelledImages) -> None:
        """Encode all training images, and start from what their codes say."""
        autoencoder = self.network.autoencoder
        codes = self._encode(images)
        self.network.prior.fit(codes, images.labels)
        self.bank.fill(self.network.prior.standardise(codes), images.labels)
        if isinstance(self.discriminator, ImageDiscriminator):
            self.discriminator.encoder.body.load_state_dict(autoencoder.encoder.body.state_dict())

    def _encode(self, images: LabelledImages) -> Tensor:
        """Return the codes of images, (N, D)."""
        autoencoder = self.network.autoencoder
        return encode_images(lambda x: autoencoder.encode(x)[0], images, self.rate.device)

    def _autoencoder_phases(self) -> list[Phase]:
        module = self.network.autoencoder
        phases = []
        rate = self.config.autoencoder_learning_rate
        autoencoder = torch.optim.Adam(module.parameters(), lr=rate, betas=(0.9, 0.99), fused=True)
        self._optimizers = [autoencoder]
        if self.critic is not None:
            critic = torch.optim.Adam(
                self.critic.parameters(), lr=rate, betas=self.config.betas, fused=True
            )
            self._optimizers.append(critic)
            phases.append(Phase("critic", self.critic, critic, self._critic_loss))
        self.rate.fill_(1.0)
        return [*phases, Phase("autoencoder", module, autoencoder, self._autoencoder_loss)]

    def _gan_phases(self) -> list[Phase]:
        network = self.network
        learner = network.autoencoder.decoder if network.mapper is None else network.mapper
        config, judge = self.config, self.discriminator

        def adam(module: nn.Module, rate: float | None) -> torch.optim.Optimizer:
            return torch.optim.Adam(
                module.parameters(), lr=cast(float, rate), betas=config.betas, fused=True
            )

        discriminator = adam(judge, config.discriminator_learning_rate)
        generator = adam(learner, config.generator_learning_rate)
        self._optimizers = []
        return [
            Phase("discriminator", judge, discriminator, self._discriminator_loss),
            Phase("generator", learner, generator, self._generator_loss),
        ]

    # --- samples ------------------------------------------------------------------------------

    def sample(self, labels: Tensor, *, rng: torch.Generator) -> Tensor:
        """Draw an image a label; see `Generator.sample`."""
        latents = torch.randn(len(labels), self.config.code_dim, generator=rng)
        images: Tensor = self.network(latents.to(labels.device), labels)
        return images.float().clamp(-1.0, 1.0)

    def score(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """Return the logits of a discriminator of images, float32 (N,); see `Generator.score`.

        None with mode="latent", whose discriminator sees codes, never an image.
        """
        if not isinstance(self.discriminator, ImageDiscriminator):
            return None
        logits: Tensor = self.discriminator(images, labels)
        return logits

    # --- losses of the autoencoder ------------------------------------------------------------

    def _reconstruct(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images after encoding and decoding, and the light term of a VAE, zero without one."""
        autoencoder = self.network.autoencoder
        codes, log_variance = autoencoder.encode(batch.images)
        divergence = codes.new_zeros(())
        if log_variance is not None:
            divergence = _divergence(codes, log_variance)
            noise = batch.randn(self.config.code_dim, rng=rng)
            codes = codes + (log_variance / 2).exp() * noise
        self.network.prior.follow(codes.detach(), _MOMENTUM)
        return autoencoder.decode(codes), divergence

    def _autoencoder_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        """Mean absolute error, and what a critic of patches says of sharpness."""
        images, divergence = self._reconstruct(batch, rng)
        terms = {"reconstruction": l1_loss(images, batch.images)}
        if self.config.autoencoder == "vae":
            terms["divergence"] = self.config.kl_weight * divergence
        if self.critic is not None:
            with torch.no_grad():
                real = self.critic(batch.images)
            adversarial = losses.relativistic_generator(real, self.critic(images))
            terms["adversarial"] = self.config.critic_weight * adversarial
        return Loss(terms, {"growing": 1.0})

    def _critic_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        """Each patch of an image against the same patch of its reconstruction."""
        assert self.critic is not None
        critic = self.critic
        with torch.no_grad():
            images, _ = self._reconstruct(batch, rng)
        real, fake = critic(batch.images), critic(images)
        terms = {"adversarial": losses.relativistic_discriminator(real, fake)}

        def mean_logit(x: Tensor) -> Tensor:
            return cast(Tensor, critic(x)).mean(dim=(1, 2, 3))

        terms |= self._penalties(mean_logit, {"r1": batch.images}, _CRITIC_GAMMA, rng)
        return Loss(terms, {"critic_accuracy": (real > fake).float().mean().detach()})

    # --- losses of the GAN --------------------------------------------------------------------

    def _pair(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Real and fake of the batch's classes, as D sees them: noisy codes, or moved images."""
        latents = batch.randn(self.config.code_dim, rng=rng)
        if self.config.mode == "decoder_init":
            fakes = self.network(latents, batch.labels)
            return (
                self.augment(batch.images, self.augment.draw(batch, rng)),
                self.augment(fakes, self.augment.draw(batch, rng)),
            )
        reals = self.bank.draw(batch, rng)
        fakes = self.network.codes(latents, batch.labels)
        noise = self.config.code_noise
        return (
            reals + noise * batch.randn(self.config.code_dim, rng=rng),
            fakes + noise * batch.randn(self.config.code_dim, rng=rng),
        )

    def _discriminator_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        with torch.no_grad():
            reals, fakes = self._pair(batch, rng)
        real = self.discriminator(reals, batch.labels)
        fake = self.discriminator(fakes, batch.labels)

        def judge(x: Tensor) -> Tensor:
            logits: Tensor = self.discriminator(x.view_as(reals), batch.labels)
            return logits

        terms = {"adversarial": losses.relativistic_discriminator(real, fake)}
        seen = {"r1": reals, "r2": fakes}
        # The penalty takes four dimensions, and codes have two.
        as_images = {name: x.reshape(*x.shape, *[1] * (4 - x.ndim)) for name, x in seen.items()}
        terms |= self._penalties(judge, as_images, self.config.r1_gamma, rng)
        real, fake = real.detach(), fake.detach()
        accuracy = (real > fake).float().mean()
        return Loss(terms, {"d_accuracy": accuracy, "d_real": real.mean(), "d_fake": fake.mean()})

    def _generator_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        reals, fakes = self._pair(batch, rng)
        with torch.no_grad():
            real = self.discriminator(reals, batch.labels)
        fake = self.discriminator(fakes, batch.labels)
        return Loss({"adversarial": losses.relativistic_generator(real, fake)})

    def _penalties(
        self,
        critic: Callable[[Tensor], Tensor],
        images: dict[str, Tensor],
        gamma: float | None,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """R1 and R2, on one step in `penalty_every` and as many times as strong."""
        every = self.config.penalty_every
        if not gamma or torch.rand((), generator=rng) * every >= 1:
            return {}
        penalty = losses.zero_centered_gradient_penalty
        return {name: every * gamma / 2 * penalty(critic, x) for name, x in images.items()}


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of N(mean, variance) from N(0, 1), a scalar, a mean over images and dimensions.

    Kingma & Welling 2014, appendix B.
    """
    return (mean.square() + log_variance.exp() - 1.0 - log_variance).mean() / 2
