"""Hashes that tell which images are the same, and which look alike; never their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.spec import DTYPE_RANGES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ganaug.spec import LabelledImages

__all__ = [
    "ImageHashes",
    "Looks",
    "channel_statistics",
    "close_pairs",
    "detail_hash",
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

#: An image is blank when its values vary by no more than this fraction of the set's span; of the
#: value range, what a mean of equal floats may be off by.
_BLANK = 0.01
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What N images look like, a row an image.

    perceptual: uint8 (N, 16), see `perceptual_hash`. detail: uint8 (N, 32), see `detail_hash`.
    """

    perceptual: NDArray[np.uint8]
    detail: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class ImageHashes:
    """Hashes of N images, a row an image.

    pixels: uint8 (N, 32), see `pixel_hash`. looks: of the images as they are. mirrored: of the
    images mirrored left to right. blank: bool (N,), of images of one value or almost, such as the
    first slices of a volume: all of them are alike, so that two of them are evidence of nothing.
    """

    pixels: NDArray[np.uint8]
    looks: Looks
    mirrored: Looks
    blank: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pixels)


def hash_images(images: LabelledImages) -> ImageHashes:
    """Hash every image, decoded one at a time. Raises DataError when one cannot be decoded."""
    n = len(images)
    pixels = np.empty((n, 32), dtype=np.uint8)
    looks, mirrored = (
        Looks(np.empty((n, 16), dtype=np.uint8), np.empty((n, 32), dtype=np.uint8))
        for _ in range(2)
    )
    means, deviations = np.full(n, np.nan), np.full(n, np.nan)
    for row in range(n):
        image = np.asarray(images.pixels[row])
        pixels[row] = np.frombuffer(pixel_hash(image), dtype=np.uint8)
        grey = to_grey(image, images.value_range)
        for hashes, version in ((looks, grey), (mirrored, grey[:, ::-1])):
            hashes.perceptual[row], hashes.detail[row] = _look_hashes(version)
        channel_means, channel_deviations = channel_statistics(image, images.value_range)
        means[row] = np.ma.filled(channel_means.mean(), np.nan)
        deviations[row] = np.ma.filled(channel_deviations.max(), np.nan)
    blank = _find_blank(means, deviations, images.value_range)
    return ImageHashes(pixels, looks, mirrored, blank)


def channel_statistics(image: NDArray[Any], value_range: tuple[float, float]) -> tuple[Any, Any]:
    """Return mean and standard deviation of each channel of (C, H, W), float64 (C,) each.

    In the units of `value_range`: sets that mix 8 and 16 bits have the range of one of them, and
    the others are scaled from the range of their dtype; any other range is the caller's statement
    about all values, and they stay. Values that are not finite are left out; a channel of no
    others is masked (numpy.ma).
    """
    values: Any = image
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        values = np.ma.masked_invalid(image)
    scale, offset = 1.0, 0.0
    low, high = DTYPE_RANGES.get(image.dtype, value_range)
    if value_range in DTYPE_RANGES.values():
        scale = (value_range[1] - value_range[0]) / (high - low)
        offset = value_range[0] - low * scale
    means = values.mean(axis=(1, 2), dtype=np.float64) * scale + offset
    return means, values.std(axis=(1, 2), dtype=np.float64) * scale


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
    return _perceptual_hash(_picture(to_grey(image, value_range)))


def detail_hash(image: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Return the 256-bit pHash of an image (C, H, W), packed, uint8 (32,).

    It tells images apart that only look alike when small.
    """
    return _detail_hash(_picture(to_grey(image, value_range)))


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


def _find_blank(
    means: NDArray[np.float64], deviations: NDArray[np.float64], value_range: tuple[float, float]
) -> NDArray[np.bool_]:
    """Return which images hold one value or hardly more, bool (N,); NaN: no finite value.

    The span is that of the means and deviations, not of single pixels, and of the set, not of
    the dtype: 12-bit images in 16 bits use a sixteenth of what there is.
    """
    if np.isnan(deviations).all():
        return np.zeros(len(deviations), dtype=np.bool_)
    span = np.nanmax(means + 2 * deviations) - np.nanmin(means - 2 * deviations)
    least = _ROUNDING * (value_range[1] - value_range[0])
    return np.asarray(deviations <= _BLANK * max(span, least), dtype=np.bool_)


def _picture(grey: NDArray[np.float32]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(grey.round().astype(np.uint8))


def _look_hashes(grey: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    picture = _picture(grey)
    return _perceptual_hash(picture), _detail_hash(picture)


def _perceptual_hash(picture: Image.Image) -> NDArray[np.uint8]:
    import imagehash

    both = (imagehash.phash(picture).hash, imagehash.dhash(picture).hash)
    return np.packbits(np.concatenate([bits.ravel() for bits in both]))


def _detail_hash(picture: Image.Image) -> NDArray[np.uint8]:
    import imagehash

    return np.packbits(imagehash.phash(picture, hash_size=16).hash.ravel())


def _signs(hashes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return bits as -1 and 1; the product of two rows of 64 is 64 less twice their distance."""
    return np.unpackbits(hashes, axis=1).astype(np.float32) * 2.0 - 1.0
