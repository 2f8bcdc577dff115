"""What ``ganaug reader-study --score`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug.cli.console import facts, make_table, output, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from ganaug.readers.answers import Answers, Key
    from ganaug.readers.scores import Estimate, ReaderScore

__all__ = ["detectable", "print_scores"]


def print_scores(paths: Sequence[Path], key_path: Path, *, json: bool) -> None:
    """Score files of answers by a study's key. Raises DataError when they do not go together."""
    from ganaug.readers.answers import read_answers, read_key
    from ganaug.readers.scores import score_answers

    key = read_key(key_path)
    answers = read_answers(paths, key)
    scores = score_answers(key, answers)
    if json:
        print_json(_to_json(key, answers, scores))
        return
    console = output()
    console.print(_table(key, answers, scores))
    console.print(facts(_facts(key, answers, scores)))


def detectable(n_real: int, n_synthetic: int) -> str:
    """Say how good a reader must be for that many images to show it."""
    from ganaug.readers.scores import smallest_detectable_auc

    area = smallest_detectable_auc(n_real, n_synthetic)
    images = f"{n_real} real and {n_synthetic} synthetic images"
    if area is None:
        return f"nothing: {images} are too few for a reader to be told from chance"
    return (
        f"an AUC of {area:.2f} or more: with {images}, a reader that good is told from chance "
        "(0.50) in 4 studies of 5"
    )


def _to_json(key: Key, answers: Answers, scores: Sequence[ReaderScore]) -> dict[str, Any]:
    from ganaug.readers.scores import AUC_METHOD, PROPORTION_METHOD, smallest_detectable_auc

    n_synthetic = int(key.is_synthetic.sum())
    n_real = len(key.numbers) - n_synthetic
    return {
        "study": key.study,
        "images": {"real": n_real, "synthetic": n_synthetic},
        "readers": list(answers.readers),
        "interval": 0.95,
        "interval_methods": {"proportions": PROPORTION_METHOD, "auc": AUC_METHOD},
        "smallest_detectable_auc": smallest_detectable_auc(n_real, n_synthetic),
        "scores": [score.to_fields() for score in scores],
    }


def _table(key: Key, answers: Answers, scores: Sequence[ReaderScore]) -> Table:
    """Return a table of scores: a row a reader, and below it one for each of several classes."""
    right = ["n", "accuracy", "sensitivity", "specificity", "AUC"]
    several, one_class = len(answers.readers) > 1, len(set(key.class_names)) == 1
    table = make_table("reader" if one_class else "reader, class", *right, right=right)
    table.padding = (0, 1, 0, 0)  # narrow, so that few names are folded
    for column in table.columns:  # where it is narrow, names are folded and numbers are not
        column.overflow, column.no_wrap = "fold", column.header in right
    for score in scores:
        if (score.reader is None and not several) or (score.class_name is not None and one_class):
            continue
        first = score.class_name is None
        if first and table.row_count:
            table.add_section()
        estimates = (score.accuracy, score.sensitivity, score.specificity, score.auc)
        table.add_row(
            (score.reader or "pooled") if first else f"  {score.class_name}",
            f"{score.n_real + score.n_synthetic:,}",
            *map(_interval, estimates),
        )
    return table


def _facts(key: Key, answers: Answers, scores: Sequence[ReaderScore]) -> list[tuple[str, str]]:
    from ganaug.readers.scores import AUC_METHOD, PROPORTION_METHOD

    n_synthetic = int(key.is_synthetic.sum())
    pooled = next(each for each in scores if each.reader is None and each.class_name is None)
    pairs = [
        ("Can they tell?", _verdict(pooled, len(answers.readers))),
        ("Can show", detectable(len(key.numbers) - n_synthetic, n_synthetic)),
        ("Sensitivity", "synthetic images called synthetic; specificity: real ones called real"),
        ("Intervals", f"95 %. AUC: {AUC_METHOD}. Others: {PROPORTION_METHOD}"),
    ]
    if pooled.seconds is not None:
        pairs.append(("Time", f"{pooled.seconds:.1f} s an answer, median"))
    if unanswered := _unanswered(answers):
        pairs.append(("Unanswered", unanswered))
    return pairs


def _interval(estimate: Estimate | None) -> str:
    """Return ``.58 .45-.70``, so that four of them fit beside each other."""
    if estimate is None:
        return "-"
    value, low, high = (
        f"{each:.2f}".removeprefix("0").removesuffix("0" if each > 0.995 else "")
        for each in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} {low}-{high}"


def _verdict(pooled: ReaderScore, readers: int) -> str:
    area = pooled.auc
    if area is None:
        return "not known: answers about both real and synthetic images are needed"
    who = "The reader" if readers == 1 else f"These {readers} readers"
    facts_ = f"AUC {area.value:.2f}, {area.low:.2f} to {area.high:.2f}"
    if area.low > 0.5:
        return f"{who} could tell synthetic images from real ones: {facts_}"
    if area.high < 0.5:
        return f"{who} took synthetic images for real and real ones for synthetic: {facts_}"
    return f"No difference from chance shown: {facts_}. That is no proof that there is none"


def _unanswered(answers: Answers) -> str:
    import numpy as np

    missing = np.isnan(answers.ratings).sum(axis=1)
    return ", ".join(
        f"{reader}: {count} of {answers.ratings.shape[1]}"
        for reader, count in zip(answers.readers, missing, strict=True)
        if count
    )
