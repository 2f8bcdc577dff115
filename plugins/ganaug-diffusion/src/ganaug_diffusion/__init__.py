"""The generator ``diffusion`` for ganaug; see `ganaug_diffusion.network`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ganaug import Config, GeneratorPlugin, hookimpl

if TYPE_CHECKING:
    from ganaug import Generator, ImageSpec

__all__ = ["DiffusionConfig", "ganaug_generators"]


class DiffusionConfig(Config):
    """Settings of a denoising diffusion model. Its defaults train on a CPU.

    width: channels at full size, and twice as many at each half of it. levels: resolutions, each
    half of the one before; the last has attention. steps: of a sample, a divisor of timesteps.
    """

    width: int = Field(default=16, ge=8, multiple_of=8)
    levels: int = Field(default=3, ge=1, le=6)
    timesteps: int = Field(default=1000, ge=1)  # levels of noise; Ho et al. 2020
    steps: int = Field(default=50, ge=1)  # Song et al. 2021, Table 1: near the best from 50 on
    schedule: Literal["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"] = "cosine"
    prediction: Literal["epsilon", "v_prediction"] = "v_prediction"  # Salimans & Ho 2022
    learning_rate: float = Field(default=1e-3, gt=0.0)
    batch_size: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _whole_strides(self) -> Self:
        if self.timesteps % self.steps:
            raise ValueError(
                f"steps must divide timesteps; got steps {self.steps}, timesteps {self.timesteps}"
            )
        return self


def _build(config: DiffusionConfig, spec: ImageSpec) -> Generator:
    from ganaug_diffusion.network import Diffusion

    return Diffusion(config, spec)


@hookimpl
def ganaug_generators() -> Iterable[GeneratorPlugin]:
    """Yield ``diffusion``."""
    yield GeneratorPlugin(
        name="diffusion",
        summary="Denoising diffusion with MONAI's U-Net, sampled with DDIM.",
        config=DiffusionConfig,
        build=_build,
    )
