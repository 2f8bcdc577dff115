from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ganaug import SyntheticAugmenter
from ganaug.errors import DataError
from ganaug.integrations.lightning import SyntheticCallback


class Classifier(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 2)
        self.seen, self.validated = [], []

    def training_step(self, batch, _):
        images, labels = batch
        self.seen.append(images.clone())
        return nn.functional.cross_entropy(self.layer(images.flatten(1)), labels)

    def validation_step(self, batch, _):
        self.validated.append(batch[0].clone())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def augmenter(two_class_arrays):
    x, y = two_class_arrays
    augmenter = SyntheticAugmenter(
        "dcgan", config={"width": 4}, total_images=16, ratio=1.0, random_state=0, filter=None
    )
    return augmenter.fit([(image, int(label)) for image, label in zip(x, y, strict=True)])


def fit(augmenter, dataset, tmp_path):
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
        callbacks=[SyntheticCallback(augmenter)],
    )
    classifier = Classifier()
    loader = DataLoader(dataset, batch_size=8)
    trainer.fit(classifier, loader, loader)
    return classifier


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning with a newer torch
@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice on workers
@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
def test_training_batches_are_augmented_and_validation_batches_are_not(
    augmenter, two_class_arrays, tmp_path
):
    x, y = two_class_arrays
    images, labels = torch.from_numpy(x).float() / 255, torch.from_numpy(y)
    classifier = fit(augmenter, TensorDataset(images, labels), tmp_path)
    changed = (torch.cat(classifier.seen) != images).flatten(1).any(1)
    assert changed[labels == 1].all()
    assert not changed[labels == 0].any()
    assert torch.equal(torch.cat(classifier.validated), images)
    again = torch.from_numpy(x).float() / 255
    assert torch.equal(images, again), "the caller's own data must not be written over"


def test_a_batch_of_another_kind_says_what_was_expected(augmenter):
    with pytest.raises(DataError, match=r"batches of \(images, labels\).*got str"):
        SyntheticCallback(augmenter).on_train_batch_start(None, None, "batch", 0)
