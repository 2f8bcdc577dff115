"""The run directory: what was fitted, how, on which rows, and everything to go on or draw from."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tomllib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ganaug
from ganaug.cards import render_card
from ganaug.checkpoints import read_tensors, read_tree, write_tensors, write_tree
from ganaug.copies import CopyGate, has_gate
from ganaug.datasets import labelled_images
from ganaug.errors import DataError, GanaugError, RunError
from ganaug.files import append_line, check_place, write_text
from ganaug.filters import read_filters, write_filters
from ganaug.hashes import ImageHashes, pixel_hash
from ganaug.integrity import check_intact, read_manifest, reseal, seal, unseal
from ganaug.leaks import (
    References,
    add_references,
    check_leaks,
    has_references,
    read_references,
    write_references,
)
from ganaug.memorisation import Memorisation
from ganaug.model import ImageModel, Output, Source
from ganaug.reading import growth_text
from ganaug.run_config import FORMAT, RunConfig
from ganaug.spec import ImageSpec, LabelledImages
from ganaug.splits import read_splits, splits_from_file
from ganaug.stopping import History, Progress

if TYPE_CHECKING:
    from ganaug.generator import Generator
    from ganaug.registry import Registry
    from ganaug.selection import Choice

__all__ = ["Run"]

_REFERENCES = "references.safetensors"
_MEMORISATION = "memorisation.json"
_SELECTION = "selection.json"


class Run:
    """A run directory. Use `create` or `open`.

    Layout: run.toml, splits.csv, history.jsonl, generator.safetensors, selection.json,
    references.safetensors, checkpoint/state.safetensors, samples/, card.md, manifest.json; history,
    generator and checkpoint lie under classes/<index>/ when there is a generator a class. Those of
    a pretraining lie as if it were the only one; it has no generator.safetensors. samples/ of a
    part has a sheet of each stage that a generator that grows has ended.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(cls, path: str | Path, config: RunConfig) -> Run:
        """Begin a run. Raises RunError when the path exists and is not an empty folder."""
        path = Path(path)
        cls.check_free(path)
        run = cls(path, config)
        run.write_config()
        for index in run.trainings:
            run.part_folder(index).mkdir(parents=True, exist_ok=True)
        return run

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise RunError unless a run can begin at the path."""
        check_place(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            resume = " or go on with --resume" if (path / "run.toml").exists() else ""
            raise RunError(f"{path} exists already. Choose another path, remove it{resume}.")

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run. Raises RunError when it is missing, damaged or of a newer version."""
        path = Path(path)
        try:
            fields = tomllib.loads((path / "run.toml").read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RunError(
                f"{path} is no run directory: it has no run.toml. Make one with: "
                f"ganaug fit DATA --out {path}"
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RunError(f"{path / 'run.toml'} cannot be read: {error}.") from error
        found = fields.get("format")
        if not isinstance(found, int) or found > FORMAT:
            made_by = fields.get("versions", {}).get("ganaug", "a newer version")
            raise RunError(
                f"{path} was made by ganaug {made_by} (format {found}); this is ganaug "
                f"{ganaug.__version__}, which reads up to format {FORMAT}. Upgrade ganaug."
            )
        try:
            return cls(path, RunConfig.from_fields(fields))
        except GanaugError as error:
            raise RunError(f"{path / 'run.toml'} is damaged: {error}") from error

    def write_config(self) -> None:
        """Write run.toml."""
        import tomli_w

        write_text(self.path / "run.toml", tomli_w.dumps(self.config.to_fields()))

    # --- parts ------------------------------------------------------------------------------

    @property
    def indices(self) -> list[int | None]:
        """The parts: None for the one generator, or an index a class."""
        conditioning, classes = self.config.recipe.conditioning, len(self.config.class_names)
        if conditioning == "pretrain-finetune" or (conditioning == "per-class" and classes > 1):
            return list(range(classes))
        return [None]

    @property
    def trainings(self) -> list[int | None]:
        """The parts, and before them None where there is a pretraining."""
        pretrained = self.config.recipe.conditioning == "pretrain-finetune"
        return [None, *self.indices] if pretrained else self.indices

    @property
    def evaluation(self) -> Path:
        """Where ``ganaug evaluate`` writes what it found, unless told otherwise."""
        return self.path / "evaluation"

    @property
    def nearest(self) -> Path:
        """Where it draws real images: beside the run, which holds none."""
        path = self.path if self.path.name not in ("", "..") else self.path.resolve()
        return path.with_name(f"{path.name}-nearest.png")

    def part_folder(self, index: int | None) -> Path:
        """Return where a part's history, generator and checkpoint lie."""
        return self.path if index is None else self.path / "classes" / str(index)

    def append_history(self, index: int | None, progress: Progress) -> None:
        """Add a line to history.jsonl."""
        line = json.dumps(dataclasses.asdict(progress))
        append_line(self.part_folder(index) / "history.jsonl", line)

    def read_history(self, index: int | None, *, until_step: int) -> History:
        """Read history.jsonl up to a step, dropping a torn last line, and cut the file there.

        What was recorded after the last checkpoint happens again when training resumes.
        """
        recorded = self.recorded_history(index)
        history = History(progress for progress in recorded if progress.step <= until_step)
        self.write_history(index, history)
        return history

    def recorded_history(self, index: int | None) -> History:
        """Return what history.jsonl holds, less a torn last line; the file stays as it is."""
        path = self.part_folder(index) / "history.jsonl"
        history = History()
        for line in path.read_text("utf-8").splitlines() if path.exists() else []:
            try:
                progress = Progress(**json.loads(line))
            except (ValueError, TypeError):
                break
            history.record(progress)
        return history

    def recorded_histories(self) -> dict[str, History]:
        """Return `recorded_history` of every training, by its name."""
        names = self.config.class_names
        whole = "pretraining on all classes" if self.indices != self.trainings else "all classes"
        return {
            whole if index is None else names[index]: self.recorded_history(index)
            for index in self.trainings
        }

    def growth(self, choices: Sequence[Choice]) -> dict[str, str]:
        """Say of the weights of each part how far they had grown; see `growth_text`."""
        histories, side = self.recorded_histories(), self.config.height
        found = {
            each.part: next(
                (p for p in histories[each.part] if p.images_seen == each.images_seen), None
            )
            for each in choices
        }
        return {part: growth_text(p, side) for part, p in found.items() if p is not None}

    def write_history(self, index: int | None, history: History) -> None:
        """Write history.jsonl anew."""
        lines = [json.dumps(dataclasses.asdict(progress)) for progress in history]
        path = self.part_folder(index) / "history.jsonl"
        write_text(path, "".join(f"{line}\n" for line in lines))

    def write_checkpoint(self, index: int | None, state: dict[str, Any]) -> None:
        """Write the training state, whole or not at all."""
        write_tree(self.part_folder(index) / "checkpoint" / "state.safetensors", state)

    def forget_training(self, index: int | None) -> None:
        """Remove a part's training state and history: it is about to begin anew."""
        folder = self.part_folder(index)
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        if index is not None:
            shutil.rmtree(folder / "samples", ignore_errors=True)
        (folder / "history.jsonl").unlink(missing_ok=True)

    def read_checkpoint(self, index: int | None) -> dict[str, Any] | None:
        """Read the training state; None when there is none yet."""
        path = self.part_folder(index) / "checkpoint" / "state.safetensors"
        if not path.exists():
            return None
        state: dict[str, Any] = read_tree(path)
        return state

    # --- the model --------------------------------------------------------------------------

    def write_model(self, model: ImageModel) -> None:
        """Write generators, which weights they have, and references.

        What is drawn from them is what `model` draws.
        """
        for index, generator in zip(self.indices, model.generators, strict=True):
            self.write_generator(index, generator)
        if model.copies is not None:
            add_references(self.path / _REFERENCES, model.copies.to_arrays())
        write_filters(self.path, model)
        if model.memorisation is not None:
            self._write_json(_MEMORISATION, model.memorisation.to_fields())
        if model.choices:
            recipe = self.config.recipe
            chosen = {"select": recipe.select, "metric": next(iter(recipe.metrics), None)}
            parts = [choice.to_fields() for choice in model.choices]
            self._write_json(_SELECTION, {**chosen, "parts": parts})

    def _write_json(self, name: str, fields: dict[str, Any]) -> None:
        write_text(self.path / name, f"{json.dumps(fields, indent=2)}\n")

    def write_card(self, model: ImageModel) -> None:
        """Write card.md, which says in words what was fitted, on what, and what it is not for."""
        histories = self.recorded_histories()
        seen = {name: found[-1].images_seen for name, found in histories.items() if found}
        rows = Counter(read_splits(self.path / "splits.csv").values())
        card = render_card(
            self.config, model, rows=rows, images_seen=seen, growth=self.growth(model.choices)
        )
        write_text(self.path / "card.md", card)

    def write_generator(self, index: int | None, generator: Generator) -> None:
        """Write the averaged network and how to build the generator around it."""
        header = {
            "format": FORMAT,
            "generator": self.config.recipe.generator,
            "settings": self.config.recipe.settings,
            "spec": dataclasses.asdict(generator.spec),
        }
        path = self.part_folder(index) / "generator.safetensors"
        write_tensors(path, dict(generator.network.state_dict()), header)

    def read_model(self, registry: Registry) -> ImageModel:
        """Read the fitted model. Raises RunError when files are missing or damaged."""
        manifest = read_manifest(self.path)
        generators = [self._read_generator(index, registry, manifest) for index in self.indices]
        copies = self._read_gate(generators[0].spec, registry, manifest)
        output = Output(**self.config.output.model_dump())
        recipe = self.config.recipe
        source = Source(recipe.generator, recipe.settings)
        model = ImageModel(generators, self.config.class_names, output, copies, source)
        model.add_filters(read_filters(self.path, recipe.filters, model, registry, manifest))
        if copies is not None:
            model.memorisation = self._read_memorisation(manifest)
        return model

    def _read_gate(
        self, spec: ImageSpec, registry: Registry, manifest: dict[str, str]
    ) -> CopyGate | None:
        """Read what tells copies of training images; None when the run was fitted without."""
        path = self.path / _REFERENCES
        if not path.exists() and _REFERENCES not in manifest:
            return None
        check_intact(self.path, path, manifest)
        tensors = read_tensors(path)[0]
        if not has_gate(tensors):
            return None
        try:
            return CopyGate.from_tensors(tensors, spec, registry)
        except RunError as error:
            raise RunError(f"{self.path}: {error}") from error

    def _read_memorisation(self, manifest: dict[str, str]) -> Memorisation:
        path = self.path / _MEMORISATION
        check_intact(self.path, path, manifest)
        try:
            return Memorisation.from_fields(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{path}, which says whether the run has memorised training images, cannot be "
                f"read: {error}. Restore it from a copy, or fit the run again."
            ) from error

    def _read_generator(
        self, index: int | None, registry: Registry, manifest: dict[str, str]
    ) -> Generator:
        path = self.part_folder(index) / "generator.safetensors"
        if not path.exists():
            raise RunError(
                f"{self.path} has no finished generator ({path.name} is missing). Go on with: "
                f"ganaug fit {self.config.source} --out {self.path} --resume"
            )
        check_intact(self.path, path, manifest)
        weights, header = read_tensors(path)
        source = Source(header["generator"], header["settings"])
        try:
            return source.build(ImageSpec(**header["spec"]), weights, registry)
        except RuntimeError as error:
            raise RunError(
                f"{path} does not fit generator {header['generator']!r} as installed here: "
                f"{str(error).splitlines()[0]} The run was made by {self.config.provider}."
            ) from error

    # --- the rows ---------------------------------------------------------------------------

    def recorded_splits(self, images: LabelledImages) -> tuple[str, ...]:
        """Return the split of each row as splits.csv has it.

        Raises RunError when the images are not those of the run: other ids, or other labels.
        """
        try:
            return splits_from_file(images, self.path / "splits.csv")
        except DataError as error:
            raise RunError(
                f"These are not the images that {self.path} was fitted on, which were "
                f"{self.config.source}: {error}"
            ) from error

    # --- the leak guard ---------------------------------------------------------------------

    def write_references(self, hashes: ImageHashes, splits: Sequence[str]) -> None:
        """Write hashes of the rows of splits.csv, in its order; splits: "training", ... a row."""
        write_references(self.path / _REFERENCES, hashes, splits)

    @property
    def has_references(self) -> bool:
        """Whether the run carries what `check_leaks` needs. Raises RunError when it is damaged."""
        manifest = read_manifest(self.path)
        if _REFERENCES in manifest:
            check_intact(self.path, self.path / _REFERENCES, manifest)
        return has_references(self.path)

    def read_references(self, *splits: str) -> References:
        """Read ids, groups and hashes of the rows of some splits; "training" unless named.

        Raises RunError when they are damaged, or when an earlier version made the run without.
        """
        manifest = read_manifest(self.path)
        for name in ("splits.csv", _REFERENCES):
            check_intact(self.path, self.path / name, manifest)
        return read_references(self.path, *splits)

    def check_leaks(
        self,
        dataset: Any,
        *,
        groups: Sequence[Any] | None = None,
        against: Sequence[str] = ("training", "validation"),
    ) -> None:
        """Raise LeakageError when images overlap with the rows that the run was made from.

        dataset: what is meant to judge the run, whatever `SyntheticAugmenter.fit` takes; images
            are decoded one at a time. groups: the patient or lesion of each row. against: the
            splits of the run to compare with; validation rows may have chosen its weights.

        A row overlaps when it has the same pixels as a row of the run, when it is a near
        duplicate of one (perceptual hashes; mirror images too), or when it is of the same group.
        Raises RunError for a run that carries no references.
        """
        images = labelled_images(dataset, groups=groups)
        check_leaks(images, self.read_references(*against), run=str(self.path))

    def held_out(
        self, images: LabelledImages, splits: Sequence[str] | None = None
    ) -> LabelledImages:
        """Return the rows that may judge the run: those that it holds out, or the caller's.

        images: all rows of the source, not decoded. splits: what each row is, when the caller
        says so; else as the run recorded it.

        Raises RunError for other images than the run's (without splits), LeakageError when the
        caller's holdout overlaps with the rows that the run was trained on or validated with,
        DataError without holdout rows.
        """
        column = self.recorded_splits(images) if splits is None else splits
        if len(column) != len(images):
            raise DataError(f"There are {len(images)} images but {len(column)} splits.")
        held = images.subset([row for row, split in enumerate(column) if split == "holdout"])
        if not len(held):
            where = f"{self.path} holds no rows out" if splits is None else "No row is held out"
            raise DataError(
                f"{where}, so there are no real images that it was not trained on. Name some "
                "with --split FILE (splits=), or fit a run with a holdout."
            )
        if splits is None:
            self.check_pixels(held, "holdout")
        else:
            self.check_leaks(held)
        return held

    def check_pixels(self, images: LabelledImages, split: str = "training") -> None:
        """Raise RunError when rows of the run had other pixels, under the same ids.

        images: rows of one split of the run, decoded one at a time. A run that carries no
        references passes.
        """
        if not self.has_references:
            return
        references = self.read_references(split)
        known = dict(zip(references.ids, references.pixels, strict=True))
        for row, id_ in enumerate(images.ids):
            if pixel_hash(np.asarray(images.pixels[row])) != known[id_].tobytes():
                raise RunError(
                    f"These are not the images that {self.path} was fitted on, which were "
                    f"{self.config.source}: names and labels are the same, pixels differ (first: "
                    f"{id_}). Give the images as they were, opened in the same way."
                )

    # --- integrity --------------------------------------------------------------------------

    def seal(self) -> None:
        """Write manifest.json: the SHA-256 of every file."""
        seal(self.path)

    def reseal(self, files: Sequence[Path]) -> None:
        """Bring manifest.json up to date with files that were added, changed or removed.

        What it says of all others stays; a run that is not finished has none, and stays without.
        """
        reseal(self.path, files)

    def begin_anew(self) -> None:
        """Remove what is about the weights so far, and the manifest, before training goes on.

        Scores and figures would be taken for those of the weights to come. What extractors
        learned, and features of images, stay: they are about the images.
        """
        unseal(self.path)
        shutil.rmtree(self.evaluation, ignore_errors=True)
        with suppress(OSError):
            self.nearest.unlink()
