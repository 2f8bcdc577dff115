"""Train a classifier as an arm says, and ask it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganaug.benchmark.augment import ClassicalAugmentation
from ganaug.benchmark.draws import draw_rows
from ganaug.benchmark.validating import Checked, check
from ganaug.errors import ConfigError, DataError, ShapeError, TrainingFailedError
from ganaug.hardware import computes_in_bf16
from ganaug.randomness import seeded
from ganaug.study import Arm

__all__ = ["Checked", "Fitted", "TrainingSet", "predict", "train_classifier"]

#: How often a training is looked at on validation images, the last step included.
_CHECKS = 10

#: Images that `predict` passes at a time.
_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """Images that a classifier may be trained on, real and synthetic.

    images: float32 (N, C, H, W) in [-1, 1]. labels: int64 (N,), from 0. is_synthetic: bool (N,).

    Raises ShapeError or DataError for anything else.
    """

    images: Tensor
    labels: Tensor
    is_synthetic: Tensor

    def __post_init__(self) -> None:
        _check_images(self.images, self.labels, "training")
        if self.is_synthetic.dtype != torch.bool or len(self.is_synthetic) != len(self.labels):
            raise DataError(
                f"is_synthetic should be {len(self.labels)} booleans, one an image; got "
                f"{len(self.is_synthetic)} of {self.is_synthetic.dtype}."
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A trained classifier, as it was at the best check of the second half.

    model: in evaluation mode. steps, score: of that check. history: all checks.
    """

    model: nn.Module
    steps: int
    score: float
    history: tuple[Checked, ...]


def train_classifier(
    model: nn.Module,
    arm: Arm,
    train: TrainingSet,
    validation: tuple[Tensor, Tensor],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    classical: Mapping[str, Any],
    seed: int,
) -> Fitted:
    """Train a classifier in place, as the arm says, and keep what did best on validation images.

    model: float32 (N, C, H, W) in [-1, 1] to logits (N, classes), on the device it is to be
    trained on. validation: images and labels, real ones. classical: arguments of
    `ClassicalAugmentation`, for arms that have it.

    Every arm has the same number of steps and, for a seed, draws the same batches as any other
    arm of its sampling from the same set. Adam (Kingma and Ba 2015) with a cosine from
    `learning_rate` to zero. Ten times, the last step included, the validation images are looked
    at: of the checks in the second half, the highest AUROC counts, then the lowest loss, each a
    mean over classes (see `Checked.rank`). Early in the cosine a lucky check on a few rare images
    would win over a better classifier, and a warm start would not have seen a real image yet.
    Weights follow from model, images, arm and seed alone, on one kind of CPU bit for bit at an
    equal number of threads; the caller's random numbers are not touched. Where the processor
    computes in bf16 the network does (Kalamkar et al. 2019), with float32 weights and loss.

    Raises ConfigError for steps, batch size or learning rate that are not positive or an unknown
    classical argument, DataError where there is no image to draw or to validate on, and
    TrainingFailedError where the loss becomes infinite or not a number.
    """
    _check_plan(steps, batch_size, learning_rate)
    _check_images(*validation, "validation")
    training = _Training(model, arm, train, steps, batch_size, learning_rate, classical, seed)
    with seeded(seed, training.device), torch.enable_grad():
        return training.run(validation)


def predict(model: nn.Module, images: Tensor) -> NDArray[np.float64]:
    """Return probabilities, float64 (N, classes), of float32 images (N, C, H, W) in [-1, 1].

    Rows sum to 1. The model is used as in evaluation, and left in the mode that it was in.
    """
    return _logits(model, images).double().softmax(dim=1).cpu().numpy()


class _Training:
    """The state of one training: what is drawn, what is optimised, what was best."""

    def __init__(
        self,
        model: nn.Module,
        arm: Arm,
        train: TrainingSet,
        steps: int,
        batch_size: int,
        learning_rate: float,
        classical: Mapping[str, Any],
        seed: int,
    ) -> None:
        self.device = _device(model)
        self.steps = steps
        # Channels last is a fifth faster with batch normalisation on a CPU.
        self.model = model.to(memory_format=torch.channels_last)
        self.images, self.labels = train.images.to(self.device), train.labels.to(self.device)
        self.rows = draw_rows(
            arm,
            train.labels,
            train.is_synthetic,
            steps=steps,
            batch_size=batch_size,
            rng=_stream(seed, 0),
        )
        self.augment = ClassicalAugmentation(classical) if arm.classical else None
        self.augment_rng = _stream(seed, 1)
        self.mixup = _mixtures(arm.mixup, steps, seed)
        self.mixup_rng = _stream(seed, 2)
        self.weights = _class_weights(train.labels[self.rows]) if arm.class_weights else None
        # Networks in bf16 where the processor has it, as generators are trained: the loss, the
        # weights and all that is asked of a classifier later are float32.
        kind = self.device.type
        self.reduced = torch.autocast(kind, torch.bfloat16, enabled=computes_in_bf16(kind))
        self.adam = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.adam, steps)

    def run(self, validation: tuple[Tensor, Tensor]) -> Fitted:
        """Take all steps; the best check of the second half is what remains."""
        history: list[Checked] = []
        best: Checked | None = None
        weights: dict[str, Tensor] = {}
        losses: list[Tensor] = []
        checks = {math.ceil(self.steps * i / _CHECKS) for i in range(1, _CHECKS + 1)}
        self.model.train()
        for step in range(1, self.steps + 1):
            losses.append(self.step(step - 1))
            if step not in checks:
                continue
            checked = self.check(step, validation, losses)
            history.append(checked)
            losses.clear()
            if step > self.steps // 2 and (best is None or checked.rank > best.rank):
                best = checked
                weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        assert best is not None  # the last step is always checked
        self.model.load_state_dict(weights)
        self.model.eval()
        return Fitted(model=self.model, steps=best.step, score=best.score, history=tuple(history))

    def step(self, index: int) -> Tensor:
        """Take one optimiser step; return its loss."""
        rows = self.rows[index].to(self.device)
        images, labels = self.images[rows], self.labels[rows]
        if self.augment is not None:
            images = self.augment(images, self.augment.draw(len(rows), self.augment_rng))
        share, partner = 1.0, None
        if self.mixup is not None:
            share = float(self.mixup[index])
            partner = torch.randperm(len(rows), generator=self.mixup_rng).to(self.device)
            images = share * images + (1 - share) * images[partner]
        with self.reduced:
            logits = self.model(images.contiguous(memory_format=torch.channels_last))
        logits = logits.float()
        loss = self.loss(logits, labels)
        if partner is not None:
            loss = share * loss + (1 - share) * self.loss(logits, labels[partner])
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        self.schedule.step()
        return loss.detach()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy; a batch's weights are not divided by their sum, which varies."""
        losses = cross_entropy(logits, labels, reduction="none")
        if self.weights is not None:
            losses = losses * self.weights.to(losses)[labels]
        return losses.mean()

    def check(self, step: int, validation: tuple[Tensor, Tensor], losses: list[Tensor]) -> Checked:
        """Look at the validation images. Raises TrainingFailedError where a loss is not finite."""
        training_loss = float(torch.stack(losses).mean())
        logits, labels = _logits(self.model, validation[0]), validation[1].to(self.device)
        checked = check(logits, labels, step=step, training_loss=training_loss)
        if not (math.isfinite(training_loss) and math.isfinite(checked.loss)):
            raise TrainingFailedError(
                f"The classifier's loss is not finite after {step} of {self.steps} steps; lower "
                "the learning rate of the study."
            )
        return checked


def _class_weights(drawn: Tensor) -> Tensor:
    """Return the inverse of how often each class is drawn; over the draws, the mean is 1."""
    counts = drawn.flatten().bincount()
    return drawn.numel() / ((counts > 0).sum() * counts.clamp(min=1)).float()


def _mixtures(alpha: float, steps: int, seed: int) -> NDArray[np.float64] | None:
    """Return the share of each step's first image, Beta(alpha, alpha); None where alpha is 0."""
    if not alpha:
        return None
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,)))
    return rng.beta(alpha, alpha, steps)


def _stream(seed: int, number: int) -> torch.Generator:
    """Return random numbers of their own, so that arms differ by what they do and nothing else."""
    state = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    device, training = _device(model), model.training
    model.eval()
    with torch.no_grad():
        parts = [
            model(part.to(device).contiguous(memory_format=torch.channels_last))
            for part in images.split(_BATCH)
        ]
        logits = torch.cat(parts)
    model.train(training)
    return logits


def _device(model: nn.Module) -> torch.device:
    return next(iter(model.parameters())).device


def _check_images(images: Tensor, labels: Tensor, what: Literal["training", "validation"]) -> None:
    if images.ndim != 4 or images.dtype != torch.float32:
        raise ShapeError(
            f"The {what} images should be float32 (N, C, H, W) in [-1, 1]; got {images.dtype} of "
            f"shape {tuple(images.shape)}."
        )
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64 or not len(labels):
        raise DataError(
            f"There should be {what} images, and an int64 label for each; got {len(images)} "
            f"image(s) and labels of {labels.dtype} of shape {tuple(labels.shape)}."
        )


def _check_plan(steps: int, batch_size: int, learning_rate: float) -> None:
    # Batch normalisation needs two images.
    for name, value, least in (("steps", steps, 1), ("batch_size", batch_size, 2)):
        if value < least:
            raise ConfigError(f"{name} should be at least {least}; got {value}.")
    if not learning_rate > 0:
        raise ConfigError(f"learning_rate should be above 0; got {learning_rate}.")
