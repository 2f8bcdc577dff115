"""Which images of a set are the same, and which are nearly so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganaug.hashes import ImageHashes, close_pairs, to_grey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.spec import LabelledImages

__all__ = ["Duplicates", "find_duplicates"]

# Thresholds of a near duplicate. In eight real image sets, 18,000 images, they leave no pair of
# different images; chest X-rays and skin lesions of 28 pixels, which all look alike, come as near
# as a correlation of 0.97 of the whole or 0.89 of the detail, but not both. At least 96 % of
# copies are found that were brightened by 10 %, given a gamma of 0.8, shrunk to 70 % or mirrored.
_CANDIDATE_BITS = 8  # of 64, in which the pHash and the dHash may each differ
_LEAST_CORRELATION = 0.96
_LEAST_DETAIL_CORRELATION = 0.85

#: Height and width at which pixels are compared, and the width of the blur that leaves detail.
_SIDE = 32
_BLUR = 2.0

#: Images with a side below this have too few pixels to tell near duplicates from look-alikes.
_SMALLEST_SIDE = 24

#: Pairs whose pixels are compared at a time.
_PAIRS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """What `find_duplicates` found: rows, ascending, of images that belong together.

    exact: images of the same pixels. near: clusters of images that are the same or nearly so,
    as `split_rows` takes them; each of `exact` lies within one of them.
    """

    exact: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, ...], ...]


def find_duplicates(images: LabelledImages, hashes: ImageHashes) -> Duplicates:
    """Find images with the same pixels, and clusters of near duplicates, mirrored ones included.

    hashes: of the same images, from `hash_images`. Perceptual hashes name the candidates; a pair
    counts when, at 32x32 pixels, the two images correlate (Pearson; so brightness and contrast
    may differ) and so do their details, what a blur takes away. Only candidates are decoded, one
    at a time. A crop or shift by 2 % of the side is mostly missed, and images with a side below
    24 pixels are only compared exactly. Blank images are duplicates of none.
    Raises DataError when an image cannot be decoded.
    """
    _, first, member = np.unique(hashes.pixels, axis=0, return_index=True, return_inverse=True)
    alone = np.arange(len(images))
    same = np.where(hashes.blank, alone, first[member.ravel()])
    different = np.flatnonzero((same == alone) & ~hashes.blank)
    near = _merge(same, _near_pairs(images, hashes, different))
    return Duplicates(exact=_gather(same), near=_gather(near))


def _near_pairs(
    images: LabelledImages, hashes: ImageHashes, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield confirmed pairs among rows of different pixels, block by block."""
    thumbnails = _Thumbnails(images)
    upright = hashes.looks.perceptual[rows]
    for mirrored, versions in ((False, upright), (True, hashes.mirrored.perceptual[rows])):
        for first, second in close_pairs(versions, upright, _CANDIDATE_BITS):
            once = first < second
            a, b = rows[first[once]], rows[second[once]]
            for start in range(0, len(a), _PAIRS):
                some = slice(start, start + _PAIRS)
                good = thumbnails.agree(a[some], b[some], mirrored=mirrored)
                if good.any():
                    yield a[some][good], b[some][good]


class _Thumbnails:
    """Small versions of images, made when first asked for; 8 KiB each."""

    def __init__(self, images: LabelledImages) -> None:
        self._images = images
        self._made = np.zeros(len(images), dtype=np.bool_)
        self._whole, self._detail = (
            np.empty((len(images), _SIDE, _SIDE), dtype=np.float32) for _ in range(2)
        )

    def agree(
        self, a: NDArray[np.int64], b: NDArray[np.int64], *, mirrored: bool
    ) -> NDArray[np.bool_]:
        """Say which pairs of rows, (K,) and (K,), correlate; `mirrored` mirrors those of `a`."""
        for row in np.union1d(a, b).tolist():
            if not self._made[row]:
                self._make(row)
        step = -1 if mirrored else 1
        whole, detail = (
            np.einsum("nhw,nhw->n", small[a][:, :, ::step], small[b])
            for small in (self._whole, self._detail)
        )
        return np.asarray((whole >= _LEAST_CORRELATION) & (detail >= _LEAST_DETAIL_CORRELATION))

    def _make(self, row: int) -> None:
        from PIL import Image
        from scipy.ndimage import gaussian_filter

        grey = to_grey(np.asarray(self._images.pixels[row]), self._images.value_range)
        small = np.asarray(Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
        if min(grey.shape) < _SMALLEST_SIDE:
            small = np.zeros_like(small)  # agrees with nothing
        self._whole[row] = _standardised(small)
        self._detail[row] = _standardised(small - gaussian_filter(small, _BLUR))
        self._made[row] = True


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values of mean zero and norm one, so that a dot product is a correlation."""
    centred = values - values.mean()
    norm = float(np.linalg.norm(centred))
    # below a hundredth of a grey level a pixel, what is left of a flat image is rounding
    return np.asarray(centred / norm if norm > 0.01 * _SIDE else np.zeros_like(centred))


def _merge(
    same: NDArray[np.int64], pairs: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> NDArray[np.int64]:
    """Join rows by pairs; a row's home, int64 (N,), is the same for all that are connected.

    Each block of pairs is merged and let go: a set of one scene has a quadratic number of them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(same)
    homes = same
    for first, second in pairs:
        edges = (np.concatenate([np.arange(n), first]), np.concatenate([homes, second]))
        graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(n, n))
        components = connected_components(graph, directed=False)[1]
        homes = np.unique(components, return_index=True)[1][components]
    return homes


def _gather(homes: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Return the rows that share a home, in order of first rows; single rows left out."""
    order = np.argsort(homes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(homes[order])) + 1)
    return tuple(sorted(tuple(part.tolist()) for part in parts if len(part) > 1))
