"""What an inspected image set warns of, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganaug.inspection import Inspection
    from ganaug.probes import Probe

__all__ = ["Caution", "cautions_of", "is_high", "notes_of"]

#: AUC from which on a number by itself says too much. Brightness may be the finding itself
#: (a bleed is bright), width never is.
_HIGH_AUC = {
    "width": 0.65,
    "height": 0.65,
    "width / height": 0.65,
    "size": 0.65,
    "mean intensity": 0.7,
    "all": 0.7,
}

_EXAMPLES = 3

_SPLIT_ANEW = (
    "Scores on that holdout are too good. Divide the images anew with ganaug data split --anew, "
    "and fit on that file with --split."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One warning: its kind for a program, the problem in numbers, and what to do."""

    kind: str
    problem: str
    remedy: str


def cautions_of(found: Inspection) -> list[Caution]:
    """Return what makes scores on this set untrustworthy, the worst first."""
    every = (
        _groups_across_splits,
        _duplicates_across_splits,
        _duplicates_across_classes,
        _size_shortcut,
        _intensity_shortcut,
        _duplicates,
        _constant,
        _nonfinite,
    )
    return [caution for one in every if (caution := one(found))]


def is_high(probe: Probe, chance: float | None) -> bool:
    """Return whether a probe predicts the class so well that it must be explained."""
    if probe.auc is None or chance is None:
        return False
    return probe.auc >= max(_HIGH_AUC[probe.name], chance)


def notes_of(found: Inspection) -> list[str]:
    """Return what stands in the way of `ganaug fit`, and what to do about it."""
    notes = []
    if found.distinct_sizes > 1:
        notes.append("Sizes differ: give ganaug fit a --size.")
    if len(found.modes) > 1:
        notes.append("Channels or bit depths differ: convert all images to one first.")
    if small := [name for name, count in found.counts.items() if count < 2]:
        notes.append(f"Too few images to learn from: {', '.join(small)}.")
    return notes


def _groups_across_splits(found: Inspection) -> Caution | None:
    names = found.groups_across_splits
    if not names:
        return None
    return Caution(
        kind="groups_across_splits",
        problem=f"{_count(len(names), 'group')} of {found.groups:,} {_verb(names, 'has', 'have')} "
        f"images in several splits of the source ({_some(names)}).",
        remedy=_SPLIT_ANEW,
    )


def _size_shortcut(found: Inspection) -> Caution | None:
    return _shortcut(
        found,
        kind="size_shortcut",
        names=("width", "height", "width / height", "size"),
        subject="Width and height alone predict the class",
        remedy="A classifier can learn the size instead of the finding. Make every image the same "
        "size and aspect before training, and compare arms; quote no absolute score.",
    )


def _intensity_shortcut(found: Inspection) -> Caution | None:
    return _shortcut(
        found,
        kind="intensity_shortcut",
        names=("mean intensity",),
        subject="Mean intensity alone predicts the class",
        remedy="It may be the finding, or the scanner and exposure: look at examples, and take "
        "this AUC as the score to beat.",
    )


def _shortcut(
    found: Inspection,
    *,
    kind: str,
    names: Sequence[str],
    subject: str,
    remedy: str,
) -> Caution | None:
    probed = found.shortcuts
    aucs = [
        probe.auc or 0.0
        for probe in probed.probes
        if probe.name in names and is_high(probe, probed.chance)
    ]
    if not aucs:
        return None
    return Caution(
        kind=kind,
        problem=f"{subject}: AUC {max(aucs):.2f} on {probed.images:,} images, where chance "
        f"reaches {probed.chance:.2f}.",
        remedy=remedy,
    )


def _duplicates_across_splits(found: Inspection) -> Caution | None:
    clusters = [cluster for cluster in found.duplicates if len(cluster.splits) > 1]
    if not clusters:
        return None
    return Caution(
        kind="duplicates_across_splits",
        problem=f"{_count(len(clusters), 'cluster')} of duplicates {_verb(clusters, 'lies', 'lie')}"
        f" in several splits of the source ({_some(clusters[0].ids)}).",
        remedy=_SPLIT_ANEW,
    )


def _duplicates_across_classes(found: Inspection) -> Caution | None:
    clusters = [cluster for cluster in found.duplicates if len(cluster.classes) > 1]
    if not clusters:
        return None
    return Caution(
        kind="duplicates_across_classes",
        problem=f"{_count(len(clusters), 'cluster')} of duplicates {_verb(clusters, 'has', 'have')}"
        f" several classes ({_some(clusters[0].ids)}).",
        remedy="One label is wrong, or images look too alike to tell: check them, then remove or "
        "relabel.",
    )


def _duplicates(found: Inspection) -> Caution | None:
    clusters = [cluster for cluster in found.duplicates if not cluster.within_group]
    if not clusters:
        return None
    images = sum(len(cluster.ids) for cluster in clusters)
    return Caution(
        kind="duplicates",
        problem=f"{images:,} images are duplicates or nearly so, in "
        f"{_count(len(clusters), 'cluster')}.",
        remedy="A random split would test on training images. Split with ganaug data split, which "
        "keeps clusters whole.",
    )


def _constant(found: Inspection) -> Caution | None:
    ids = (*found.constant, *found.almost_constant)
    if not ids:
        return None
    return Caution(
        kind="constant_images",
        problem=f"{_count(len(ids), 'image')} {_verb(ids, 'is', 'are')} of one value or almost "
        f"({_some(ids)}).",
        remedy="Blank images teach a generator to draw blanks: look at them and remove them.",
    )


def _nonfinite(found: Inspection) -> Caution | None:
    if not found.nonfinite_images:
        return None
    return Caution(
        kind="nonfinite_images",
        problem=f"{_count(found.nonfinite_images, 'image')} hold NaN or infinity.",
        remedy="Repair or remove them: ganaug fit refuses them.",
    )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


def _verb(items: Sequence[object], one: str, several: str) -> str:
    return one if len(items) == 1 else several


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _EXAMPLES:,} more" if len(names) > _EXAMPLES else ""
    return ", ".join(names[:_EXAMPLES]) + more
