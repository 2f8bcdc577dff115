"""What samples are drawn with: autoencoder, what is known of its codes, and what corrects that."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganaug.builtin.aegan.codes import CodePrior
from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.builtin.aegan.layers import Autoencoder, LatentGenerator
from ganaug.spec import ImageSpec

__all__ = ["AUTOENCODER", "GAN", "AEGANNetwork"]

NEW, AUTOENCODER, GAN = range(3)  # stages


class AEGANNetwork(nn.Module):
    """All that samples are drawn with, and the encoder, so that a run holds a whole autoencoder.

    stage: 0 before training, 1 while the autoencoder is trained, 2 from then on.
    prior: what is known of the codes; its draws are what `mapper`, the GAN's generator on codes,
        corrects. "decoder_init" has no mapper: it decodes the draws, as BAGAN does.
    """

    stage: Tensor

    def __init__(self, config: AEGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        is_vae, code_dim = config.autoencoder == "vae", config.code_dim
        self.autoencoder = Autoencoder(spec.channels, spec.height, config.width, code_dim, is_vae)
        self.prior = CodePrior(code_dim, spec.num_classes)
        self.mapper = (
            LatentGenerator(code_dim, config.hidden, spec.num_classes)
            if config.mode == "latent"
            else None
        )
        self.register_buffer("stage", torch.tensor(NEW))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Latents (N, D), standard normal, and labels (N,) to images (N, C, S, S)."""
        return self.autoencoder.decode(self.prior.restore(self.codes(latents, labels)))

    def codes(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Latents (N, D) and labels (N,) to standardised codes (N, D)."""
        if self.stage < GAN:
            return latents
        drawn: Tensor = self.prior(latents, labels)
        return drawn if self.mapper is None else self.mapper(drawn, labels)
