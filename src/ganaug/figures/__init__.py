"""Figures of an evaluation, from arrays: a file each. None of them reads or writes a file."""

from ganaug.figures.colours import draw_colours, mean_colours
from ganaug.figures.curves import draw_history
from ganaug.figures.embedding import Embedding, draw_embedding, embed
from ganaug.figures.look import png
from ganaug.figures.nearest import ClassSheet, Strip, draw_nearest, nearest_rows

__all__ = [
    "ClassSheet",
    "Embedding",
    "Strip",
    "draw_colours",
    "draw_embedding",
    "draw_history",
    "draw_nearest",
    "embed",
    "mean_colours",
    "nearest_rows",
    "png",
]
