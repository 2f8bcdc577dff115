"""Pictures of many images: labelled rows on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["draw_grid", "fit_cell"]

_GAP = 2
_TEXT = 16
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def draw_grid(
    rows: Sequence[tuple[str, NDArray[Any]]],
    value_range: tuple[float, float],
    *,
    cell: int = 64,
) -> Image.Image:
    """Draw images in rows under their titles.

    rows: (title, pixels), pixels (N, C, H, W) within `value_range`; rows may differ in length.
        A row without a title goes on where the one above it ends.
    cell: the longer side of an image on the sheet, in pixels; small images are enlarged by whole
        factors, so that their pixels stay visible as they are.
    """
    from PIL import Image, ImageDraw, ImageFont

    pictures = [
        (" ".join(title.split()), [fit_cell(image, value_range, cell) for image in pixels])
        for title, pixels in rows
    ]
    sizes = [picture.size for _, row in pictures for picture in row] or [(cell, cell)]
    width, height = max(w for w, _ in sizes), max(h for _, h in sizes)
    columns = max([len(row) for _, row in pictures] + [1])
    font = ImageFont.load_default(size=12)
    text_width = max([int(font.getlength(title)) for title, _ in pictures] + [0])
    sheet = Image.new(
        "RGB",
        (
            max(columns * (width + _GAP), text_width + _GAP) + _GAP,
            sum(height + _GAP + (_TEXT if title else 0) for title, _ in pictures) + _GAP,
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for title, row in pictures:
        if title:
            draw.text((_GAP, top), title, fill=_INK, font=font)
            top += _TEXT
        for j, picture in enumerate(row):
            sheet.paste(picture, (_GAP + j * (width + _GAP), top))
        top += height + _GAP
    return sheet


def fit_cell(pixels: NDArray[Any], value_range: tuple[float, float], cell: int) -> Image.Image:
    """Return an image (C, H, W) as an RGB picture with a longer side of at most `cell` pixels.

    Small images are enlarged by a whole factor; large ones are shrunk.
    """
    from PIL import Image

    low, high = value_range
    scaled = (pixels.astype(np.float32) - low) * (255.0 / (high - low))
    bytes_ = scaled.round().clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(bytes_[0] if len(bytes_) == 1 else np.moveaxis(bytes_, 0, 2))
    longer = max(picture.size)
    if longer > cell:
        picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
        return picture.convert("RGB")
    factor = max(cell // longer, 1)
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST).convert("RGB")
