"""A MONAI dictionary transform that replaces images by synthetic ones of their class."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, RandomizableTransform

from ganaug.augmenter import SyntheticAugmenter
from ganaug.errors import ConfigError

__all__ = ["RandSyntheticd"]


class RandSyntheticd(RandomizableTransform, MapTransform):
    """With probability `prob`, replace the image of a grown class by a synthetic one.

    Put it where images are channel-first and within the augmenter's value range, before
    normalisation. Seeded as every MONAI transform is, by ``set_random_state`` and
    ``set_determinism``.

    keys: the image's key; one. label_key: the key of its label, an integer.
    augmenter: fitted. prob: probability for an image of a class that the augmenter grows.

    Raises ConfigError for several keys, NotFittedError for an augmenter that is not fitted.
    """

    def __init__(
        self,
        keys: KeysCollection,
        augmenter: SyntheticAugmenter,
        *,
        label_key: str = "label",
        prob: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if len(self.keys) != 1:
            raise ConfigError(
                "RandSyntheticd replaces one image an item; got keys "
                f"{', '.join(map(str, self.keys))}."
            )
        self.augmenter = augmenter
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item, its image replaced or not; a MetaTensor keeps its metadata."""
        item = dict(data)
        self.randomize(None)
        seed = int(self.R.randint(np.iinfo(np.int32).max))
        key = self.first_key(item)
        if not self._do_transform or key == ():
            return item
        image = item[key]
        batch = image.as_tensor() if isinstance(image, MetaTensor) else image
        label = np.asarray([int(torch.as_tensor(item[self.label_key]).item())])
        fresh = self.augmenter.replace(batch[None], label, 1.0, random_state=seed)[0]
        item[key] = MetaTensor(fresh, meta=image.meta) if isinstance(image, MetaTensor) else fresh
        return item
