"""The settings of an autoencoder with a GAN on its codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from ganaug.config import Config

__all__ = ["AEGANConfig"]

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
Policy = Literal["translation", "cutout", "color", "flip", "vflip"]

#: What the fields that are None stand for.
MODES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        # Codes are few numbers: large batches cost nothing, and strong penalties blur nothing.
        "latent": {"generator_learning_rate": 1e-4, "batch_size": 64, "r1_gamma": 1.0},
        "decoder_init": {"generator_learning_rate": 2e-4, "batch_size": 16, "r1_gamma": 0.05},
    }
)


class AEGANConfig(Config):
    """Settings of an AE+GAN; None stands for what the comment says.

    mode: "latent" trains a small GAN on the standardised codes of a frozen autoencoder;
        "decoder_init" trains the decoder on, against a discriminator of images that starts from
        the encoder (Mariani et al. 2018, BAGAN).
    autoencoder: "plain", or "vae" with a light Kullback-Leibler term (Kingma & Welling 2014).
    autoencoder_run: a finished run of this generator, on the same images, whose autoencoder is
        used as it is; none is trained then.
    autoencoder_images: images that the autoencoder sees before the GAN begins.
    """

    mode: Literal["latent", "decoder_init"] = "latent"
    autoencoder: Literal["plain", "vae"] = "plain"
    autoencoder_run: Path | None = None
    autoencoder_images: int | None = Field(default=None, ge=1)  # None: 20 passes
    code_dim: int = Field(default=128, ge=1)
    width: int = Field(default=32, ge=4)  # channels of the autoencoder at 32 px
    hidden: int = Field(default=64, ge=4)  # units a layer of the GAN on codes
    kl_weight: float = Field(default=1e-3, ge=0.0)  # of "vae", beside a mean over pixels
    critic_weight: float = Field(default=0.01, ge=0.0)  # of the patch critic; 0 for none
    autoencoder_learning_rate: float = Field(default=1e-3, gt=0.0)  # falls to a twentieth
    autoencoder_batch_size: int = Field(default=16, ge=1)
    generator_learning_rate: float | None = Field(default=None, gt=0.0)  # None: 1e-4; images: 2e-4
    discriminator_learning_rate: float = Field(default=4e-4, gt=0.0)  # Heusel et al. 2017
    betas: tuple[Beta, Beta] = (0.0, 0.99)  # of Adam, in the GAN
    batch_size: int | None = Field(default=None, ge=1)  # None: 64 for codes, 16 for images
    r1_gamma: float | None = Field(default=None, ge=0.0)  # on real and fake; None: 1, images: .05
    penalty_every: int = Field(default=4, ge=1)  # steps, at random (Karras et al. 2020, "lazy")
    code_noise: float = Field(default=0.3, ge=0.0)  # standard deviations, on real and fake codes
    diffaugment: tuple[Policy, ...] = ("translation",)  # of "decoder_init" (Zhao et al. 2020)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Fill what follows from the mode; refuse what cannot go together."""
        if self.autoencoder_run is not None and self.autoencoder_images is not None:
            raise ValueError(
                "autoencoder_images is for an autoencoder that is trained, and autoencoder_run "
                "brings one that is. Leave one of them out"
            )
        for name, value in MODES[self.mode].items():
            if getattr(self, name) is None:
                # The way around `frozen`, while the object is still being built.
                object.__setattr__(self, name, value)
        return self

    def images_for_autoencoder(self, num_images: int) -> int:
        """Return how many images the autoencoder sees, of `num_images` different ones.

        20 passes unless told, but at least 8,000 images and at most 40,000, so that of the 100,000
        images of a training most are the GAN's; none when it comes from another run.
        """
        if self.autoencoder_run is not None:
            return 0
        return self.autoencoder_images or min(max(20 * num_images, 8_000), 40_000)
