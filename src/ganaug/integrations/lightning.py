"""A Lightning callback that replaces images of training batches by synthetic ones."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ganaug.augmenter import SyntheticAugmenter
from ganaug.errors import DataError

__all__ = ["SyntheticCallback"]


class SyntheticCallback(Callback):
    """Replaces images of the grown classes in every training batch, in place.

    Validation, test and prediction batches are left alone.

    augmenter: fitted; its `ratio` is the probability that an image of a grown class is replaced.

    Batches are lists or tuples of (images, labels), or dicts that hold them under ``image`` and
    ``label``. Raises DataError for other batches.
    """

    def __init__(self, augmenter: SyntheticAugmenter) -> None:
        self.augmenter = augmenter

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write synthetic images over the batch's own tensor."""
        if isinstance(batch, dict) and {"image", "label"} <= batch.keys():
            images, labels = batch["image"], batch["label"]
        elif isinstance(batch, list | tuple) and len(batch) == 2:
            images, labels = batch
        else:
            raise DataError(
                "SyntheticCallback expects batches of (images, labels), or dicts with image and "
                f"label; got {type(batch).__name__}. Call the augmenter in training_step instead."
            )
        replaced, _ = self.augmenter(images, labels)
        if replaced is not images:
            images.copy_(replaced)
