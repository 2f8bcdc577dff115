"""What ``ganaug fit`` says before and after it trains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ganaug.cli.console import command, facts, make_table, output, stderr
from ganaug.cli.progress import duration
from ganaug.parts import total_images

if TYPE_CHECKING:
    from rich.table import Table

    from ganaug.cli.session import Session
    from ganaug.runs import Run
    from ganaug.spec import LabelledImages

__all__ = ["print_header", "print_interruption", "print_result"]

_CLASSES_LISTED = 20


def print_header(session: Session, images: LabelledImages, splits: Sequence[str]) -> None:
    """Say what is about to be trained, on what, with what."""
    console, config, recipe = output(), session.run.config, session.recipe
    training, classes = session.states[0].training, len(images.class_names)
    of_classes = f"{classes} class{'es'[: 2 * (classes > 1)]}"
    console.print(
        facts(
            [
                ("Images", f"{config.source}: {len(images):,} in {of_classes}"),
                ("Generator", _generator_text(session)),
                ("Trained at", f"{config.width}x{config.height}, {config.channels} channel(s)"),
                ("Device", f"{training.device}, {training.precision}"),
                ("Budget", _budget_text(session)),
                *_batch_facts(session),
                *_stage_facts(session),
                *_scores_facts(session, images, splits),
                ("Run", f"{session.run.path}, seed {recipe.random_state}"),
            ]
        )
    )
    seen = images.class_names if session.states[0].part.role == "pretraining" else ()
    console.print(_rows_table(images, splits, config.class_names, seen))


def print_result(session: Session) -> None:
    """Say what was made and what to do with it."""
    path, config = session.run.path, session.run.config
    seconds = sum(state.training.seconds for state in session.states)
    names = config.class_names
    classes = f"{len(names)} classes" if len(names) > 1 else f"class {names[0]}"
    judge = command("ganaug", "evaluate", path, "--data", config.source)
    sample = command("ganaug", "sample", path, "--out", f"{path}-samples", "-n", 64)
    augment = command(
        *("ganaug", "augment", config.source, "--run", path, "--out", f"{path}-balanced"),
        *_strategy_words(config.counts),
    )
    following = [judge, sample, augment] if len(session.holdout) else [sample, augment]
    output().print(
        f"\nDone: {path} draws {classes} after {duration(seconds)} of training "
        f"({session.reasons()}).{_cost_text(session)}\n"
        f"{_choices_text(session)}{_growth_text(session)}"
        f"Look at {path / 'samples' / 'grid.png'}. Next:\n"
        + "\n".join(f"  {words}" for words in following),
        soft_wrap=True,
    )


def print_interruption(run: Run, what: str) -> None:
    """Say on stderr what happened, and how to go on."""
    resume = command("ganaug", "fit", run.config.source, "--out", run.path, "--resume")
    stderr().print(f"{what} {run.path}. Go on with:\n  {resume}", soft_wrap=True)


def _choices_text(session: Session) -> str:
    """Return a line a part on which of its weights were kept, unless all are the last, unscored."""
    if not any(each.scores or each.weights != "last" for each in session.choices):
        return ""
    several = len(session.choices) > 1
    return "".join(
        f"Weights{f' of {each.part}' if several else ''}: {each}\n" for each in session.choices
    )


def _growth_text(session: Session) -> str:
    """Return a line a part that a generator which grows has not grown to the end."""
    found = session.run.growth(session.choices)
    several = len(found) > 1
    return "".join(
        f"Not grown to the end{f' ({part})' if several else ''}: {text}. Go on with --resume and "
        "more --images or --minutes.\n"
        for part, text in found.items()
        if text
    )


def _strategy_words(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return the option with which a class that is alone can be grown: to twice its images."""
    present = {name: count for name, count in counts.items() if count}
    if len(present) > 1:
        return ()
    twice = {name: 2 * count for name, count in present.items()}
    return "--sampling-strategy", json.dumps(twice, ensure_ascii=False)


def _generator_text(session: Session) -> str:
    generator, classes = session.states[0].part.generator, len(session.run.indices)
    network = sum(p.numel() for p in generator.network.parameters())
    everything = sum(p.numel() for p in generator.parameters())
    each = f", one for each of {classes} classes" if classes > 1 else ""
    return f"{session.recipe.generator}: {network:,} parameters, {everything:,} in training{each}"


def _budget_text(session: Session) -> str:
    recipe, parts = session.recipe, [state.part for state in session.states]
    first, last = total_images(recipe, parts[0]), total_images(recipe, parts[-1])
    texts = [f"{first:,} images"] if first else []
    if recipe.minutes:
        texts.append(f"{recipe.minutes:g} minute{'s' * (recipe.minutes != 1)}")
    each = ""
    if parts[0].role == "pretraining":
        each = f", then {last:,} for each class" if last else ""
    elif len(parts) > 1 and first:
        each = " for each class"
    return " or ".join(texts) + each + "".join(f", or {policy}" for policy in recipe.stop)


def _batch_facts(session: Session) -> list[tuple[str, str]]:
    """Return which trainings have fewer images than a batch; nothing where none has."""
    few = []
    for part in (state.part for state in session.states):
        batch = part.generator.batch_size(0) or session.recipe.batch_size
        if len(part.images) < batch:
            few.append(f"{part.name} has {len(part.images):,}, fewer than a batch of {batch:,}")
    return [("Few images", "; ".join(few))] if few else []


def _stage_facts(session: Session) -> list[tuple[str, str]]:
    """Return when the last stage of a generator begins; nothing where there is one only."""
    part = session.states[0].part
    begins = part.generator.last_stage_at(len(part.images))
    total = total_images(session.recipe, part)
    if not begins:
        return []
    text = f"the last one begins after {begins:,} images"
    if total is not None and total <= begins:
        text += ", which is not before the end: give it more --images"
    return [("Stages", text)]


def _scores_facts(
    session: Session, images: LabelledImages, splits: Sequence[str]
) -> list[tuple[str, str]]:
    """Return what is scored during training, and on what; nothing when nothing is."""
    recipe = session.recipe
    if recipe.eval_every is None:
        return []
    validating = images.subset([row for row, name in enumerate(splits) if name == "validation"])
    rows = sum(validating.counts[name] for name in session.run.config.class_names)
    text = (
        f"{', '.join(recipe.metrics)} of {recipe.extractor} features every "
        f"{recipe.eval_every:,} images, on the {rows:,} validation rows"
    )
    return [("Scores", text)]


def _cost_text(session: Session) -> str:
    """Return what evaluations took, where there were any."""
    scored = [state.validation for state in session.states if state.validation is not None]
    evaluations = sum(each.evaluations for each in scored)
    if not evaluations:
        return ""
    seconds = sum(each.seconds for each in scored)
    trained = sum(state.training.seconds - state.seconds for state in session.states)
    plural = "s" * (evaluations > 1)
    return (
        f"\n{evaluations:,} evaluation{plural} on validation rows took {seconds:.1f} s, "
        f"{seconds / trained:.1%} of the {trained:.1f} s of training."
    )


def _rows_table(
    images: LabelledImages, splits: Sequence[str], trained: Sequence[str], pretrained: Sequence[str]
) -> Table:
    """Return a table of rows by class and split."""
    names = [name for name in ("training", "validation", "holdout") if name in splits]
    table = make_table("class", "images", *names, "trained", right=["images", *names])
    counts = {
        name: images.subset([row for row, split in enumerate(splits) if split == name]).counts
        for name in names
    }
    listed = list(images.counts.items())
    for class_, total in listed[:_CLASSES_LISTED]:
        cells = (f"{counts[name][class_]:,}" for name in names)
        use = "yes" if class_ in trained else "before" if class_ in pretrained else ""
        table.add_row(class_, f"{total:,}", *cells, use)
    if len(listed) > _CLASSES_LISTED:
        table.add_row(f"and {len(listed) - _CLASSES_LISTED} more")
    return table
