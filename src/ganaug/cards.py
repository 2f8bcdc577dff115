"""The model card of a run, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from ganaug.reading import count_text, read_scores, resize_rules, score_rows

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.run_config import RunConfig
    from ganaug.scoring import Score

__all__ = ["render_card", "render_scores", "with_scores"]

_KEPT = """## What is kept of real images

No pixels. `splits.csv` has ids, classes and groups of all rows; `references.safetensors` hashes of
their pixels and looks, and 64 numbers a training image in each of three spaces, unless the filter
was off. `ganaug evaluate` adds what an extractor learned from training images (`extractors/`) and
features of images under hashes of their pixels (`features/`); it makes them again where they were
removed, as they may be before a run is handed on. Filters that learned from training images keep
their weights in `filters/`.
"""

_NO_SCORES = """## Scores

None yet. `ganaug evaluate RUN --data DATA` writes them here.
"""

#: From its heading to the next one, or to the end.
_SCORES = re.compile(r"^## Scores\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_LAST = re.compile(r"^## Not for$", re.MULTILINE)


def render_card(
    config: RunConfig,
    model: ImageModel,
    *,
    rows: Mapping[str, int] = MappingProxyType({}),
    images_seen: Mapping[str, int] = MappingProxyType({}),
    growth: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return what was fitted, on what, how it is checked, and what it is not for.

    rows: how many there are of each split. images_seen: in training, repeats counted, by part.
    growth: how far a generator that grows had come, by part; see `growth_text`.
    """
    recipe = config.recipe
    facts = [
        f"- images seen, repeats counted ({part}): {n:,}" for part, n in images_seen.items() if n
    ]
    if recipe.eval_every is not None:
        facts.append(
            f"- scored on validation rows every {recipe.eval_every:,} images: "
            f"{', '.join(recipe.metrics)} on {recipe.extractor}"
        )
    facts += _render_choices(model)
    facts += [f"- {part}: {text}" for part, text in growth.items() if text]
    split = ", ".join(f"{n:,} {name}" for name, n in rows.items())
    counts = "\n".join(
        f"| {name} | {n} | {'yes' if name in config.class_names else 'no'} |"
        for name, n in config.counts.items()
    )
    settings = "\n".join(f"- {name}: {value}" for name, value in recipe.settings.items())
    return f"""# Synthetic images of {", ".join(config.class_names)}

Made with ganaug {config.versions["ganaug"]} (torch {config.versions["torch"]}) by generator
`{recipe.generator}` of {config.provider}.

## Training images

Source: `{config.source}`; fingerprint `{config.fingerprint[:16]}`.

| class | training images | generated |
|---|---|---|
{counts}

{f"Rows of all classes: {split}." if split else ""}

Trained at {config.width}x{config.height} pixels, {config.channels} channel(s); handed out at
{config.output.width}x{config.output.height}, {config.output.dtype}.

## Training

- conditioning: {recipe.conditioning}
- random state: {recipe.random_state}
- weights handed out: {recipe.select}
{chr(10).join([*facts, settings])}

## Copies of training images

{_render_copies(model)}
{_render_filters(model)}{_KEPT}
{_NO_SCORES}
## Not for

Diagnosis, or any use in which an image must show a real person. Whether these images help a
classifier is to be measured on held-out real images, beside weighted sampling and classical
augmentation; often they do not.
"""


def _render_choices(model: ImageModel) -> list[str]:
    """Return a line a training: which weights it gave, and why it ended."""
    return [f"- {each.part}: {each}; it ended since {each.stopped}" for each in model.choices]


def _render_copies(model: ImageModel) -> str:
    """Return what the audit found, in a table and in words, and what it does not prove."""
    found = model.memorisation
    if model.copies is None or found is None:
        return (
            "Nothing was checked: this run was fitted with the filter off, so that its images may "
            "be copies of\ntraining images.\n"
        )
    rates = {**found.drawn, "held-out real images": found.holdout}
    rates["training images, judged as if they were new"] = found.crossfit
    rows = "\n".join(f"| {name} | {rate.images} | {rate.flagged} |" for name, rate in rates.items())
    limit = found.level / len(found.p_values)
    dropped = sum(tally.dropped["copies"] for tally in model.tallies.values())
    p_values = ", ".join(f"{name} {p:.2g}" for name, p in found.p_values.items())
    return f"""{_VERDICT[found.flagged].format(classes=", ".join(found.significant))}

| images | judged | near copies |
|---|---|---|
{rows}

Draws were counted before any was dropped. One-sided exact tests against real images, level
{found.level:g} in all, so {limit:.2g} each: p = {p_values}.

An image is a near copy when it is much nearer to one training image than to any that does not
belong with that (other patient or group, no near duplicate): in pixels, whatever brightness and
contrast, mirrored or shifted by up to 2 pixels, or in one of the spaces of features. Near copies
are dropped before images are handed out; {dropped} so far.

This does not prove that no image shows a person of the training set: copies that are turned,
scaled or redrawn, or that show only a part, can be missed.
"""


def _render_filters(model: ImageModel) -> str:
    """Return what else images pass before they are handed out; nothing where that is nothing."""
    others = [each for each in model.filters if each.name != "copies"]
    if not others:
        return ""
    lines = "\n".join(f"- {each.name}: {each.summary}" for each in others)
    return (
        f"## Filters\n\n{lines}\n\nWhat is dropped is counted by class and reason, in "
        "`filters.json` beside exported images. Filters\nchange what is handed out, and not what "
        "the generator has learned: images that pass may be less\nvarious than its draws.\n\n"
    )


_VERDICT = {
    True: "**Memorised**: near copies of training images are significantly more frequent among the "
    "generator's\ndraws than among real images that it has not seen ({classes}). `ganaug augment` "
    "refuses this run.\nTrain on more images, or for less long.",
    False: "No memorisation was found: near copies are not significantly more frequent among the "
    "generator's draws\nthan among real images that it has not seen.",
}


def with_scores(card: str, scores: str) -> str:
    """Return a card with this section of scores in place of the one it has, or before the last."""
    if _SCORES.search(card):
        return _SCORES.sub(lambda _: f"{scores}\n", card, count=1)
    if _LAST.search(card):
        return _LAST.sub(lambda found: f"{scores}\n{found.group()}", card, count=1)
    return f"{card.rstrip()}\n\n{scores}"


def render_scores(
    scores: Sequence[Score], *, skipped: Mapping[str, str], notes: Sequence[str], seed: int
) -> str:
    """Return the section of a card on scores: each with interval, floor and numbers of images.

    skipped: metrics that could not be computed, and why. notes: what else a reader must know.
    seed: what the synthetic images were drawn with.
    """
    lines = [
        "| score | value | 95 % interval | floor | better | images |",
        "|---|---|---|---|---|---|",
    ]
    for row in score_rows(scores):
        name = row.name if row.name == row.metric else f"{row.metric}: {row.name}"
        cells = (name, row.value, row.interval, row.floor, row.better, count_text(row.n))
        lines.append(f"| {' | '.join(cells)} |")
    said = [*read_scores(scores), *notes]
    said += [f"Not computed: {metric}. {reason}" for metric, reason in skipped.items()]
    return "\n".join(
        [
            "## Scores",
            "",
            f"{_circumstances(scores)}; synthetic images drawn with seed {seed}.",
            "",
            *lines,
            "",
            "Floor: the same score of real training images in place of the synthetic ones.",
            "",
            *(f"- {sentence}" for sentence in said),
            "",
        ]
    )


def _circumstances(scores: Sequence[Score]) -> str:
    """Say against which rows, in which feature space and at which size images were scored."""
    spaces = {(score.extractor, score.extractor_hash) for score in scores if score.extractor}
    named = [f"`{name}` ({(hash_ or '')[:16]})" for name, hash_ in sorted(spaces)]
    facts = [f"Against the {' and '.join(sorted({score.rows for score in scores}))}"]
    facts += [f"features of {' and '.join(named)}"] if named else []
    rules = resize_rules(scores)
    facts += [f"resized {', '.join(rules)}"] if rules else []
    return "; ".join(facts)
