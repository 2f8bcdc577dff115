"""How many parameters autoencoder, plain GAN and GAN with autoencoder have, beside a study's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.builtin.aegan.network import AEGAN
from ganaug.spec import ImageSpec

__all__ = ["ParamsRow", "format_params", "params_report"]

_NOTE = """\
reported: a study of skin lesions that trained such systems on ISIC 2020. Its counts do not
identify an architecture: networks of many shapes have them. Ours are other networks, and to be
compared among themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamsRow:
    """A system, how many parameters its training moves, and what a study reported of its own.

    reported: trainable parameters. reported_minutes: of training.
    """

    system: str
    parameters: int
    reported: int | None = None
    reported_minutes: float | None = None


def params_report(
    config: AEGANConfig, spec: ImageSpec, *, plain_gan: int | None = None
) -> tuple[ParamsRow, ...]:
    """Return a row each for the autoencoder, a plain GAN and the GAN with autoencoder.

    plain_gan: parameters of another generator's GAN; unless given, those of the GAN on images
    that has the autoencoder's own layers, as mode "decoder_init" trains it. The autoencoder's row
    counts encoder, decoder and patch critic; its principal components are computed, not trained.
    """
    latent = AEGAN(config.model_copy(update={"mode": "latent"}), spec)
    images = AEGAN(config.model_copy(update={"mode": "decoder_init"}), spec)
    autoencoder = _count(latent.network.autoencoder) + _count(latent.critic)
    plain = _count(images.network.autoencoder.decoder) + _count(images.discriminator)
    small = _count(latent.network.mapper) + _count(latent.discriminator)
    return (
        ParamsRow(system="AE", parameters=autoencoder, reported=855_994_368, reported_minutes=27.0),
        ParamsRow(
            system="GAN",
            parameters=plain if plain_gan is None else plain_gan,
            reported=607_285_633,
            reported_minutes=156.0,
        ),
        ParamsRow(
            system="GAN with AE", parameters=small, reported=15_683_546, reported_minutes=3.33
        ),
    )


def format_params(rows: tuple[ParamsRow, ...]) -> str:
    """Return the rows as a table, with the statement of what they can be compared with."""
    lines = [f"{'system':14}{'parameters':>14}{'reported':>14}{'reported minutes':>18}"]
    for row in rows:
        reported = "" if row.reported is None else f"{row.reported:,}"
        minutes = "" if row.reported_minutes is None else f"{row.reported_minutes:g}"
        lines.append(f"{row.system:14}{row.parameters:>14,}{reported:>14}{minutes:>18}")
    return "\n".join([*lines, _NOTE])


def _count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
