"""Denoising diffusion: a generator without a discriminator."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor
from torch.nn.functional import mse_loss

from ganaug import Batch, Generator, ImageSpec, Loss, Phase
from ganaug.errors import ShapeError
from ganaug_diffusion import DiffusionConfig

__all__ = ["Diffusion"]


class Diffusion(Generator):
    """A DDPM (Ho et al. 2020) of MONAI's `DiffusionModelUNet`; samples by DDIM (Song et al. 2021).

    Conditional when `spec` has more than one class: the class is embedded beside the level of
    noise. Samples take `steps` passes through the network each, so they are slow to draw, and
    deterministic given the first noise. Raises ShapeError unless height and width can be halved
    ``levels - 1`` times.
    """

    network: DiffusionModelUNet

    def __init__(self, config: DiffusionConfig, spec: ImageSpec) -> None:
        super().__init__()
        unit = 2 ** (config.levels - 1)
        if spec.height % unit or spec.width % unit:
            raise ShapeError(
                f"Diffusion with levels={config.levels} needs height and width in multiples of "
                f"{unit}; got {spec.height}x{spec.width}. Resize, or set fewer levels."
            )
        self.spec = spec
        self.config = config
        widths = [config.width * 2**level for level in range(config.levels)]
        self.network = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=spec.channels,
            out_channels=spec.channels,
            num_res_blocks=1,
            channels=widths,
            attention_levels=[False] * (config.levels - 1) + [True],
            norm_num_groups=8,
            num_head_channels=widths[-1],
            num_class_embeds=spec.num_classes if spec.num_classes > 1 else None,
        )
        noise = {
            "num_train_timesteps": config.timesteps,
            "schedule": config.schedule,
            "prediction_type": config.prediction,
        }
        self.noising = DDPMScheduler(**noise)
        # From the last level of noise, in whole strides down to none.
        self.denoising = DDIMScheduler(steps_offset=config.timesteps // config.steps - 1, **noise)
        self.denoising.set_timesteps(config.steps)

    def phases(self) -> Iterable[Phase]:
        """Yield ``denoiser``, with an Adam."""
        adam = torch.optim.Adam(self.network.parameters(), lr=self.config.learning_rate)
        yield Phase("denoiser", self.network, adam, self._denoiser_loss)

    def batch_size(self, images_seen: int) -> int:
        """Return the config's batch size, or None for the loop's."""
        return self.config.batch_size

    def sample(self, labels: Tensor, *, rng: torch.Generator) -> Tensor:
        """Draw an image a label; see `ganaug.Generator.sample`."""
        noise = torch.randn(len(labels), *self.spec.shape, generator=rng)
        images = noise.to(labels.device)
        for timestep in self.denoising.timesteps.tolist() if len(labels) else ():
            level = torch.full((len(labels),), timestep, device=labels.device)
            found = self._predict(images, level, labels).float()
            images, _ = self.denoising.step(found, timestep, images)
        return images.clamp(-1.0, 1.0)

    def _predict(self, noisy: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        classes = labels if self.spec.num_classes > 1 else None
        return self.network(noisy, timesteps=level, class_labels=classes)

    def _denoiser_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        """Mean squared error of the noise, or velocity, at a random level an image."""
        noise = batch.randn(*self.spec.shape, rng=rng)
        level = (batch.rand(rng=rng) * self.config.timesteps).long()
        noisy = self.noising.add_noise(batch.images, noise, level)
        if self.config.prediction == "epsilon":
            wanted = noise
        else:
            wanted = self.noising.get_velocity(batch.images, noise, level)
        return Loss({"mse": mse_loss(self._predict(noisy, level, batch.labels).float(), wanted)})
