"""What classifiers are asked: a study's classes, and images as it wants them seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import ConfigError, DataError, nearest
from ganaug.pixels import resize, to_signed
from ganaug.spec import LUMA, class_indices

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ganaug.spec import LabelledImages
    from ganaug.study import Study

__all__ = ["Task", "map_classes", "rare_classes"]


class Task:
    """The images of a study: for generators as they are, for classifiers as tensors.

    images: all rows, of the classes of the task (see `map_classes`), as their source gave them.
    tensor: float32 (N, C, H, W) in [-1, 1], made once. labels: int64 (N,). size: (H, W).

    Raises DataError for images that cannot be loaded, or that differ in size where the study has
    none.
    """

    def __init__(self, images: LabelledImages, study: Study) -> None:
        import torch

        self.images = images
        self.labels = torch.from_numpy(images.labels)
        self._channels = study.channels
        loaded = images.load(study.size)
        self.size = loaded.spec.shape[1:]
        self.tensor = self.prepare(np.asarray(loaded.pixels), images.value_range)

    @property
    def channels(self) -> int:
        """How many channels classifiers see."""
        return int(self.tensor.shape[1])

    def prepare(self, pixels: NDArray[Any], value_range: tuple[float, float]) -> Tensor:
        """Return pixels (n, C, H, W) as classifiers see them: float32 (n, C', H, W) in [-1, 1].

        Real and synthetic images take the same way: resized, then with the study's channels.
        """
        import torch

        signed = to_signed(resize(pixels, *self.size), value_range)
        if self._channels == 1 and signed.shape[1] == 3:
            return torch.einsum("nchw,c->nhw", signed, torch.tensor(LUMA))[:, None]
        if self._channels == 3 and signed.shape[1] == 1:
            return signed.repeat(1, 3, 1, 1)
        return signed


def map_classes(images: LabelledImages, classes: Mapping[str, str] | None) -> LabelledImages:
    """Return the images with the classes of a task; rows of labels that it lacks are left out.

    classes: label to class of the task, in the order of the classes; None keeps all as they are.
    Labels that the images do not have are passed over: a study may name those of several image
    sets. Raises ConfigError for a class that is left with no label.
    """
    if classes is None:
        return images
    names = tuple(dict.fromkeys(classes.values()))
    for name in names:
        of_class = [label for label, its in classes.items() if its == name]
        if not set(of_class) & set(images.class_names):
            raise ConfigError(
                f"The study's class {name!r} is made of the label{'s' * (len(of_class) > 1)} "
                f"{', '.join(of_class)}; these images have none of that name."
                f"{nearest(of_class[0], images.class_names)} Their labels are "
                f"{', '.join(images.class_names)}."
            )
    index_of = {name: index for index, name in enumerate(names)}
    new = np.array([index_of.get(classes.get(name, ""), -1) for name in images.class_names])
    labels = new[images.labels]
    kept = images.subset(np.flatnonzero(labels >= 0))
    if not len(kept):
        raise DataError(f"There is no image of the study's labels, {', '.join(classes)}.")
    return replace(kept, labels=labels[labels >= 0], class_names=names)


def rare_classes(images: LabelledImages, study: Study) -> tuple[int, ...]:
    """Return the indices of the classes that get synthetic images, ascending.

    Raises ConfigError for a class that the task does not have.
    """
    if study.rare:
        return tuple(sorted(class_indices(study.rare, images.class_names)))
    largest = int(np.bincount(images.labels).argmax())
    return tuple(index for index in range(len(images.class_names)) if index != largest)
