"""The built-in sources of images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ganaug.config import Config
from ganaug.hookspecs import hookimpl
from ganaug.plugins import DatasetPlugin
from ganaug.spec import LabelledImages

__all__ = ["CsvConfig", "ganaug_datasets"]

#: The tables that make a folder a labelled one: the user's, or what ganaug writes beside images.
_TABLES = ("labels.csv", "manifest.csv")


class CsvConfig(Config):
    """Columns of a table of images. The group column may be missing; the others may not."""

    file_column: str = "file"
    label_column: str = "label"
    group_column: str = "group"


def _open_folder(config: Config, location: Path) -> LabelledImages:
    from ganaug.builtin.data.folder import open_folder

    return open_folder(location)


def _open_csv(config: CsvConfig, location: Path) -> LabelledImages:
    from ganaug.builtin.data.labels_csv import open_csv

    return open_csv(
        _table_in(location) or location,
        file_column=config.file_column,
        label_column=config.label_column,
        group_column=config.group_column,
    )


def _table_in(location: Path) -> Path | None:
    """Return the table of a folder that holds one."""
    tables = [location / name for name in _TABLES]
    return next((table for table in tables if table.is_file()), None)


def _open_npz(config: Config, location: Path) -> LabelledImages:
    from ganaug.builtin.data.npz import open_npz

    return open_npz(location)


def _open_digits(config: Config, location: Path) -> LabelledImages:
    from ganaug.builtin.data.digits import open_digits

    return open_digits()


def _claims_csv(location: Path) -> int:
    if location.is_dir():
        return 20 if _table_in(location) else 0
    return 10 if location.suffix.lower() == ".csv" else 0


@hookimpl
def ganaug_datasets() -> Iterable[DatasetPlugin]:
    """Yield class folders, tables, .npz archives and scikit-learn's digits."""
    yield DatasetPlugin(
        name="folder",
        summary="A folder of class folders of images, or one of images, which are one class.",
        config=Config,
        open=_open_folder,
        claims=lambda location: 10 if location.is_dir() else 0,
    )
    yield DatasetPlugin(
        name="csv",
        summary="A labels.csv with columns file, label and perhaps group, or a folder with one.",
        config=CsvConfig,
        open=_open_csv,
        claims=_claims_csv,
    )
    yield DatasetPlugin(
        name="npz",
        summary="An .npz of images and labels, or in MedMNIST's layout.",
        config=Config,
        open=_open_npz,
        claims=lambda location: 10 if location.suffix.lower() == ".npz" else 0,
    )
    yield DatasetPlugin(
        name="digits",
        summary="scikit-learn's 1,797 handwritten digits; needs no file.",
        config=Config,
        open=_open_digits,
        claims=lambda location: 10 if str(location) == "digits" and not location.exists() else 0,
    )
