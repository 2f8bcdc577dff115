"""PGGAN: generator and critic that grow from 4 or 7 pixels a side while they are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ganaug.builtin.pggan.config import PGGANConfig
from ganaug.builtin.pggan.layers import (
    GROUP,
    Conv,
    Dense,
    DownConv,
    FromLatent,
    UpConv,
    activate,
    fade_reals,
    minibatch_stddev,
    pixel_norm,
)
from ganaug.builtin.pggan.schedule import (
    default_images_per_phase,
    level_at,
    nearest_sides,
    official_batch_size,
    sides_up_to,
    split_level,
)
from ganaug.diffaugment import DiffAugment
from ganaug.errors import ConfigError, ShapeError
from ganaug.generator import Generator, Loss, Phase
from ganaug.spec import Batch, ImageSpec, LabelledImages

__all__ = ["PGGAN", "Critic", "GeneratorNetwork", "gradient_penalty"]


class GeneratorNetwork(nn.Module):
    """Latents (N, D) and labels (N,) to images (N, C, S, S), S as large as the level has it.

    All stages exist from the start. level: scalar buffer; k where stage k makes the image alone,
    between k - 1 and k where it fades in. Several classes: an embedding beside the latents, both
    of them scaled to a mean square of one. widths: channels of each stage. base: side of the first.
    """

    level: Tensor

    def __init__(
        self, widths: Sequence[int], *, base: int, channels: int, latent_dim: int, num_classes: int
    ) -> None:
        super().__init__()
        several = num_classes > 1
        self.embedding = nn.Embedding(num_classes, latent_dim) if several else None
        self.first = FromLatent(latent_dim * (2 if several else 1), widths[0], base)
        self.same = nn.ModuleList(Conv(width, width) for width in widths)
        self.up = nn.ModuleList(map(UpConv, widths, widths[1:]))
        self.to_pixels = nn.ModuleList(Conv(width, channels, 1, gain=1.0) for width in widths)
        self.register_buffer("level", torch.tensor(0.0))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images; labels are not read where there are no classes."""
        stage, alpha = split_level(float(self.level))
        latents = pixel_norm(latents)
        if self.embedding is not None:
            latents = torch.cat([latents, pixel_norm(self.embedding(labels))], dim=1)
        x = pixel_norm(activate(self.first(latents)))
        x = pixel_norm(activate(self.same[0](x)))
        coarse = x
        for up, same in zip(self.up[:stage], self.same[1 : stage + 1], strict=True):
            coarse = x
            x = pixel_norm(activate(up(x)))
            x = pixel_norm(activate(same(x)))
        images: Tensor = self.to_pixels[stage](x)
        if alpha < 1:
            faded = interpolate(self.to_pixels[stage - 1](coarse), scale_factor=2.0)
            images = torch.lerp(faded, images, alpha)
        return images

    def active(self) -> list[nn.Parameter]:
        """Return what the current stage trains, with the layer that fades out."""
        stage, _ = split_level(float(self.level))
        modules = [
            self.embedding,
            self.first,
            *self.same[: stage + 1],
            *self.up[:stage],
            *self.to_pixels[max(stage - 1, 0) : stage + 1],
        ]
        return _parameters(modules)


class Critic(nn.Module):
    """Images (N, C, S, S) of a level's side and labels (N,) to float32 scores (N,).

    The mirror of the generator. With classes, the score gains the inner product of the class's
    embedding with the last features (Miyato & Koyama 2018, Eq. 3).
    """

    def __init__(
        self, widths: Sequence[int], *, base: int, channels: int, num_classes: int
    ) -> None:
        super().__init__()
        wide = widths[0]
        self.from_pixels = nn.ModuleList(Conv(channels, width, 1) for width in widths)
        self.same = nn.ModuleList(Conv(width, width) for width in widths[1:])
        self.down = nn.ModuleList(map(DownConv, widths[1:], widths))
        self.last = Conv(wide + 1, wide)
        self.dense = Dense(wide * base * base, wide)
        self.head = Dense(wide, 1, gain=1.0)
        self.projection = nn.Embedding(num_classes, wide) if num_classes > 1 else None

    def forward(self, images: Tensor, labels: Tensor, *, level: float, sets: int = 1) -> Tensor:
        """Return scores. sets: how many equal batches `images` holds, each compared in itself."""
        stage, alpha = split_level(level)
        x = activate(self.from_pixels[stage](images))
        for k in range(stage, 0, -1):
            x = activate(self.down[k - 1](activate(self.same[k - 1](x))))
            if k == stage and alpha < 1:
                coarse = activate(self.from_pixels[stage - 1](avg_pool2d(images, 2)))
                x = torch.lerp(coarse, x, alpha)
        x = minibatch_stddev(x, sets=sets)
        x = activate(self.last(x)).permute(0, 2, 3, 1).flatten(1)  # channels last: no copy
        features = activate(self.dense(x))
        scores: Tensor = self.head(features).flatten()
        if self.projection is not None:
            weight = self.projection(labels) / math.sqrt(features.shape[1])
            scores = scores + (weight * features).sum(dim=1)
        return scores.float()

    def active(self, level: float) -> list[nn.Parameter]:
        """Return what the stage of `level` trains, with the layer that fades out."""
        stage, _ = split_level(level)
        modules = [
            *self.from_pixels[max(stage - 1, 0) : stage + 1],
            *self.same[:stage],
            *self.down[:stage],
            self.last,
            self.dense,
            self.head,
            self.projection,
        ]
        return _parameters(modules)


class PGGAN(Generator):
    """A PGGAN (Karras et al. 2018) as `config` describes it, for the images of `spec`.

    `advance` returns True where a new stage begins, so that optimizers begin anew there; those of
    the released code do so at the end of a fade-in, too. Samples have the size of `spec` in every
    stage. Raises ShapeError unless images are square, 4 x 2^k or 7 x 2^k and 8 to 256 pixels a
    side, in 1 or 3 channels; ConfigError when `first_side` is none of these on the way.
    """

    network: GeneratorNetwork

    def __init__(self, config: PGGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        _check(spec)
        self.spec = spec
        self.config = config
        self.sides = sides_up_to(spec.height)
        widths = config.widths(len(self.sides))
        base, classes = self.sides[0], spec.num_classes
        self.latent_dim = config.latent_dim or config.fmap_max
        self.network = GeneratorNetwork(
            widths,
            base=base,
            channels=spec.channels,
            latent_dim=self.latent_dim,
            num_classes=classes,
        )
        self.critic = Critic(widths, base=base, channels=spec.channels, num_classes=classes)
        self.augment = DiffAugment(config.diffaugment)
        self._first = _first_stage(config, self.sides)
        self.network.level.fill_(self._first)
        self._most = config.max_batch_size

    def phases(self) -> Iterable[Phase]:
        """Return ``critic``, then ``generator``, each with an Adam of the stage's parameters."""
        config = self.config
        critic, generator = (
            torch.optim.Adam(parameters, lr=config.learning_rate, betas=config.betas, fused=True)
            for parameters in (self.critic.active(self._level()), self.network.active())
        )
        return [
            Phase("critic", self.critic, critic, self._critic_loss, repeats=config.n_critic),
            Phase("generator", self.network, generator, self._generator_loss),
        ]

    def batch_size(self, images_seen: int) -> int:
        """Return the paper's batch size at the stage's side, within `max_batch_size`.

        There are no more than the training images, and whole groups of four where possible.
        """
        side = self.sides[split_level(self._level())[0]]
        most = min(official_batch_size(side), self._most)
        return most - most % GROUP if most >= GROUP else most

    def advance(self, images_seen: int, images: LabelledImages) -> bool:
        """Move the level of detail on; True when another stage begins."""
        before, _ = split_level(self._level())
        per_phase = self.config.images_per_phase or default_images_per_phase(len(images))
        level = level_at(images_seen, per_phase, self._first, len(self.sides) - 1)
        self.network.level.fill_(level)
        self._most = min(self.config.max_batch_size, len(images))
        return split_level(self._level())[0] != before

    def last_stage_at(self, num_images: int) -> int:
        """Return after how many images full size is there, wholly faded in."""
        per_phase = self.config.images_per_phase or default_images_per_phase(num_images)
        return 2 * (len(self.sides) - 1 - self._first) * per_phase

    def sample(self, labels: Tensor, *, rng: torch.Generator) -> Tensor:
        """Draw an image a label, enlarged to full size; see `Generator.sample`."""
        latents = torch.randn(len(labels), self.latent_dim, generator=rng)
        images: Tensor = self.network(latents.to(labels.device), labels).float()
        return interpolate(images, size=self.spec.shape[1:]).clamp(-1.0, 1.0)

    def _level(self) -> float:
        return float(self.network.level)

    def _make(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Fake images of the batch's classes, augmented."""
        images = self.network(batch.randn(self.latent_dim, rng=rng), batch.labels)
        return self.augment(images, self.augment.draw(batch, rng))

    def _critic_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        config, level, labels = self.config, self._level(), batch.labels
        stage, alpha = split_level(level)
        side = self.sides[stage]
        with torch.no_grad():
            fakes = self._make(batch, rng).float()
            reals = fade_reals(batch.images, side, alpha)
            reals = self.augment(reals, self.augment.draw(batch, rng))
        together, twice = torch.cat([reals, fakes]), labels.repeat(2)
        real, fake = self.critic(together, twice, level=level, sets=2).chunk(2)

        def critic(images: Tensor) -> Tensor:
            scores: Tensor = self.critic(images, labels, level=level)
            return scores

        share = batch.rand(1, 1, 1, rng=rng)
        penalty = gradient_penalty(critic, torch.lerp(reals, fakes, share))
        terms = {
            "wasserstein": fake.mean() - real.mean(),
            "gradient_penalty": config.lambda_gp * penalty,
            "drift": config.drift * real.square().mean(),
        }
        logs = {"d_real": real.detach().mean(), "d_fake": fake.detach().mean()}
        growing = float(level < len(self.sides) - 1)
        return Loss(terms, {**logs, "growing": growing, "resolution": float(side), "alpha": alpha})

    def _generator_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        fake = self.critic(self._make(batch, rng), batch.labels, level=self._level())
        return Loss({"adversarial": -fake.mean()})


def gradient_penalty(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Penalise critic gradients away from norm one (Gulrajani et al. 2017, Eq. 3).

    critic: maps images (N, C, H, W) to scores (N,). images: between real and fake ones; where they
        come from gets no gradient. Computed in float32, outside autocast, because squares of
        bfloat16 lose most of their digits.
    Returns the mean over images as a scalar that can be differentiated; multiply by lambda.
    """
    with torch.autocast(images.device.type, enabled=False), torch.enable_grad():
        images = images.detach().float().requires_grad_()
        scores = critic(images)
        (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
        norm: Tensor = torch.linalg.vector_norm(gradient, dim=(1, 2, 3))
        return (norm - 1).square().mean()


def _parameters(modules: Iterable[nn.Module | None]) -> list[nn.Parameter]:
    return [p for module in modules if module is not None for p in module.parameters()]


def _first_stage(config: PGGANConfig, sides: Sequence[int]) -> int:
    if config.first_side is None:
        return 0
    if config.first_side not in sides:
        raise ConfigError(
            f"first_side must be one of {', '.join(map(str, sides))} for images of {sides[-1]} "
            f"pixels a side; got {config.first_side}."
        )
    return sides.index(config.first_side)


def _check(spec: ImageSpec) -> None:
    side = max(spec.height, spec.width)
    if spec.width != spec.height or not 8 <= side <= 256 or not sides_up_to(side):
        below, above = nearest_sides(side)
        near = f"size={below}" if below == above else f"size={below} or size={above}"
        raise ShapeError(
            "PGGAN needs a square image of 4 or 7 pixels a side, doubled up to 256 or 224; "
            f"got {spec.height}x{spec.width}. Resize with {near}."
        )
    if spec.channels not in (1, 3):
        raise ShapeError(
            f"PGGAN needs images of 1 or 3 channels; got {spec.channels}. "
            "Convert them to greyscale or RGB."
        )
