"""Filters beside the copy gate: samples that a classifier, or the discriminator, speaks against.

Both judge an image by itself, at the size and depth that the generator makes it: its verdict
depends on no other image, and the same seed gives the same images.
"""

from ganaug.filters.classifier import ClassifierFilter
from ganaug.filters.discriminator import DiscriminatorFilter
from ganaug.filters.kept import log_fields, read_filters, write_filters
from ganaug.filters.learning import FILTERS, FilterName, check_filters, fit_filters

__all__ = [
    "FILTERS",
    "ClassifierFilter",
    "DiscriminatorFilter",
    "FilterName",
    "check_filters",
    "fit_filters",
    "log_fields",
    "read_filters",
    "write_filters",
]
