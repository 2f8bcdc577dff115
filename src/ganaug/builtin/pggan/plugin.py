"""PGGAN as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ganaug.builtin.pggan.config import PGGANConfig
from ganaug.hookspecs import hookimpl
from ganaug.plugins import GeneratorPlugin

if TYPE_CHECKING:
    from ganaug.generator import Generator
    from ganaug.spec import ImageSpec

__all__ = ["build", "ganaug_generators"]


def build(config: PGGANConfig, spec: ImageSpec) -> Generator:
    """Build a PGGAN. Raises ShapeError unless the side is 4 x 2^k or 7 x 2^k, 8 to 256."""
    from ganaug.builtin.pggan.network import PGGAN  # torch waits until a generator is built

    return PGGAN(config, spec)


@hookimpl
def ganaug_generators() -> Iterable[GeneratorPlugin]:
    """Yield `pggan`."""
    yield GeneratorPlugin(
        name="pggan",
        summary="Progressively grown GAN with WGAN-GP, for images of up to 256 pixels a side.",
        config=PGGANConfig,
        build=build,
    )
