"""Draw the pictures of the gallery: real images above synthetic ones, from trainings of seconds.

    python docs/make_gallery.py docs/_build/gallery [--images N]

Sphinx runs this before it reads the pages (see conf.py). For each picture it writes NAME.md, which
gallery.md includes, and NAME-light.png and NAME-dark.png. A picture is made again only when
ganaug, this script, its images or the version of torch have changed. Real image sets are looked
for in GANAUG_SHARED_DATA, or in ../shared/data beside the checkout, as the tests do; where one is
absent, its page says so. --images N trains on N images only: to see that it runs.
"""

from __future__ import annotations

import argparse
import io
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fingerprint import fingerprint
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ganaug import LabelledImages, Registry, SyntheticAugmenter
from ganaug.figures import nearest_rows
from ganaug.files import write_bytes
from ganaug.grids import fit_cell
from ganaug.sources import open_images

ROOT = Path(__file__).resolve().parents[1]
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One training, and how its images are shown.

    data: what `ganaug fit` takes; within `shared_set` where that is given.
    size: pixels a side that images are loaded at; None for their own.
    classes: by name, and what the page calls them; none for all of the set.
    a_class: of each class, at most so many images are trained on.
    settings: of the generator, where they are not the default ones.
    shown, tile: images in a row, and pixels a side that each has on the page.
    columns: classes side by side. credit: where the real images are from.
    """

    name: str
    data: str
    generator: str
    total_images: int
    credit: str
    shared_set: str = ""
    size: int | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    a_class: int = 100
    settings: Mapping[str, Any] = field(default_factory=dict)
    shown: int = 8
    tile: int = 32
    columns: int = 2


_DIGITS: dict[str, Any] = {
    "data": "digits:digits",
    "size": 16,
    "classes": {name: name for name in "0389"},  # four, so that seconds are enough
    "credit": "Real images: scikit-learn's digits (UCI, Alpaydin and Kaynak 1998), enlarged to "
    "16 x 16 pixels.",
}

PICTURES = (
    Picture(
        name="digits-dcgan",
        generator="dcgan",
        # few small images: a small network, and fast, as `ganaug demo` has it
        settings={
            "width": 16,
            "generator_learning_rate": 0.001,
            "discriminator_learning_rate": 0.001,
        },
        total_images=8_000,
        **_DIGITS,
    ),
    Picture(
        name="digits-aegan",
        generator="aegan",
        settings={"width": 16, "autoencoder_images": 4_000},
        total_images=12_000,
        **_DIGITS,
    ),
    Picture(
        name="digits-pggan",
        generator="pggan",
        settings={
            "fmap_base": 256,
            "fmap_max": 64,
            "images_per_phase": 1_400,
            "learning_rate": 0.002,
        },
        total_images=7_000,
        **_DIGITS,
    ),
    Picture(
        name="lesions-dcgan",
        data="ham10000_28.npz",
        shared_set="ham10000_28",
        generator="dcgan",
        settings={
            "width": 16,
            "generator_learning_rate": 0.0005,
            "discriminator_learning_rate": 0.001,
        },
        classes={
            "bcc": "basal cell carcinoma",
            "df": "dermatofibroma",
            "vasc": "vascular lesion",
        },
        a_class=1_000,
        total_images=12_000,
        credit="Real images: HAM10000 (Tschandl et al. 2018, doi:10.7910/DVN/DBW86T), CC BY-NC "
        "4.0, one image of each lesion, shrunk to 28 x 28 pixels.",
        shown=10,
        tile=56,
        columns=1,
    ),
)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the gallery.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, help="training images of every picture")
    options = parser.parse_args()
    make(options.out, total_images=options.images, processes=min(os.cpu_count() or 1, 2))


def make(out: Path, *, total_images: int | None = None, processes: int = 1) -> list[str]:
    """Bring every picture in a folder up to date and return the names of those that were drawn.

    total_images: in place of what the pictures ask for. processes: that draw at a time.
    """
    out.mkdir(parents=True, exist_ok=True)
    update = partial(_update, out=out, total_images=total_images)
    if processes == 1:
        drawn = [*map(update, PICTURES)]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            drawn = [*pool.map(update, PICTURES)]
    return [picture.name for picture, new in zip(PICTURES, drawn, strict=True) if new]


def _update(picture: Picture, *, out: Path, total_images: int | None) -> bool:
    """Draw a picture where what is there is not of today; say whether it was drawn."""
    page = out / f"{picture.name}.md"
    if not _is_there(picture):
        _write(page, _absence(picture))
        return False
    budget = total_images or picture.total_images
    first_line = f"% {_key(picture, budget)}\n"
    if page.exists() and page.read_text("utf-8").startswith(first_line):
        return False
    _write(page, first_line + _draw(picture, budget, out))
    return True


# --- what there is -------------------------------------------------------------------------------


def _shared_data() -> Path:
    return Path(os.environ.get("GANAUG_SHARED_DATA", ROOT.parent / "shared" / "data"))


def _is_there(picture: Picture) -> bool:
    return not picture.shared_set or (_shared_data() / picture.shared_set).is_dir()


def _key(picture: Picture, budget: int) -> str:
    """Return a hash of all that a picture follows from."""
    parts = [
        repr((asdict(picture), budget, torch.__version__)).encode(),
        Path(__file__).read_bytes(),
    ]
    if picture.shared_set:
        parts.append((_shared_data() / picture.shared_set / picture.data).read_bytes())
    return fingerprint(*parts)


def _absence(picture: Picture) -> str:
    return (
        f":::{{note}}\nLeft out: these pages were built without the image set "
        f"`{picture.shared_set}`, which is not in the repository.\n:::\n"
    )


def _images(picture: Picture) -> LabelledImages:
    """Return the images that are trained on, in memory."""
    data = picture.data
    if picture.shared_set:
        data = str(_shared_data() / picture.shared_set / data)
    images = open_images(data, Registry.load())
    names = list(picture.classes) or list(images.class_names)
    images = images.only([images.class_names.index(name) for name in names])
    rows = [np.flatnonzero(images.labels == c)[: picture.a_class] for c in range(len(names))]
    return images.subset(np.sort(np.concatenate(rows))).load(picture.size)


# --- one picture ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What came of a training: new images (N, C, H, W), their classes, and how it went."""

    synthetic: NDArray[Any]
    classes: NDArray[Any]
    seconds: float
    drawn: int
    dropped: int
    warnings: tuple[str, ...]


#: What stands above each other in a class's block: titles and images.
Rows = Mapping[str, NDArray[Any]]


def _draw(picture: Picture, budget: int, out: Path) -> str:
    """Train, write the picture for light pages and for dark ones, and return the page's text."""
    images = _images(picture)
    trained = _train(picture, images, budget)
    blocks = _blocks(picture, images, trained)
    for theme, ink in (("light", (70, 70, 70)), ("dark", (205, 205, 205))):
        stream = io.BytesIO()
        _sheet(blocks, images.value_range, picture, ink).save(stream, "PNG", optimize=True)
        write_bytes(out / f"{picture.name}-{theme}.png", stream.getvalue())
    print(f"gallery: {picture.name}, {trained.seconds:.0f} s of processor time", flush=True)
    return _describe(picture, images, budget, trained)


def _train(picture: Picture, images: LabelledImages, budget: int) -> Trained:
    names = np.array(images.class_names)[images.labels]
    augmenter = SyntheticAugmenter(
        picture.generator,
        config=dict(picture.settings),
        sampling_strategy={name: n + picture.shown for name, n in images.counts.items()},
        total_images=budget,
        random_state=SEED,
    )
    torch.set_num_threads(1)  # so that seconds are those of one core
    started = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        grown, classes = augmenter.fit_resample(np.asarray(images.pixels), names)
    assert augmenter.model_ is not None  # every class grows
    tallies = augmenter.model_.tallies.values()
    return Trained(
        synthetic=grown[len(names) :],
        classes=classes[len(names) :],
        seconds=time.process_time() - started,
        drawn=sum(tally.drawn for tally in tallies),
        dropped=sum(tally.dropped.total() for tally in tallies),
        warnings=tuple(str(each.message) for each in caught),
    )


def _blocks(picture: Picture, images: LabelledImages, trained: Trained) -> list[tuple[str, Rows]]:
    """Return each class by its title: real images, synthetic ones, and what is nearest to these."""
    blocks: list[tuple[str, Rows]] = []
    pixels = np.asarray(images.pixels)
    for label, name in enumerate(images.class_names):
        real = pixels[images.labels == label]
        synthetic = trained.synthetic[trained.classes == name]
        nearest = real[nearest_rows(_flat(synthetic), _flat(real))[0]]
        rows = {"real": real[: picture.shown], "synthetic": synthetic, "nearest real": nearest}
        blocks.append((picture.classes.get(name, name), rows))
    return blocks


def _flat(images: NDArray[Any]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32)


def _describe(picture: Picture, images: LabelledImages, budget: int, trained: Trained) -> str:
    """Return MyST: the picture twice, of which the page's theme shows one, and what was done."""
    counts = ", ".join(
        f"{n} of {picture.classes.get(name, name)}" for name, n in images.counts.items()
    )
    settings = ", ".join(f"`{key}={value}`" for key, value in picture.settings.items())
    alike = len(set(images.counts.values())) == 1
    of_each = f"{next(iter(images.counts.values()))} of each class" if alike else counts
    alt = (
        f"{len(images.class_names)} classes; for each a row of real images above synthetic ones "
        f"of {picture.generator}, and the nearest real ones below"
    )
    width = _size_of(picture, len(images.class_names))[0] // 2
    pictures = [
        f":::{{image}} /_build/gallery/{picture.name}-{theme}.png\n:class: only-{theme}\n"
        f":width: {width}px\n:alt: {alt}\n:::\n"
        for theme in ("light", "dark")
    ]
    done = (
        f"`{picture.generator}` with {settings}, else its defaults. Trained on {len(images)} "
        f"images ({of_each}) until it had seen {budget:,}, repeats included; seed {SEED}. Took "
        f"{trained.seconds:.0f} seconds of one processor core, the audit for copies included; the "
        f"copy gate dropped {trained.dropped or 'none'} of {trained.drawn} images drawn for this "
        "picture."
    )
    warned = [f"ganaug warned: {text}\n" for text in trained.warnings]
    return "\n".join([*pictures, f"{done} {picture.credit}\n", *warned])


# --- the sheet: two pixels for one of the page, so that it is sharp on fine screens --------------

_LEFT, _HEAD, _BETWEEN, _GAP = 176, 44, 36, 4
_ROWS = 3


def _size_of(picture: Picture, classes: int) -> tuple[int, int]:
    across, down = _block_size(picture)
    lines = -(-classes // picture.columns)
    return _LEFT + picture.columns * across - _BETWEEN, lines * down - _BETWEEN


def _block_size(picture: Picture) -> tuple[int, int]:
    """Return how far it is from one class to the next, across and down."""
    step = 2 * picture.tile + _GAP
    return picture.shown * step - _GAP + _BETWEEN, _HEAD + _ROWS * step + _BETWEEN


def _sheet(
    blocks: Sequence[tuple[str, Rows]],
    value_range: tuple[float, float],
    picture: Picture,
    ink: tuple[int, int, int],
) -> Image.Image:
    """Draw classes in blocks, a row for each kind of image, on a transparent ground."""
    tile = 2 * picture.tile
    across, down = _block_size(picture)
    title_font, font = (ImageFont.load_default(size=size) for size in (28, 24))
    sheet = Image.new("RGBA", _size_of(picture, len(blocks)), (0, 0, 0, 0))
    draw = ImageDraw.Draw(sheet)
    for index, (title, rows) in enumerate(blocks):
        line, column = divmod(index, picture.columns)
        x, y = _LEFT + column * across, line * down
        draw.text((x, y + 4), title, fill=ink, font=title_font)
        for k, (kind, pixels) in enumerate(rows.items()):
            top = y + _HEAD + k * (tile + _GAP)
            if column == 0:
                draw.text((0, top + tile // 2), kind, fill=ink, font=font, anchor="lm")
            for j, image in enumerate(pixels):
                cell = fit_cell(image, value_range, tile)
                sheet.paste(cell, (x + j * (tile + _GAP), top))
    return sheet


def _write(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


if __name__ == "__main__":
    main()
