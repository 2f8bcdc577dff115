"""DCGAN as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ganaug.builtin.dcgan.config import DCGANConfig
from ganaug.hookspecs import hookimpl
from ganaug.plugins import GeneratorPlugin

if TYPE_CHECKING:
    from ganaug.generator import Generator
    from ganaug.spec import ImageSpec

__all__ = ["build", "ganaug_generators"]


def build(config: DCGANConfig, spec: ImageSpec) -> Generator:
    """Build a DCGAN. Raises ShapeError unless the image is a square power of two, 16 to 256."""
    from ganaug.builtin.dcgan.network import DCGAN  # torch waits until a generator is built

    return DCGAN(config, spec)


@hookimpl
def ganaug_generators() -> Iterable[GeneratorPlugin]:
    """Yield `dcgan`."""
    yield GeneratorPlugin(
        name="dcgan",
        summary="Convolutional GAN for small images; presets radford, keras-faces, mammo-patches.",
        config=DCGANConfig,
        build=build,
    )
