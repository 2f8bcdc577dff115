"""The autoencoder of an earlier run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.errors import ConfigError, DataError, RunError, ShapeError
from ganaug.integrity import check_intact, read_manifest
from ganaug.spec import ImageSpec, LabelledImages

__all__ = ["read_autoencoder"]

_SAME = ("autoencoder", "code_dim", "width")  # fields that the autoencoder's layers follow from
_PREFIX = "autoencoder."


def read_autoencoder(
    run: Path, config: AEGANConfig, spec: ImageSpec, images: LabelledImages
) -> dict[str, Tensor]:
    """Return the averaged weights of a run's autoencoder, by their names in it.

    images: the training images, loaded; the run must have been trained on exactly these, because
    rows that are held out now could be among any others.

    Raises RunError when the run is missing, unfinished or damaged, ShapeError when its images
    have another shape, DataError when they are others, and ConfigError when it is no run of this
    generator, or of other settings, or one that trained its decoder on without the encoder.
    """
    path = run / "generator.safetensors"
    if path.exists():
        check_intact(run, path, read_manifest(run))
    header, weights = _read(path)
    if header.get("generator") != "aegan":
        raise ConfigError(
            f"autoencoder_run: {run} is a run of generator {header.get('generator')!r}; expected "
            "one of 'aegan', which has an autoencoder."
        )
    _check_shape(run, header["spec"], spec)
    _check_settings(run, header["settings"], config)
    _check_data(run, header["spec"], images)
    return {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in weights.items()
        if name.startswith(_PREFIX)
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads(stream.metadata()["ganaug"])
            names = list(stream.keys())  # no mapping: it has no iterator
            return header, {name: stream.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise RunError(
            f"autoencoder_run: {path} is missing. Expected the directory of a finished run of "
            "generator aegan that has one generator for all classes."
        ) from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"autoencoder_run: {path} is damaged ({error}). Restore it from a copy, or fit the "
            "run again."
        ) from error


def _check_shape(run: Path, found: dict[str, Any], spec: ImageSpec) -> None:
    theirs = tuple(found[name] for name in ("channels", "height", "width"))
    if theirs != spec.shape:
        shown, wanted = ("x".join(map(str, shape)) for shape in (theirs, spec.shape))
        raise ShapeError(
            f"autoencoder_run: the autoencoder of {run} is for images of {shown} (channels x "
            f"height x width); these are {wanted}. Train at its size, or train another one."
        )


def _check_settings(run: Path, settings: dict[str, Any], config: AEGANConfig) -> None:
    theirs, ours = AEGANConfig.from_fields(settings).to_fields(), config.to_fields()
    if theirs["mode"] == "decoder_init":
        raise ConfigError(
            f"autoencoder_run: {run} has mode=decoder_init, which trains the decoder on as a "
            "generator, so that it no longer decodes what the encoder says. Expected a run of "
            "mode=latent."
        )
    for name in _SAME:
        if theirs[name] != ours[name]:
            raise ConfigError(
                f"autoencoder_run: the autoencoder of {run} has {name}={theirs[name]}; expected "
                f"{ours[name]}. Set {name}={theirs[name]}."
            )


def _check_data(run: Path, found: dict[str, Any], images: LabelledImages) -> None:
    try:
        recorded = tomllib.loads((run / "run.toml").read_text("utf-8"))["fingerprint"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise RunError(f"autoencoder_run: {run / 'run.toml'} cannot be read: {error}.") from error
    # As a run with one generator records its training images.
    if recorded != hashlib.sha256(images.fingerprint().encode()).hexdigest():
        classes = ", ".join(found["class_names"])
        raise DataError(
            f"autoencoder_run: {run} was trained on other images (of the classes {classes}), "
            "which may hold rows that are held out here. Expected exactly these training images: "
            "the same source, classes, split and size. Fit it again on them, or leave it out."
        )
