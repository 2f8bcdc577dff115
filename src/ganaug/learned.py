"""Extractors that learn from a run's training rows, kept in the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.errors import DataError, GanaugError, RunError
from ganaug.evaluator import FeatureExtractor
from ganaug.features import CachedExtractor, build_extractor

if TYPE_CHECKING:
    from pathlib import Path

    from ganaug.registry import Registry
    from ganaug.spec import LabelledImages

__all__ = ["learn_extractor", "learned_path"]


def learned_path(folder: Path, name: str) -> Path:
    """Return where a run directory keeps what an extractor learned."""
    return folder / "extractors" / f"{name}.safetensors"


def learn_extractor(
    text: str, train: LabelledImages, folder: Path, registry: Registry
) -> tuple[CachedExtractor, list[str]]:
    """Return an extractor that has learned from training images, and notes.

    text: ``NAME`` or ``NAME:FIELD=VALUE,...``. train: training rows of all classes, loaded; there
    may be none for an extractor that learns nothing. folder: the run directory.

    What it learned is read from extractors/NAME.safetensors where the same settings learned it
    from the same images, and is learned anew and written there otherwise; a note says when it
    cannot be. Its features are kept in features/. Of an extractor that `keeps_pixels`, neither is.

    Raises DataError when there is nothing to learn from.
    """
    extractor = build_extractor(text, train.spec, registry)
    if not len(train):
        if type(extractor).prepare is not FeatureExtractor.prepare:
            raise DataError(
                f"Extractor {extractor.name!r} learns from training images, and there are none "
                "among these. Choose one that learns nothing, such as random-conv."
            )
        return CachedExtractor(extractor, folder / "features"), []
    path = learned_path(folder, extractor.name)
    # the same pixels are other images where black and white are others
    black_and_white = "{:g} to {:g}".format(*train.value_range)
    origin = {"extractor": text, "data": train.fingerprint(), "value_range": black_and_white}
    notes = []
    if extractor.keeps_pixels:
        extractor.prepare(train)
    elif not _restore(extractor, path, origin):
        extractor = build_extractor(text, train.spec, registry)  # half of a state may be in it
        extractor.prepare(train)
        state = dict(extractor.state_dict())
        if state:
            try:
                write_tensors(path, state, {**origin, "fingerprint": extractor.fingerprint})
            except RunError as error:
                notes = [f"What the extractor learned was not kept for the next time: {error}"]
    return CachedExtractor(extractor, folder / "features"), notes


def _restore(extractor: FeatureExtractor, path: Path, origin: dict[str, str]) -> bool:
    """Take over what was learned before; say whether it was what would be learned now.

    A file that cannot be used is no error: it is learned again.
    """
    if not path.exists():
        return False
    try:
        state, header = read_tensors(path)
        if {key: header.get(key) for key in origin} != origin:
            return False
        extractor.load_state_dict(state)
    except (GanaugError, RuntimeError, KeyError, ValueError):
        return False
    return bool(extractor.fingerprint == header.get("fingerprint"))
