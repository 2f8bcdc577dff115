"""Reader studies: real and synthetic images, blinded, for people to tell apart.

`make_study` chooses the images, `render_page` makes the page that shows them, and `render_key`
the file that says which is which. `ganaug.readers.scores` scores what readers answer.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganaug.errors import ConfigError, DataError, TooFewImagesError
from ganaug.parts import load_at
from ganaug.pixels import to_pil
from ganaug.randomness import class_seed
from ganaug.readers.answers import ANSWERS, KEY_COLUMNS
from ganaug.spec import LabelledImages, class_indices
from ganaug.splits import divide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganaug.model import ImageModel

__all__ = ["ReaderStudy", "StudyImage", "make_study", "render_key", "render_page"]

_FEWEST = 4  # two images of each kind: fewer have no variance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyImage:
    """An image of a study, by its number, which says nothing about it.

    source: the id of a real image's row, or the number of a synthetic one among its class's.
    pixels: uint8 (C, H, W), as it is shown.
    """

    number: str
    is_synthetic: bool
    class_name: str
    source: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReaderStudy:
    """The images of a study in the order of their numbers, which is random.

    id: a hash of what is shown; answers carry it. class_names: the classes that it is about.
    height, width: of every image, in pixels.
    """

    id: str
    images: tuple[StudyImage, ...]
    class_names: tuple[str, ...]
    height: int
    width: int

    @property
    def counts(self) -> dict[str, int]:
        """Real images a class; there are as many synthetic ones."""
        real = [image.class_name for image in self.images if not image.is_synthetic]
        return {name: real.count(name) for name in self.class_names}


def make_study(
    holdout: LabelledImages,
    model: ImageModel,
    n: int,
    *,
    classes: Sequence[str] = (),
    random_state: int = 0,
) -> ReaderStudy:
    """Choose n images, half of them real and half synthetic, classes as in the holdout.

    holdout: rows that the model was not trained on, not loaded. model: draws at the size that its
    generator was trained at (`ImageModel.at_trained_size`), at which both kinds are shown: a
    synthetic image enlarged to the size of the real ones would be known by its blur. Real ones
    are resized as they are for training. classes: of the model; none named: all.

    Of several images of a group, such as a patient, the second is taken when every group has
    given one. Raises ConfigError for an n that is odd or below 4, TooFewImagesError when the
    holdout has fewer than n / 2 rows, DataError when too few draws pass the filters, or when
    images are of other channels.
    """
    if n < _FEWEST or n % 2:
        raise ConfigError(
            f"A reader study shows as many real images as synthetic ones, at least "
            f"{_FEWEST // 2} of each; expected an even number, got -n {n}."
        )
    chosen = sorted(class_indices(classes or model.class_names, model.class_names))
    names = [model.class_names[index] for index in chosen]
    pool = holdout.only(class_indices(names, holdout.class_names))
    if len(pool) < n // 2:
        raise TooFewImagesError(
            f"-n {n} needs {n // 2} holdout rows of {', '.join(names)}; there are {len(pool)}. "
            + (f"Use -n {2 * len(pool)} or fewer." if 2 * len(pool) >= _FEWEST else "")
        )
    rng = np.random.default_rng(random_state)
    counts = divide(n // 2, list(pool.counts.values()))
    rows = [row for index in range(len(names)) for row in _pick(pool, index, counts[index], rng)]
    size = model.shape[1:]
    real = load_at(pool.subset(rows), *size)
    drawn = _draw(model, chosen, counts, random_state)
    if real.spec.channels != drawn.shape[1]:
        raise DataError(
            f"The images have {real.spec.channels} channel(s) and those of the run "
            f"{drawn.shape[1]}. Give images like those that the run was fitted on."
        )
    pixels = np.concatenate(_as_shown(real, drawn, model.output.value_range))
    numbers = [str(k) for count in counts for k in range(count)]
    labels = np.concatenate([real.labels, np.repeat(np.arange(len(names)), counts)])
    described = [
        StudyImage(
            number="",  # until the order is drawn
            is_synthetic=row >= len(real),
            class_name=names[label],
            source=source,
            pixels=pixels[row],
        )
        for row, (label, source) in enumerate(zip(labels, [*real.ids, *numbers], strict=True))
    ]
    return _shuffled(described, names, size, random_state)


def _pick(pool: LabelledImages, label: int, n: int, rng: np.random.Generator) -> list[int]:
    """Return n random rows of a class, from as many groups as possible."""
    rows: list[int] = rng.permutation(np.flatnonzero(pool.labels == label)).tolist()
    if pool.groups is not None:
        seen: dict[str, int] = {}
        before = []
        for row in rows:
            group = pool.groups[row] or f"row {row}"
            before.append(seen.setdefault(group, 0))
            seen[group] += 1
        rows = [row for _, row in sorted(zip(before, rows, strict=True), key=lambda pair: pair[0])]
    return rows[:n]


def _draw(
    model: ImageModel, classes: Sequence[int], counts: Sequence[int], seed: int
) -> NDArray[Any]:
    """Draw so many images of each class, past the filters, as ``ganaug sample`` does."""
    parts = []
    for class_, count in zip(classes, counts, strict=True):
        drawn = model.draw(class_, count, seed=class_seed(seed, class_))
        if len(drawn) < count:
            raise DataError(
                f"Of class {model.class_names[class_]!r}, {len(drawn)} of {count} synthetic "
                f"images could be drawn that pass the run's filters ({model.explain_drops()}). "
                "Fit the run again, or leave the class out with --class."
            )
        parts.append(drawn)
    return np.concatenate(parts)


def _as_shown(
    real: LabelledImages, drawn: NDArray[Any], value_range: tuple[float, float]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return real and synthetic pixels in 8 bits, by one rule.

    8-bit images stay as they are; of others, black and white are the lowest and highest value of
    the real images, since sets of 16 bits seldom use them all.
    """
    scaled = []
    for pixels, (low, high) in ((np.asarray(real.pixels), real.value_range), (drawn, value_range)):
        scaled.append((pixels.astype(np.float32) - low) / (high - low))
    black, white = 0.0, 1.0
    if real.pixels[0].dtype != np.uint8 and scaled[0].min() < scaled[0].max():
        black, white = float(scaled[0].min()), float(scaled[0].max())
    shown, also = (
        ((each - black) * (255.0 / (white - black))).round().clip(0, 255).astype(np.uint8)
        for each in scaled
    )
    return shown, also


def _shuffled(
    images: Sequence[StudyImage], names: Sequence[str], size: tuple[int, int], seed: int
) -> ReaderStudy:
    """Number the images in random order.

    The order depends on all of the pixels as well: from the seed alone, which may be 0, a reader
    could work it out.
    """
    digest = hashlib.sha256(b"".join(image.pixels.tobytes() for image in images)).digest()
    order = np.random.default_rng([seed, int.from_bytes(digest)]).permutation(len(images))
    digits = len(str(len(images)))
    numbered = tuple(
        replace(images[row], number=f"{number:0{digits}}") for number, row in enumerate(order, 1)
    )
    shown = hashlib.sha256(b"".join(image.pixels.tobytes() for image in numbered)).hexdigest()
    return ReaderStudy(
        id=shown[:12],
        images=numbered,
        class_names=tuple(names),
        height=size[0],
        width=size[1],
    )


def render_page(study: ReaderStudy) -> str:
    """Return the study as one HTML page, which needs nothing else and no network.

    It knows the numbers and the pixels of images, and nothing else about them. Each image is a
    PNG file without metadata or compression, so that all of them have the same length.
    """
    from jinja2 import Environment, PackageLoader

    templates = Environment(loader=PackageLoader("ganaug.readers", ""), autoescape=True)
    images = [
        {"number": image.number, "source": f"data:image/png;base64,{_png(image.pixels)}"}
        for image in study.images
    ]
    return templates.get_template("study.html").render(
        study={"id": study.id, "images": images},
        n=len(images),
        height=study.height,
        width=study.width,
        answers=ANSWERS,
    )


def render_key(study: ReaderStudy) -> str:
    """Return which image is which, as CSV text with the columns `KEY_COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(KEY_COLUMNS)
    for image in study.images:
        truth = "synthetic" if image.is_synthetic else "real"
        shown_at = f"{study.width}x{study.height}"
        writer.writerow((study.id, image.number, truth, image.class_name, image.source, shown_at))
    return text.getvalue()


def _png(pixels: NDArray[np.uint8]) -> str:
    """Return pixels (C, H, W) as a PNG file in base64."""
    stream = io.BytesIO()
    to_pil(pixels).save(stream, "PNG", compress_level=0)
    return base64.b64encode(stream.getvalue()).decode("ascii")
