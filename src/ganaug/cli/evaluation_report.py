"""What ``ganaug evaluate`` says: a table in the terminal, and JSON for programs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ganaug.cli.console import facts, make_table, output

if TYPE_CHECKING:
    from rich.table import Table

    from ganaug.evaluation import Evaluation
    from ganaug.runs import Run
    from ganaug.scoring import Score

__all__ = ["print_evaluation", "record_of"]


def record_of(
    evaluation: Evaluation,
    run: Run,
    *,
    data: str,
    options: Mapping[str, Any],
    tsne: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return all that there is to say of an evaluation, the same for the same evaluation.

    data: the images, as the command was given them. options: what else it was given. tsne: how
    the figure was made, if it was.
    """
    import torch

    import ganaug
    from ganaug.reading import read_scores

    roles = evaluation.roles.by_name
    return {
        "versions": {"ganaug": ganaug.__version__, "torch": str(torch.__version__)},
        "run": str(run.path),
        "weights": _weights(run),
        "data": data,
        "data_fingerprint": run.config.fingerprint,
        "options": dict(options),
        "rows": evaluation.rows,
        "images": {role: images.counts for role, images in roles.items()},
        "fingerprints": {role: images.fingerprint() for role, images in roles.items()},
        "seed": evaluation.seed,
        "scores": [score.to_fields() for score in evaluation.scores],
        "skipped": dict(evaluation.skipped),
        "notes": list(evaluation.notes),
        "reading": read_scores(evaluation.scores),
        "tsne": None if tsne is None else dict(tsne),
    }


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the scores, what they are scores of, and what they say."""
    from ganaug.reading import read_scores

    console = output()
    console.print(_table(evaluation.scores))
    console.print(facts(_circumstances(evaluation)))
    sentences = [*read_scores(evaluation.scores), *evaluation.notes]
    if sentences:
        console.print()
    for sentence in sentences:
        console.print(sentence)


def _weights(run: Run) -> dict[str, str]:
    """Return the SHA-256 of each generator that was scored."""
    paths = [run.part_folder(index) / "generator.safetensors" for index in run.indices]
    return {
        path.relative_to(run.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def _table(scores: Sequence[Score]) -> Table:
    """Return a table of scores; those of a metric that has several stand under its name."""
    from ganaug.reading import score_rows

    right = ("value", "95 % interval", "floor")
    table = make_table("metric", *right, "better", "n", right=[*right, "n"])
    for column in table.columns:
        column.no_wrap = True
    for metric, group in groupby(score_rows(scores), key=lambda row: row.metric):
        rows = list(group)
        alone = len(rows) == 1 and rows[0].name == metric
        if not alone:
            table.add_row(metric)
        for row in rows:
            name = row.name if alone else f"  {row.name}"
            table.add_row(name, row.value, row.interval, row.floor, row.better, _sides(row.n))
    return table


def _circumstances(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return what the scores are scores of, by name."""
    from ganaug.reading import resize_rules

    scores = evaluation.scores
    spaces = {(score.extractor, score.extractor_hash) for score in scores if score.extractor}
    named = [f"{name} ({(hash_ or '')[:16]})" for name, hash_ in sorted(spaces)]
    floors = {score.floor_method for score in scores if score.floor is not None}
    pairs = [
        ("Rows", evaluation.rows),
        ("n", _counts(scores)),
        ("Floor", "; ".join(sorted(filter(None, floors))) or "none"),
        ("Interval", "; ".join(_interval_methods(scores))),
        ("Extractor", ", ".join(named) or "none"),
        ("Resized", "; ".join(resize_rules(scores)) or "none"),
        ("Seed", str(evaluation.seed)),
    ]
    return pairs + [("Skipped", f"{metric}: {why}") for metric, why in evaluation.skipped.items()]


def _sides(n: Mapping[str, int]) -> str:
    """Return how many images were compared: one number where both sides have as many."""
    sides = [n[role] for role in ("holdout", "synthetic") if role in n]
    return " + ".join(f"{count:,}" for count in (sides if len(set(sides)) > 1 else sides[:1]))


def _counts(scores: Sequence[Score]) -> str:
    """Return images by role, and the metrics that read other roles than most."""
    from ganaug.reading import count_text

    by_text: dict[str, list[str]] = {}
    for score in scores:
        metrics = by_text.setdefault(count_text(score.n), [])
        metrics += [score.metric] if score.metric not in metrics else []
    (most, _), *rest = sorted(by_text.items(), key=lambda item: -len(item[1]))
    return "; ".join([most, *(f"{', '.join(metrics)}: {text}" for text, metrics in rest)])


def _interval_methods(scores: Sequence[Score]) -> list[str]:
    """Return how intervals were found, or why there are none; the rarer ways by metric."""
    from ganaug.reading import is_primary

    by_method: dict[str, list[str]] = {}
    for score in filter(is_primary, scores):
        metrics = by_method.setdefault(score.interval_method or "none", [])
        metrics += [score.metric] if score.metric not in metrics else []
    (most, _), *rest = sorted(by_method.items(), key=lambda item: -len(item[1]))
    return [most, *(f"{', '.join(metrics)}: {method}" for method, metrics in rest)]
