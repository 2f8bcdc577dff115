"""An experiment: a study on images, cell by cell, in whatever process."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joblib import hash as joblib_hash

import ganaug
from ganaug.benchmark.amounts import generated_classes
from ganaug.benchmark.checks import check_budget, check_study
from ganaug.benchmark.origins import Origin
from ganaug.benchmark.outcomes import Cell, Outcome
from ganaug.benchmark.task import map_classes
from ganaug.duplicates import find_duplicates
from ganaug.errors import ConfigError, RunError
from ganaug.files import check_place
from ganaug.hardware import describe_device
from ganaug.hashes import hash_images
from ganaug.registry import Registry
from ganaug.sources import absolute, check_outside, open_images
from ganaug.spec import LabelledImages

if TYPE_CHECKING:
    from torch import nn

    from ganaug.benchmark.workspace import Workspace
    from ganaug.hashes import ImageHashes
    from ganaug.study import Budget, Study

__all__ = ["Experiment"]

#: Fields of a study that say nothing about what a cell gives.
_FOR_PEOPLE = ("summary", "reported", "paper", "extras", "small", "full")

#: The workspace of the last experiment that ran in this process.
_last: dict[str, Workspace] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """A study on images: its cells, and what each gives. Use `of`.

    source: the images, as DATA on the command line; or images in memory, which then travel with
    the experiment. fields: of the dataset plugin. study, budget, seed: what is compared, how much
    is computed, and what every random number follows from. out: where generators are kept.
    classifier: a name, or a function of channels, (height, width) and classes; by default the
    study's. device: "auto", or a torch device such as "cpu"; computes_on: which one that is, and in
    what precision. clusters: near duplicates, by row.
    counts: images by class of the task; left_out: images by label that is in none of them;
    generated: the classes that generators are trained on.
    digest: of the images of the task, their pixels, labels, ids and groups; rows: the same
    without pixels.

    Pickled, it is a few kilobytes: a process opens images when it runs its first cell.
    """

    source: str | LabelledImages
    fields: Mapping[str, str] = field(default_factory=dict)
    study: Study
    budget: Budget
    seed: int = 0
    out: Path
    classifier: str | Callable[..., nn.Module]
    device: str = "auto"
    computes_on: str
    clusters: tuple[tuple[int, ...], ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    generated: tuple[str, ...]
    digest: str
    rows: str

    @classmethod
    def of(
        cls,
        images: str | LabelledImages,
        study: Study,
        *,
        out: str | Path,
        budget: Budget,
        seed: int = 0,
        fields: Mapping[str, str] | None = None,
        classifier: str | Callable[..., nn.Module] | None = None,
        device: str = "auto",
    ) -> Experiment:
        """Check everything and return the experiment; nothing was trained or written then.

        images: DATA, ``[PLUGIN:]LOCATION``, or images in memory. All rows take part, whatever
            their source calls training or test.
        classifier: a function must be one that another process can import.

        Raises ConfigError for a wrong option, a class that the images do not have, or an
        arm that needs a generator where the study has none; DataError for images that cannot be
        used, fewer groups than folds, and a class that would be absent from a fold; ShapeError
        where generator or classifier cannot take the images; RunError for a bad `out`.
        """
        out = Path(out)
        computes_on = describe_device(device)
        check_budget(budget, seed)
        check_study(study)
        check_place(out / "generators")
        if isinstance(images, str):
            check_outside(out, images)
        every = _open(images, fields or {})
        opened = map_classes(every, study.classes)
        named = every.class_names if study.classes is None else study.classes
        hashes = hash_images(opened)
        experiment = cls(
            source=absolute(images) if isinstance(images, str) else images,
            fields=dict(fields or {}),
            study=study,
            budget=budget,
            seed=seed,
            out=out.absolute(),
            classifier=study.classifier if classifier is None else classifier,
            device=device,
            computes_on=computes_on,
            clusters=find_duplicates(opened, hashes).near,
            counts=opened.counts,
            left_out={label: n for label, n in every.counts.items() if n and label not in named},
            generated=tuple(
                opened.class_names[index] for index in generated_classes(opened, study)
            ),
            digest=_digest(opened, hashes),
            rows=_digest(opened, None),
        )
        return dataclasses.replace(experiment, study=experiment._checked(opened))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells: by arm, training size, repeat and fold."""
        return tuple(
            Cell(arm=arm.name, fraction=fraction, repeat=repeat, fold=fold)
            for arm in self.study.arms
            for fraction in self.budget.fractions
            for repeat in range(self.budget.repeats)
            for fold in range(self.budget.folds)
        )

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a cell's outcome follows from beside its arm, as JSON takes it.

        Which arms and fractions and how many repeats there are is none of it: more of them leave
        the others as they are.
        """
        import torch

        study = dataclasses.asdict(self.study)
        for name in (*_FOR_PEOPLE, "arms", "classifier", "conditioning"):
            del study[name]
        budget = dataclasses.asdict(self.budget)
        del budget["repeats"], budget["fractions"]
        facts = {
            "images": self.digest,
            "study": study,
            "classifier": _name(self.classifier),
            "budget": budget,
            "seed": self.seed,
            "computes on": self.computes_on,
            "versions": {"ganaug": ganaug.__version__, "torch": str(torch.__version__)},
        }
        found: dict[str, Any] = json.loads(json.dumps(facts))
        return found

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the facts: the same where the outcomes of cells would be."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()

    @property
    def origin(self) -> Origin:
        """What results follow from, for `ganaug.benchmark.results`."""
        return Origin(fingerprint=self.fingerprint, facts=self.facts, arms=self._arms())

    def run(self, cell: Cell) -> Outcome:
        """Return the outcome of a cell; train its generator unless it is there already.

        The same cell gives the same outcome (but for "seconds"), whichever were run before it, on
        the CPU at an equal number of threads bit for bit.

        Raises ConfigError for a cell that the experiment does not have, RunError when the images
        are not those that it was made of.
        """
        if cell not in self.cells:
            raise ConfigError(f"The experiment has no cell {cell.key}.")
        key = f"{self.fingerprint} {self._arms()} {self.budget} {self.out} {self.device}"
        if key not in _last:
            _last.clear()  # one experiment's images are enough to hold
            _last[key] = self.open_workspace()
        return _last[key].run(cell)

    def _arms(self) -> dict[str, dict[str, Any]]:
        """Return what each arm does, and where its synthetic images are from, if it has any.

        Arms share generators and what is drawn from them, so that this follows from all of them.
        """
        arms = {arm.name: dataclasses.asdict(arm) for arm in self.study.arms}
        images = {
            "used": sorted({arm.synthetic for arm in self.study.arms if arm.needs_generator}),
            "classes": list(self.generated),
            "conditioning": self.study.conditioning,
        }
        for arm in self.study.arms:
            del arms[arm.name]["summary"]
            if arm.needs_generator:
                provider = Registry.load().provider("generators", self.study.generator)
                arms[arm.name]["images"] = {**images, "provider": provider}
        found: dict[str, dict[str, Any]] = json.loads(json.dumps(arms))
        return found

    @property
    def source_name(self) -> str:
        """Where the images are from, for the record."""
        return self.source if isinstance(self.source, str) else "python"

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is computed from the rest behind."""
        names = {item.name for item in dataclasses.fields(self)}
        return {name: value for name, value in self.__dict__.items() if name in names}

    def open_workspace(self) -> Workspace:
        """Return images, folds and generators, opened anew.

        Raises RunError where images changed, or where this process has another kind of device.
        """
        from ganaug.benchmark.workspace import Workspace

        here = describe_device(self.device)
        if here != self.computes_on:
            raise RunError(
                f"This process computes on {here}, and the benchmark is computed on "
                f"{self.computes_on}: arms would differ by that. Name a device that every process "
                "has with --device."
            )
        images = map_classes(_open(self.source, self.fields), self.study.classes)
        if _digest(images, None) != self.rows:
            raise RunError(
                f"The images at {self.source_name} have changed since the benchmark began: ids, "
                "labels or groups are others. Restore them, or begin anew in another --out."
            )
        return Workspace(self, images)

    def _checked(self, images: LabelledImages) -> Study:
        """Try what every cell will need, on the images: all folds, classifier and generator.

        Returns the study with the way of conditioning that it leaves open.
        """
        from ganaug.benchmark.classifiers import build_classifier
        from ganaug.benchmark.measures import check_measure
        from ganaug.benchmark.workspace import Workspace

        workspace = Workspace(self, images)
        for fold in workspace.protocol.folds.values():
            for fraction in self.budget.fractions:
                workspace.protocol.training(fold, fraction)
        check_measure(self.study.measure, images.class_names)
        task = workspace.task
        build_classifier(self.classifier, task.channels, task.size, len(images.class_names), 0)
        if not any(arm.needs_generator for arm in self.study.arms):
            return self.study
        from ganaug.benchmark.generators import plan
        from ganaug.scoring import build_evaluator

        for text in self.study.extras:
            build_evaluator(text, None, workspace.registry)
        recipe = plan(images, self.study, self.budget, workspace.registry)
        return dataclasses.replace(self.study, conditioning=recipe.conditioning)


def _open(source: str | LabelledImages, fields: Mapping[str, str]) -> LabelledImages:
    if isinstance(source, LabelledImages):
        return source
    return open_images(source, Registry.load(), fields)


def _digest(images: LabelledImages, hashes: ImageHashes | None) -> str:
    """Return a SHA-256 over ids, labels, class names and groups; and over pixels, by hashes."""
    columns = [images.ids, images.class_names, images.groups or (), images.labels.tolist()]
    digest = hashlib.sha256(json.dumps(columns).encode())
    if hashes is not None:
        digest.update(hashes.pixels.tobytes())
    return digest.hexdigest()


def _name(classifier: str | Callable[..., nn.Module]) -> str:
    """Return what a classifier is known by: a function by its name, its code and its arguments."""
    if isinstance(classifier, str):
        return classifier
    code = getattr(classifier, "func", classifier)  # of a functools.partial
    code = code if hasattr(code, "__qualname__") else type(code)
    try:
        source = inspect.getsource(code)
    except (OSError, TypeError):  # it is in no file
        source = ""
    return f"{code.__module__}.{code.__qualname__} {joblib_hash((classifier, source))}"
