"""What ``ganaug evaluate`` says: a table in the terminal, and JSON for programs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from ganaug.cli.console import facts, make_table, output

if TYPE_CHECKING:
    from rich.table import Table

    from ganaug.evaluation import Evaluation
    from ganaug.runs import Run
    from ganaug.scoring import Score

__all__ = ["print_evaluation", "record_of"]

# Columns that the numbers of the table need at most, beside a name of 20 characters.
_WIDE = 80


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
    console.print(_table(evaluation.scores, wide=console.width >= _WIDE))
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


def _table(scores: Sequence[Score], *, wide: bool) -> Table:
    """Return a table of scores; those of a metric that has several stand under its name.

    Where it is narrow, names are folded and numbers are not; below 80 columns numbers are, too.
    """
    from ganaug.reading import score_rows

    shown = score_rows(scores)
    right = ["value", "95 % interval", "floor"]
    table = make_table("metric", *right, "better", right=right)
    table.padding = (0, 1, 0, 0)  # narrow, so that few names are folded
    for column in table.columns:
        column.overflow, column.no_wrap = "fold", wide and column.header != "metric"
    for metric, group in groupby(shown, key=lambda row: row.metric):
        rows = list(group)
        alone = len(rows) == 1 and rows[0].name == metric
        if not alone:
            table.add_row(metric.replace(",", ",\n"))  # a text of options has no other gaps
        for row in rows:
            name = row.name if alone else f"  {row.name}"
            table.add_row(name, row.value, row.interval, row.floor, row.better)
    return table


def _circumstances(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return what the scores are scores of, by name."""
    from ganaug.reading import resize_rules

    scores = evaluation.scores
    spaces = {(score.extractor, score.extractor_hash) for score in scores if score.extractor}
    named = [f"{name} ({(hash_ or '')[:16]})" for name, hash_ in sorted(spaces)]
    pairs = [
        ("Rows", evaluation.rows),
        ("n", _counts(scores)),
        ("Floor", _methods(scores, "floor")),
        ("Interval", _methods(scores, "interval")),
        ("Extractor", ", ".join(named) or "none"),
        ("Resized", "; ".join(resize_rules(scores)) or "none"),
        ("Seed", str(evaluation.seed)),
    ]
    return pairs + [("Skipped", f"{metric}: {why}") for metric, why in evaluation.skipped.items()]


def _counts(scores: Sequence[Score]) -> str:
    """Return images by role; and of a role that few metrics read, or few do not, which."""
    from ganaug.reading import count_text

    texts, metrics = [], list(dict.fromkeys(score.metric for score in scores))
    for role in ("holdout", "synthetic", "train"):
        readers = {score.metric: score.n[role] for score in scores if role in score.n}
        if not readers:
            continue
        count = count_text({role: max(readers.values())})
        others = [metric for metric in metrics if metric not in readers]
        if not others:
            texts.append(count)
        elif len(others) < len(readers):
            texts.append(f"{count} (not for {', '.join(others)})")
        else:
            texts.append(f"{count} (for {', '.join(readers)})")
    return ", ".join(texts)


def _methods(scores: Sequence[Score], kind: Literal["floor", "interval"]) -> str:
    """Return how floors or intervals were found, or why there are none; the rarer by metric."""
    from ganaug.reading import is_primary

    found = [
        (score, (score.floor_method if kind == "floor" else score.interval_method) or "none")
        for score in filter(is_primary, scores)
    ]
    by_metric: dict[str, set[str]] = {}
    for score, method in found:
        by_metric.setdefault(score.metric, set()).add(method)
    by_method: dict[str, list[str]] = {}
    for score, method in found:
        name = score.metric if len(by_metric[score.metric]) == 1 else score.name
        names = by_method.setdefault(method, [])
        names += [name] if name not in names else []
    ranked = sorted(by_method.items(), key=lambda item: -len(item[1]))
    rare = [f"{', '.join(names)}: {method}" for method, names in ranked[1:]]
    most = [f"{'others: ' if rare else ''}{method}" for method, _ in ranked[:1]]
    return "; ".join(rare + most)
