"""AE+GAN as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.hookspecs import hookimpl
from ganaug.plugins import GeneratorPlugin

if TYPE_CHECKING:
    from ganaug.generator import Generator
    from ganaug.spec import ImageSpec

__all__ = ["build", "ganaug_generators"]


def build(config: AEGANConfig, spec: ImageSpec) -> Generator:
    """Build an AE+GAN. Raises ShapeError unless the image is a square power of two, 16 to 256."""
    from ganaug.builtin.aegan.network import AEGAN  # torch waits until a generator is built

    return AEGAN(config, spec)


@hookimpl
def ganaug_generators() -> Iterable[GeneratorPlugin]:
    """Yield `aegan`."""
    yield GeneratorPlugin(
        name="aegan",
        summary="Autoencoder first, then a small GAN on its codes; cheap at any size.",
        config=AEGANConfig,
        build=build,
    )
