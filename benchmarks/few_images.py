"""Ways of conditioning, and recipes, on few images: which learns best in the same time.

Trains every treatment (see TREATMENTS: a way of conditioning, settings of the generator, filters)
for the same time on image sets that are small, and compares what it draws with held-out images:

ham-rare: the classes of ham10000_28 but the largest, at 32 px, three in ten images of each to
    train on.
ham-nv: the same classes, where a pretraining sees the largest, 1,300 images of nevi, too.
ham-df: its rarest class alone, of which there are eighteen training images. A pretraining sees the
    other classes of ham-rare too. With one class, conditional and per-class are one thing.
mias, headct: mias_patches and headct_hemorrhage, at --size px, half of each class to train on.

Splits keep groups and near duplicates whole, and are the same for every seed. KID is that of
`ganaug evaluate` on features of fixed random convolutions, times 1000, with the 95 % interval of
half samples: pooled, in the proportions of the held-out images, and by class. The row `real` has
the training images in place of synthetic ones: what perfect images would come to.

Time is this process's own CPU time (all threads) over the number of threads, so that other work on
the machine does not count; parts of a treatment (classes, pretraining) share it as `ganaug fit
--minutes` does. Scores and pictures are not counted.

    python benchmarks/few_images.py --out out/few [--data ../shared/data] [--minutes 10]
        [--seeds 2] [--size 64] [--set ham-rare]... [--treatment radford]... [--quick]

Results are kept in OUT, so that the script goes on where it was stopped: results.csv has a line a
score, table.md what docs/results.md shows, pictures/ a row of images a class. --quick trains for
seconds on scikit-learn's digits: to see that it runs, not to be quoted.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from ganaug import LabelledImages, Registry, Training
from ganaug.cli.exports import write_picture
from ganaug.duplicates import find_duplicates
from ganaug.errors import GanaugError
from ganaug.features import CachedExtractor, build_extractor
from ganaug.fitting import make_model, rows_for_filters, start_training
from ganaug.grids import draw_grid
from ganaug.hashes import hash_images
from ganaug.parts import Part, plan_parts, time_share
from ganaug.recipes import Recipe
from ganaug.scoring import ImageRoles, score_images
from ganaug.sources import open_images
from ganaug.spec import class_indices
from ganaug.splits import split_rows

POOLED, REAL = "pooled", "real"
DRAWN = 400  # images of a pooled score, at the least
SHOWN = 16  # images of a class on a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """A way to train. settings: of the generator, FIELD=VALUE.

    filters: each of them is tried on what the same training draws, beside all that it draws.
    """

    name: str
    conditioning: str = "conditional"
    generator: str = "dcgan"
    settings: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()

    def recipe(self, registry: Registry, minutes: float, seed: int, more: Sequence[str]) -> Recipe:
        """Return the recipe, without filters. more: settings that win over the treatment's own."""
        pairs = (text.split("=", 1) for text in (*self.settings, *more))
        config = registry.generators[self.generator].config.from_strings(dict(pairs))
        return Recipe.from_fields(
            {
                "generator": self.generator,
                "settings": config.to_fields(),
                "conditioning": self.conditioning,
                "filters": [],
                "minutes": minutes,
                "random_state": seed,
            }
        )


TREATMENTS = (
    Treatment(name="conditional", filters=("classifier", "discriminator")),
    Treatment(name="r1_gamma=0.05", settings=("r1_gamma=0.05",)),
    Treatment(
        name="pretrain-finetune, r1_gamma=0.05",
        conditioning="pretrain-finetune",
        settings=("r1_gamma=0.05",),
    ),
    Treatment(
        name="per-class, r1_gamma=0.05", conditioning="per-class", settings=("r1_gamma=0.05",)
    ),
    Treatment(name="per-class", conditioning="per-class"),
    Treatment(name="pretrain-finetune", conditioning="pretrain-finetune"),
    Treatment(name="radford", settings=("preset=radford",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Images and how they are used. training: the share of each class to train on.

    classes: that are kept; all unless named. learned: of these, those that are learned and drawn,
    while a pretraining sees all; all unless named.
    """

    name: str
    source: str
    size: int
    training: float
    classes: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()


def full(data: Path, size: int) -> list[ImageSet]:
    """The sets of the module's docstring."""
    rare = ("bkl", "mel", "bcc", "akiec", "vasc", "df")
    ham = str(data / "ham10000_28" / "ham10000_28.npz")
    return [
        ImageSet(name="ham-rare", source=ham, size=32, training=0.3, classes=rare),
        ImageSet(name="ham-nv", source=ham, size=32, training=0.3, learned=rare),
        ImageSet(name="ham-df", source=ham, size=32, training=0.3, classes=rare, learned=("df",)),
        *(
            ImageSet(name=name, source=str(data / folder / "labels.csv"), size=size, training=0.5)
            for name, folder in (("mias", "mias_patches"), ("headct", "headct_hemorrhage"))
        ),
    ]


def quick() -> list[ImageSet]:
    rare = ("1", "2", "3")
    digits = {"source": "digits:digits", "size": 16, "training": 0.3, "classes": rare}
    return [
        ImageSet(name="digits", **digits),  # type: ignore[arg-type]
        ImageSet(name="digits-1", learned=("1",), **digits),  # type: ignore[arg-type]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A score. class_: a class, or all of them pooled. real: images it is against."""

    data: str
    size: int
    treatment: str
    minutes: float
    seed: int
    class_: str
    real: int
    kid: float
    low: float
    high: float
    images_seen: int
    seconds: float

    @property
    def run(self) -> tuple[str, int, str, float, int]:
        """Which run it is of."""
        return self.data, self.size, self.treatment, self.minutes, self.seed


def read_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    kinds = {"int": int, "float": float, "str": str}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(**{each.name: kinds[str(each.type)](line[each.name]) for each in fields(Row)})
            for line in csv.DictReader(file)
        ]


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Append the rows of a run in one write, so that a run is there whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Row)], lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(text.getvalue())


def cpu_seconds() -> float:
    return time.process_time() / torch.get_num_threads()


class Bench:
    """One image set, split and loaded, and how drawn images are scored against it."""

    def __init__(self, given: ImageSet, registry: Registry) -> None:
        self.set, self.registry = given, registry
        source = open_images(given.source, registry)
        kept = source.only(class_indices(given.classes or source.class_names, source.class_names))
        images = kept.load(given.size)
        near = find_duplicates(images, hash_images(images)).near
        splits = split_rows(
            images, holdout=1 - given.training, validation=0.0, random_state=0, clusters=near
        )
        rows = {name: [i for i, split in enumerate(splits) if split == name] for name in splits}
        self.all_training = images.subset(rows["training"])
        learned = class_indices(given.learned or images.class_names, images.class_names)
        self.training = self.all_training.only(learned)
        self.holdout = images.subset(rows["holdout"]).only(learned)
        self.extractor = CachedExtractor(
            build_extractor("random-conv", self.training.spec, registry)
        )
        self.extractor.prepare(self.all_training)

    def train(self, recipe: Recipe, seconds: float) -> tuple[list[Part], list[Training], float]:
        """Train each part for its share of some seconds; return them and the seconds taken."""
        parts = plan_parts(self.training, recipe, self.registry, pretraining=self.all_training)
        trainings, taken = [start_training(part, recipe) for part in parts], 0.0
        for part, training in zip(parts, trainings, strict=True):
            share, started = seconds * time_share(part, parts), cpu_seconds()
            if part.role == "fine-tuning":
                training.go_on_from(trainings[0])
            for _ in training:
                if cpu_seconds() - started >= share:
                    break
            taken += cpu_seconds() - started
        return parts, trainings, taken

    def draw(
        self, parts: list[Part], trainings: list[Training], recipe: Recipe
    ) -> LabelledImages | None:
        """Draw images in the proportions of the held-out ones, a class after the other.

        None where a filter cannot do this set, such as a classifier of one class.
        """
        try:
            known = rows_for_filters(self.all_training, parts, recipe, self.registry)
        except GanaugError as error:
            print(f"{recipe.filters}: {error}", flush=True)
            return None
        model = make_model(self.training, parts, trainings, recipe, rows=known).at_trained_size()
        times = -(-DRAWN // len(self.holdout))
        pixels, labels = [], []
        for index, count in enumerate(self.holdout.counts.values()):
            draw = model.draw if recipe.filters else model.draw_raw
            pixels.append(draw(index, times * count, seed=1_000 + index))
            labels += [index] * len(pixels[-1])
        return LabelledImages(
            pixels=np.concatenate(pixels),
            labels=np.array(labels),
            class_names=self.holdout.class_names,
            value_range=self.holdout.value_range,
        )

    def score(
        self, drawn: LabelledImages, name: str, minutes: float, seed: int, seen: int, taken: float
    ) -> list[Row]:
        """Return the KID of images against held-out ones, pooled and by class."""
        names = self.holdout.class_names
        chosen = [(POOLED, list(range(len(names)))), *((n, [i]) for i, n in enumerate(names))]
        found = []
        for class_, indices in chosen[: None if len(names) > 1 else 1]:
            train, holdout, synthetic = (
                images.only(indices) for images in (self.training, self.holdout, drawn)
            )
            roles = ImageRoles(train=train, holdout=holdout, synthetic=synthetic)
            kid = score_images(
                ["kid"],
                roles,
                self.registry,
                extractor=self.extractor,
                rows="held-out images",
                floors=False,
            )[0]
            low, high = kid.interval or (float("nan"), float("nan"))
            found.append(
                Row(
                    data=self.set.name,
                    size=self.set.size,
                    treatment=name,
                    minutes=minutes,
                    seed=seed,
                    class_=class_,
                    real=len(holdout),
                    kid=1e3 * kid.value,
                    low=1e3 * low,
                    high=1e3 * high,
                    images_seen=seen,
                    seconds=taken,
                )
            )
        return found

    def write_sheet(self, path: Path, images: LabelledImages) -> None:
        """Write a picture with a row a class."""
        pixels = np.asarray(images.pixels)
        rows = [
            (name, pixels[np.flatnonzero(images.labels == index)[:SHOWN]])
            for index, name in enumerate(images.class_names)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, draw_grid(rows, images.value_range))


def run_set(
    given: ImageSet, treatments: Sequence[Treatment], options: argparse.Namespace, more: list[str]
) -> None:
    """Run what is still to be run of an image set."""
    path, minutes = options.out / "results.csv", options.minutes
    done = {row.run for row in read_rows(path)}
    real = (given.name, given.size, REAL, 0.0, 0)
    runs = [
        (each, seed)
        for seed in range(options.seeds)
        for each in treatments
        if (given.name, given.size, each.name, minutes, seed) not in done
        and not (given.learned and each.conditioning == "per-class")
    ]
    if real in done and not runs:
        return
    registry = Registry.load()
    bench = Bench(given, registry)
    pictures = options.out / "pictures"
    print(f"\n{given.name}, {given.size} px: training {bench.training.counts}", flush=True)
    if real not in done:
        append_rows(path, bench.score(bench.training, REAL, 0.0, 0, 0, 0.0))
        bench.write_sheet(pictures / f"{given.name}-{given.size}-real.png", bench.training)
    for each, seed in runs:
        recipe = each.recipe(registry, minutes, seed, more)
        parts, trainings, taken = bench.train(recipe, 60 * minutes)
        seen, found = sum(training.images_seen for training in trainings), []
        for filters in ((), *((name,) for name in each.filters)):
            drawn = bench.draw(parts, trainings, recipe.model_copy(update={"filters": filters}))
            if drawn is None:
                continue
            name = " + ".join((each.name, *filters))
            rows = bench.score(drawn, name, minutes, seed, seen, taken)
            file = f"{given.name}-{given.size}-{name}-{minutes:g}min-{seed}.png".replace(" ", "")
            bench.write_sheet(pictures / file, drawn)
            by_class = ", ".join(f"{row.class_} {row.kid:.1f}" for row in rows)
            print(f"{name} seed {seed}: {seen:,} images in {taken:.0f} s, {by_class}", flush=True)
            found += rows
        append_rows(path, found)


def markdown(rows: Sequence[Row]) -> str:
    """Return a table a set, size and length of training: medians over seeds, and their range."""
    lines: list[str] = []
    for data, size in dict.fromkeys((row.data, row.size) for row in rows):
        own = [row for row in rows if (row.data, row.size) == (data, size)]
        classes = list(dict.fromkeys(row.class_ for row in own))
        counts = {row.class_: row.real for row in own}
        heads = [f"{name} ({counts[name]})" for name in classes]
        lines += [f"{data}, {size} px: KID x 1000, against so many held-out images", ""]
        lines += [f"| minutes | treatment | seeds | {' | '.join(heads)} | images seen |"]
        lines += [f"|--:|---|--:|{'--:|' * len(classes)}--:|"]
        for minutes, name in sorted(dict.fromkeys((row.minutes, row.treatment) for row in own)):
            cells = [
                [r for r in own if (r.minutes, r.treatment, r.class_) == (minutes, name, class_)]
                for class_ in classes
            ]
            shown = [_range([row.kid for row in cell]) for cell in cells]
            seen = f"{np.median([row.images_seen for row in cells[0]]):,.0f}"
            length = f"{minutes:g}" if minutes else ""
            lines.append(
                f"| {length} | {name} | {len(cells[0]) if length else ''} | {' | '.join(shown)} | "
                f"{seen if length else ''} |"
            )
        lines += ["", *_against_radford(own)]
    return "\n".join(lines)


def _range(values: Sequence[float]) -> str:
    text = f"{np.median(values):.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):.1f} to {max(values):.1f})"


def _against_radford(rows: Sequence[Row]) -> list[str]:
    """Say how both ways of conditioning stand to the preset of Radford et al. at equal time."""
    pooled = [row for row in rows if row.class_ == POOLED]
    lines = []
    for minutes in sorted({row.minutes for row in pooled}):
        kid = {
            name: [row.kid for row in pooled if (row.minutes, row.treatment) == (minutes, name)]
            for name in ("conditional", "pretrain-finetune", "radford")
        }
        theirs = kid.pop("radford")
        for name, ours in kid.items():
            if ours and theirs:
                share = np.median(ours) / np.median(theirs)
                lines += [f"{minutes:g} minutes: KID of {name} is {share:.2f} of radford's.", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/few"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--size", type=int, default=32, help="of mias and headct, in pixels")
    parser.add_argument("--set", action="append", help="one of these sets only; repeatable")
    names = [each.name for each in TREATMENTS]
    parser.add_argument("--treatment", action="append", choices=names, help="repeatable")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sets, more = full(options.data, options.size), []
    if options.quick:
        sets, more, options.minutes, options.seeds = quick(), ["width=8"], 0.05, 2
    unknown = set(options.set or ()) - {each.name for each in sets}
    if unknown:
        parser.error(f"--set: there is no {', '.join(sorted(unknown))}")
    treatments = [each for each in TREATMENTS if each.name in (options.treatment or names)]
    options.out.mkdir(parents=True, exist_ok=True)
    for given in sets:
        if not options.set or given.name in options.set:
            run_set(given, treatments, options, more)
    table = markdown(read_rows(options.out / "results.csv"))
    (options.out / "table.md").write_text(table, "utf-8")
    print(f"\n{table}\nThe tables are {options.out / 'table.md'}.")


if __name__ == "__main__":
    main()
