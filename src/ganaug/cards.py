"""The model card of a run, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganaug.model import ImageModel
    from ganaug.runs import RunConfig

__all__ = ["render_card"]


def render_card(config: RunConfig, model: ImageModel) -> str:
    """Return what was fitted, on what, how it is checked, and what it is not for."""
    recipe = config.recipe
    counts = "\n".join(
        f"| {name} | {n} | {'yes' if name in config.class_names else 'no'} |"
        for name, n in config.counts.items()
    )
    settings = "\n".join(f"- {name}: {value}" for name, value in recipe.settings.items())
    guard = "no synthetic image was compared with the training images (filter off)"
    if model.copies is not None:
        dropped = sum(model.dropped.values())
        guard = (
            "images whose perceptual hashes (pHash and dHash, mirrored too) are near those of a "
            f"training image are refused when they are drawn; {dropped} so far"
        )
    return f"""# Synthetic images of {", ".join(config.class_names)}

Made with ganaug {config.versions["ganaug"]} (torch {config.versions["torch"]}) by generator
`{recipe.generator}` of {config.provider}.

## Training images

Source: `{config.source}`; fingerprint `{config.fingerprint[:16]}`.

| class | training images | generated |
|---|---|---|
{counts}

Trained at {config.width}x{config.height} pixels, {config.channels} channel(s); handed out at
{config.output.width}x{config.output.height}, {config.output.dtype}.

## Training

- conditioning: {recipe.conditioning}
- random state: {recipe.random_state}
- weights handed out: {recipe.select}
{settings}

## Copies of training images

In this run {guard}. This finds exact and near duplicates; it does not prove that no image
resembles a person in the training set.

## Not for

Diagnosis, or any use in which an image must show a real person. Whether these images help a
classifier is to be measured on held-out real images, beside weighted sampling and classical
augmentation; often they do not.
"""
