"""What ``ganaug benchmark`` says before and after it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganaug.cli.console import facts, make_table, output

if TYPE_CHECKING:
    from rich.table import Table

    from ganaug.benchmark.experiment import Experiment
    from ganaug.benchmark.outcomes import Outcome
    from ganaug.benchmark.statistics import Difference
    from ganaug.cli.benchmark_request import BenchmarkRequest
    from ganaug.study import Budget, Study

__all__ = [
    "Comparison",
    "header_pairs",
    "print_comparison",
    "print_header",
    "protocol_fields",
    "version_pairs",
]

#: Folds and repeats from which on a difference may be claimed.
_CLAIM = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the outcomes of a study say.

    differences: of every arm from the reference. effects: of arms with synthetic images from those
    that are the same but for the images. p-values are adjusted for all of them together.
    """

    study: Study
    budget: Budget
    differences: Sequence[Difference]
    effects: Sequence[Difference]

    @classmethod
    def of(
        cls, experiment: Experiment, outcomes: Sequence[Outcome], *, reference: str | None
    ) -> Comparison:
        """Compare all arms, in the study's measure, with a reference or the best without images.

        Raises GanaugError as `ganaug.benchmark.statistics.compare` does.
        """
        from ganaug.benchmark.statistics import choose_reference, compare

        study = experiment.study
        order = {arm.name: place for place, arm in enumerate(study.arms)}
        ordered = sorted(outcomes, key=lambda outcome: order[outcome.cell.arm])
        candidates = [arm.name for arm in study.arms if not arm.needs_generator]
        found = compare(
            ordered,
            study.measure,
            reference=reference,
            candidates=candidates,
            partners=study.partners,
            specificity=study.specificity,
        )
        references = {
            fraction: reference
            or choose_reference(
                [outcome for outcome in ordered if outcome.cell.fraction == fraction],
                study.measure,
                candidates,
                specificity=study.specificity,
            )
            for fraction in {each.fraction for each in found}
        }
        return cls(
            study=study,
            budget=experiment.budget,
            differences=sorted(
                (each for each in found if each.reference == references[each.fraction]),
                key=lambda each: order[each.arm],
            ),
            effects=[each for each in found if study.partners.get(each.arm) == each.reference],
        )

    @property
    def is_screening(self) -> bool:
        """Whether there is too little of it to make a claim."""
        return min(self.budget.folds, self.budget.repeats) < _CLAIM

    def verdicts(self) -> list[str]:
        """Return a sentence for every arm with synthetic images; for every arm where none has.

        Against its partner, or the reference where it has none.
        """
        synthetic = {arm.name for arm in self.study.arms if arm.needs_generator}
        others = synthetic - set(self.study.partners)
        told = [
            *self.effects,
            *(each for each in self.differences if each.arm in others or not synthetic),
        ]
        several = len({found.fraction for found in self.differences}) > 1
        return [
            f"{found.arm}: {found.words()}, against {found.reference}"
            + (f", on {found.fraction:.0%} of the training groups" if several else "")
            + (f"; 95 % interval {_interval(found)}." if _interval(found) else ".")
            for found in told
        ]


def print_header(
    request: BenchmarkRequest, experiment: Experiment, backend: str, done: int
) -> None:
    """Say what is about to be computed."""
    cells = f"{len(experiment.cells):,}"
    if request.resume:
        cells += f", of which {done:,} are done"
    pairs = [*header_pairs(request, experiment), ("Cells", f"{cells}; {backend}")]
    output().print(facts([*pairs, ("Results", str(request.out))]))


def header_pairs(request: BenchmarkRequest, experiment: Experiment) -> list[tuple[str, str]]:
    """Return what is compared on what, by name."""
    study, budget = experiment.study, experiment.budget
    pairs = [
        ("Images", request.data),
        ("Classes", _classes(experiment)),
        ("Study", f"{study.name}: {study.summary}"),
        ("Arms", ", ".join(arm.name for arm in study.arms)),
        ("Protocol", f"{_protocol(budget)}; seed {experiment.seed}"),
        (
            "Classifier",
            f"{study.classifier}, {budget.steps:,} steps of {budget.batch_size} images",
        ),
    ]
    if any(arm.needs_generator for arm in study.arms):
        settings = {**study.settings, **budget.settings}
        finetuned = study.conditioning == "pretrain-finetune"
        described = [
            study.generator,
            *(f"{name}={value}" for name, value in settings.items()),
            *([study.conditioning] if study.conditioning else []),
            *(f"filter {name}" for name in study.filters if name != "copies"),
            f"{budget.generator_images:,} images in each training part"
            + (", then a quarter for each class" if finetuned else ""),
        ]
        pairs.append(("Generator", ", ".join(described)))
    return pairs


def _classes(experiment: Experiment) -> str:
    """Return how many images there are of each class, and of labels that take no part."""
    classes, others = (
        ", ".join(f"{name} {n:,}" for name, n in counts.items())
        for counts in (experiment.counts, experiment.left_out)
    )
    return f"{classes}; left out: {others}" if others else classes


def version_pairs(experiment: Experiment) -> list[tuple[str, str]]:
    """Return the versions that it ran with, and what it is known by."""
    import platform
    from importlib.metadata import version

    from ganaug.benchmark.classifiers import CLASSIFIERS

    names = ["ganaug", "torch", "torchvision", "numpy", "scikit-learn"]
    if experiment.study.classifier not in CLASSIFIERS:
        names.append("timm")
    return [
        ("Versions", ", ".join(f"{name} {version(name)}" for name in names)),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("Device", experiment.computes_on),
        ("Fingerprint", experiment.fingerprint),
    ]


def print_comparison(comparison: Comparison, headline: str) -> None:
    """Print the answer, the verdicts, the arms with intervals, and how far to trust them."""
    console = output()
    console.print(f"\n{headline}\n")
    for sentence in comparison.verdicts():
        console.print(sentence)
    fractions = list(dict.fromkeys(found.fraction for found in comparison.differences))
    for fraction in fractions:
        title = f"{fraction:.0%} of the training groups" if len(fractions) > 1 else None
        console.print(_table(comparison, fraction, title))
    console.print(facts(_notes(comparison)))


def protocol_fields(request: BenchmarkRequest, experiment: Experiment) -> dict[str, Any]:
    """Return what programs want to know of how it was run, as JSON takes it."""
    budget = experiment.budget
    return {
        "data": request.data,
        "folds": budget.folds,
        "repeats": budget.repeats,
        "fractions": list(budget.fractions),
        "seed": experiment.seed,
        "fingerprint": experiment.fingerprint,
    }


def _protocol(budget: Budget) -> str:
    text = f"{budget.folds} folds x {budget.repeats} repeat{'s'[: budget.repeats > 1]}"
    if min(budget.folds, budget.repeats) < _CLAIM:
        text += f", a screening; claims are made at {_CLAIM} x {_CLAIM}"
    if budget.fractions != (1.0,):
        shares = ", ".join(f"{fraction:.0%}" for fraction in budget.fractions)
        text += f"; on {shares} of the training groups"
    return text


def _table(comparison: Comparison, fraction: float, title: str | None) -> Table:
    """Return a table of the arms at one training size, the reference first."""
    from ganaug.benchmark.statistics import points

    measure = comparison.study.measure.replace("_", " ")
    right = [measure, "difference", "95 % interval", "p (Holm)"]
    table = make_table("arm", *right, right=right, title=title)
    table.padding = (0, 1, 0, 0)
    table.columns[0].overflow = "fold"
    for column in table.columns[2:]:
        column.no_wrap = True
    found = [each for each in comparison.differences if each.fraction == fraction]
    table.add_row(found[0].reference, f"{found[0].reference_value:.3f}", "reference")
    for each in found:
        p = "" if each.p_holm is None else f"{each.p_holm:.2g}"
        table.add_row(each.arm, f"{each.value:.3f}", points(each.mean), _interval(each), p)
    return table


def _notes(comparison: Comparison) -> list[tuple[str, str]]:
    """Return how to read the table, and the paper's figures, which are not ours."""
    study = comparison.study
    notes = [
        (
            "Differences",
            "in points, hundredths of the measure; corrected resampled t (Nadeau and Bengio "
            "2003), intervals of each comparison alone, p adjusted for all of them",
        )
    ]
    if comparison.is_screening:
        notes.append(("Screening", f"claims are made at {_CLAIM} folds x {_CLAIM} repeats"))
    if study.reported:
        told = "; ".join(
            f"{each.arm} {each.measure} {each.value:g}" for each in study.reported if each.arm
        )
        notes.append(("Reported", f"{told} ({study.paper or 'elsewhere'}), on other images"))
    return notes


def _interval(found: Difference) -> str:
    """Return it in points; nothing where there is none."""
    from ganaug.benchmark.statistics import points

    if found.low is None or found.high is None:
        return ""
    return f"{points(found.low)} to {points(found.high)}"
