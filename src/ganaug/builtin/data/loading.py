"""MONAI's `LoadImage`, made once and without its remarks about readers that are not used."""

from __future__ import annotations

import functools
import logging
import warnings

from monai.transforms.io.array import LoadImage

__all__ = ["image_loader"]


@functools.cache
def image_loader() -> LoadImage:
    """Return a loader that keeps the reader's dtype and puts channels first.

    Give it the reader in the call, so that the reader's own errors come through:
    ``image_loader()(path, reader=reader)`` is a MetaTensor (C, H, W) or (C, H, W, D).
    """
    logger = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
    level = logger.level
    logger.setLevel(logging.ERROR)  # LoadImage tries all readers, a CUDA codec's among them
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return LoadImage(image_only=True, dtype=None, ensure_channel_first=True)
    finally:
        logger.setLevel(level)
