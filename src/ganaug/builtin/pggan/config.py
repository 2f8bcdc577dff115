"""The settings of a progressively grown GAN."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ganaug.config import Config

__all__ = ["PGGANConfig"]

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
Policy = Literal["translation", "cutout", "color", "flip", "vflip"]


class PGGANConfig(Config):
    """Settings of a PGGAN; as Karras et al. 2018 but for the widths and batches, a CPU's here.

    ``fmap_base=8192, fmap_max=512, max_batch_size=128`` are the paper's own. None stands for what
    the comment says.
    """

    fmap_base: int = Field(default=1024, ge=128)  # stage k has fmap_base / 2^(k + 1) channels,
    fmap_max: int = Field(default=128, ge=1)  # but no more than this
    latent_dim: int | None = Field(default=None, ge=1)  # None: fmap_max
    images_per_phase: int | None = Field(default=None, ge=1)  # None: 20 passes, at least 8,000
    first_side: int | None = Field(default=None, ge=4)  # where training starts; None: 4 or 7 pixels
    max_batch_size: int = Field(default=16, ge=1)  # fewer at large sides, and for fewer images
    learning_rate: float = Field(default=1e-3, gt=0.0)  # of both networks
    betas: tuple[Beta, Beta] = (0.0, 0.99)  # of Adam
    n_critic: int = Field(default=1, ge=1)  # steps of the critic for each of the generator
    lambda_gp: float = Field(default=10.0, ge=0.0)  # Gulrajani et al. 2017
    drift: float = Field(default=0.001, ge=0.0)  # Karras et al. 2018, appendix A.1
    diffaugment: tuple[Policy, ...] = ()  # Zhao et al. 2020; the paper has none

    @model_validator(mode="after")
    def _fill(self) -> Self:
        if self.latent_dim is None:
            # The way around `frozen`, while the object is still being built.
            object.__setattr__(self, "latent_dim", self.fmap_max)
        return self

    def widths(self, stages: int) -> list[int]:
        """Return the channels of each stage, the coarsest first."""
        return [max(min(self.fmap_base >> (k + 1), self.fmap_max), 1) for k in range(stages)]
