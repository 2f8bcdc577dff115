"""Adversarial losses on logits, one paper each.

Logits are float tensors (N,), higher where the discriminator believes an image is real. Every
loss is a mean over the batch, so averaging the gradients of equal shares of a batch gives the
gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

__all__ = [
    "bce_discriminator",
    "bce_generator",
    "hinge_discriminator",
    "hinge_generator",
    "relativistic_discriminator",
    "relativistic_generator",
    "zero_centered_gradient_penalty",
]


def bce_discriminator(real: Tensor, fake: Tensor, *, real_label: float | Tensor = 1.0) -> Tensor:
    """Cross-entropy of real against fake (Goodfellow et al. 2014, Eq. 1).

    real, fake: logits (N,). real_label: the target of real images, a number or scalar tensor in
    (0, 1]; below 1 it is one-sided label smoothing (Salimans et al. 2016, section 3.4). Returns
    a scalar.
    """
    target = torch.ones_like(real) * real_label
    return binary_cross_entropy_with_logits(real, target) + softplus(fake).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """Non-saturating generator loss, -log D(fake) (Goodfellow et al. 2014, section 3).

    fake: logits (N,). Returns a scalar.
    """
    return softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator (Lim & Ye 2017; Miyato et al. 2018, Eq. 16).

    real, fake: logits (N,). Returns a scalar.
    """
    return relu(1 - real).mean() + relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Hinge loss of the generator, -D(fake) (Miyato et al. 2018, Eq. 17).

    fake: logits (N,). Returns a scalar.
    """
    return -fake.mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing loss of the discriminator (Jolicoeur-Martineau 2019; R3GAN 2024, Eq. 2).

    real, fake: logits (N,), compared pair by pair. Returns a scalar.
    """
    return softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing loss of the generator (Jolicoeur-Martineau 2019; R3GAN 2024, Eq. 2).

    real, fake: logits (N,), compared pair by pair; only `fake` needs a gradient. Returns a scalar.
    """
    return softplus(real - fake).mean()


def zero_centered_gradient_penalty(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Squared norm of the critic's gradient at images (Mescheder et al. 2018, Eq. 9).

    R1 where `images` are real, R2 where they are fake; multiply by gamma / 2.

    critic: maps images (N, C, H, W) to logits (N,), each from its own image alone.
    images: (N, C, H, W); where they come from gets no gradient. Computed in float32, outside
        autocast, because squared gradients of bfloat16 lose most of their digits.
    Returns the mean over images as a scalar that can be differentiated.
    """
    with torch.autocast(images.device.type, enabled=False), torch.enable_grad():
        images = images.detach().float().requires_grad_()
        logits = critic(images)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()
