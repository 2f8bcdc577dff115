"""The generator ``r3gan`` for ganaug; see `ganaug_r3gan.network`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from ganaug import Config, GeneratorPlugin, hookimpl

if TYPE_CHECKING:
    from ganaug import Generator, ImageSpec

__all__ = ["R3GANConfig", "ganaug_generators"]


class R3GANConfig(Config):
    """Settings of an R3GAN. Its defaults train on a CPU; the paper's networks are far wider."""

    width: int = Field(default=16, ge=16, multiple_of=16)  # channels at 32 px; the paper: 768
    blocks: int = Field(default=1, ge=1)  # residual blocks a resolution; the paper: 2
    latent_dim: int = Field(default=64, ge=1)  # as in the paper
    gamma: float = Field(default=0.2, ge=0.0)  # of R1 and R2; the paper: 0.05 to 150, by data set
    learning_rate: float = Field(default=1e-3, gt=0.0)  # the paper: 2e-4, of wide networks
    batch_size: int = Field(default=16, ge=1)  # the paper: 256 and more


def _build(config: R3GANConfig, spec: ImageSpec) -> Generator:
    from ganaug_r3gan.network import R3GAN

    return R3GAN(config, spec)


@hookimpl
def ganaug_generators() -> Iterable[GeneratorPlugin]:
    """Yield ``r3gan``."""
    yield GeneratorPlugin(
        name="r3gan",
        summary="R3GAN: relativistic loss with R1 and R2, residual networks, 32 to 256 px.",
        config=R3GANConfig,
        build=_build,
    )
