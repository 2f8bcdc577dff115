"""Hashes that tell which images are the same, and which look alike; never their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.spec import LabelledImages

__all__ = [
    "ImageHashes",
    "close_pairs",
    "hash_distances",
    "hash_images",
    "perceptual_hash",
    "pixel_hash",
    "to_grey",
]

#: The bytes of each hash in a perceptual hash.
_PHASH, _DHASH = slice(0, 8), slice(8, 16)

#: Distances held at a time, so that a large set never has all of its pairs in memory.
_BLOCK_VALUES = 2**22


@dataclass(frozen=True, slots=True, eq=False)
class ImageHashes:
    """Hashes of N images, a row an image.

    pixels: uint8 (N, 32), see `pixel_hash`. perceptual: uint8 (N, 16), see `perceptual_hash`;
    mirrored: the same of the images mirrored left to right.
    """

    pixels: NDArray[np.uint8]
    perceptual: NDArray[np.uint8]
    mirrored: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)


def hash_images(images: LabelledImages) -> ImageHashes:
    """Hash every image, decoded one at a time. Raises DataError when one cannot be decoded."""
    n = len(images)
    pixels = np.empty((n, 32), dtype=np.uint8)
    perceptual, mirrored = (np.empty((n, 16), dtype=np.uint8) for _ in range(2))
    for row in range(n):
        image = np.asarray(images.pixels[row])
        pixels[row] = np.frombuffer(pixel_hash(image), dtype=np.uint8)
        perceptual[row] = perceptual_hash(image, images.value_range)
        mirrored[row] = perceptual_hash(image[..., ::-1], images.value_range)
    return ImageHashes(pixels, perceptual, mirrored)


def pixel_hash(image: NDArray[Any]) -> bytes:
    """Return the SHA-256, 32 bytes, of an image's shape, dtype and pixels, (C, H, W)."""
    plain = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{plain.shape} {plain.dtype.str}\n".encode())
    digest.update(plain.data)
    return digest.digest()


def perceptual_hash(image: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Return the pHash and the dHash (imagehash; 64 bits each) of an image, packed, uint8 (16,).

    image: (C, H, W) within `value_range`; see `to_grey`.
    """
    import imagehash
    from PIL import Image

    picture = Image.fromarray(to_grey(image, value_range).round().astype(np.uint8))
    both = (imagehash.phash(picture).hash, imagehash.dhash(picture).hash)
    return np.packbits(np.concatenate([bits.ravel() for bits in both]))


def to_grey(image: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.float32]:
    """Return the mean over channels, (H, W) in 0..255, of an image (C, H, W) in `value_range`.

    Values that are not finite count as the lowest.
    """
    low, high = value_range
    scaled = (image.astype(np.float32) - low) * (255.0 / (high - low))
    if image.dtype.kind == "f":
        scaled[~np.isfinite(scaled)] = 0.0
    return np.asarray(scaled.mean(axis=0).clip(0.0, 255.0), dtype=np.float32)


def hash_distances(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return in how many of 64 bits perceptual hashes differ, (N, 16) and (M, 16); (N, M).

    It is the larger of the two Hamming distances, of the pHash and of the dHash.
    """
    phash, dhash = (_signs(a[:, part]) @ _signs(b[:, part]).T for part in (_PHASH, _DHASH))
    return np.asarray(32.0 - np.minimum(phash, dhash) / 2.0, dtype=np.float32)


def close_pairs(
    a: NDArray[np.uint8], b: NDArray[np.uint8], bits: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows of `a` and of `b` whose `hash_distances` are at most `bits`; (K,) each.

    A block of the rows of `a` at a time, so that memory does not grow with N times M.
    """
    signs = _signs(b[:, _PHASH]).T
    block = max(1, _BLOCK_VALUES // max(len(b), 1))
    for start in range(0, len(a), block):
        some = a[start : start + block]
        rows, others = np.nonzero(_signs(some[:, _PHASH]) @ signs >= 64 - 2 * bits)
        differing = np.bitwise_count(some[rows, _DHASH] ^ b[others, _DHASH]).sum(axis=1)
        yield rows[differing <= bits] + start, others[differing <= bits]


def _signs(hashes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return bits as -1 and 1; the product of two rows of 64 is 64 less twice their distance."""
    return np.unpackbits(hashes, axis=1).astype(np.float32) * 2.0 - 1.0
