"""The settings of a DCGAN and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from ganaug.config import Config

__all__ = ["PRESETS", "STABILISERS", "DCGANConfig"]

Probability = Annotated[float, Field(gt=0.0, le=1.0)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
Policy = Literal["translation", "cutout", "color", "flip", "vflip"]

#: What each preset sets, apart from its networks. A field that the user gives wins.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        # What `python benchmarks/dcgan_recipes.py` found best on few images; see the class below.
        "default": {"batch_size": 16},
        # Radford et al. 2016 and the PyTorch example of it.
        "radford": {
            "loss": "bce",
            "latent_dim": 100,
            "width": 64,
            "generator_learning_rate": 2e-4,
            "discriminator_learning_rate": 2e-4,
            "betas": (0.5, 0.999),
            "batch_size": None,
            "r1_gamma": 0.0,
            "r2_gamma": 0.0,
            "diffaugment": (),
        },
        # The Keras example of a DCGAN for faces, used on bone X-rays.
        "keras-faces": {
            "loss": "bce",
            "latent_dim": 128,
            "width": 64,
            "generator_learning_rate": 1e-4,
            "discriminator_learning_rate": 1e-4,
            "betas": (0.9, 0.999),
            "batch_size": 32,
            "r1_gamma": 0.0,
            "r2_gamma": 0.0,
            "diffaugment": (),
        },
        # DCGAN of mammography lesion patches, 128 px.
        "mammo-patches": {
            "loss": "bce",
            "latent_dim": 200,
            "width": 45,
            "generator_learning_rate": 2e-4,
            "discriminator_learning_rate": 2e-4,
            "betas": (0.0, 0.999),
            "batch_size": 64,
            "r1_gamma": 0.0,
            "r2_gamma": 0.0,
            "diffaugment": ("flip", "vflip"),
            "real_label": (0.7, 1.0),
            "generator_decay_epochs": 10,
            "discriminator_decay_epochs": 8,
        },
    }
)

#: What keeps each loss stable, unless the preset or the user says otherwise.
STABILISERS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        # Mescheder et al. 2018, section 4.1; how much R1 follows from the size, see `DCGAN`.
        "bce": {"spectral_norm": False, "r1_gamma": None, "r2_gamma": 0.0},
        # Miyato et al. 2018; no penalty, so nothing is differentiated twice.
        "hinge": {"spectral_norm": True, "r1_gamma": 0.0, "r2_gamma": 0.0},
        # Huang et al. 2024 (R3GAN).
        "relativistic": {"spectral_norm": False, "r1_gamma": 0.05, "r2_gamma": 0.05},
    }
)


class DCGANConfig(Config):
    """Settings of a DCGAN. `preset` chooses the networks and what every other field starts from.

    A field that is given wins over the preset; None stands for what the preset has. Raises
    pydantic's ValidationError for a value that the loss cannot use.
    """

    preset: Literal["default", "radford", "keras-faces", "mammo-patches"] = "default"
    loss: Literal["bce", "hinge", "relativistic"] = "bce"
    latent_dim: int = Field(default=64, ge=1)
    width: int = Field(default=32, ge=4)  # channels at 32 px (default preset), or next to the image
    generator_learning_rate: float = Field(default=2e-4, gt=0.0)
    discriminator_learning_rate: float = Field(default=4e-4, gt=0.0)  # Heusel et al. 2017
    betas: tuple[Beta, Beta] = (0.0, 0.99)  # of Adam
    batch_size: int | None = Field(default=None, ge=1)  # None: 16, or what the preset has
    spectral_norm: bool | None = None  # None: with hinge only (Miyato et al. 2018)
    r1_gamma: float | None = Field(default=None, ge=0.0)  # None: 1 at 32 px, as the pixels
    r2_gamma: float | None = Field(default=None, ge=0.0)  # None: 0.05 with relativistic, else 0
    penalty_every: int = Field(default=4, ge=1)  # steps, at random (Karras et al. 2020, "lazy")
    diffaugment: tuple[Policy, ...] = ("translation",)  # Zhao et al. 2020
    real_label: tuple[Probability, Probability] = (1.0, 1.0)  # low, high: drawn each epoch, bce
    generator_decay_epochs: int | None = Field(default=None, ge=1)  # learning rate x .99 each
    discriminator_decay_epochs: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fill_and_check(self) -> Self:
        """Fill what was not given from preset and loss; refuse what cannot go together."""
        for name, value in {**STABILISERS[self.loss], **PRESETS[self.preset]}.items():
            if name not in self.model_fields_set or getattr(self, name) is None:
                # The way around `frozen`, while the object is still being built.
                object.__setattr__(self, name, value)
        low, high = self.real_label
        if low > high:
            raise ValueError(f"real_label goes from low to high; got {low}, {high}")
        if self.loss != "bce" and low < 1:
            raise ValueError(
                f"real_label smooths the labels of loss 'bce'; loss {self.loss!r} has none. "
                "Set real_label to 1, 1"
            )
        return self
