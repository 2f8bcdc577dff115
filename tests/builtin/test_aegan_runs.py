"""The autoencoder of another run, and what is said of parameters."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_images

from ganaug import LabelledImages, Registry, Training, train
from ganaug.builtin.aegan.config import AEGANConfig
from ganaug.builtin.aegan.network import AEGAN
from ganaug.builtin.aegan.report import format_params, params_report
from ganaug.checkpoints import read_tensors, write_tensors
from ganaug.errors import ConfigError, DataError, RunError, ShapeError
from ganaug.integrity import seal
from ganaug.parts import Part
from ganaug.recipes import Recipe
from ganaug.run_config import describe_run
from ganaug.runs import Run
from ganaug.spec import ImageSpec

SMALL: dict[str, Any] = {"width": 4, "code_dim": 8, "hidden": 8, "autoencoder_batch_size": 4}


def data(side: int = 16, seed: int = 0) -> LabelledImages:
    images = make_images(24, channels=3, size=side, classes=2)
    pixels = np.asarray(images.pixels).copy()
    pixels[0, 0, 0, 0] = seed
    return LabelledImages(
        pixels=pixels,
        labels=images.labels,
        class_names=images.class_names,
        value_range=images.value_range,
    )


def make(images: LabelledImages, **fields: Any) -> AEGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AEGAN(AEGANConfig.from_fields({**SMALL, **fields}), images.spec)


def start(images: LabelledImages, **fields: Any) -> Training:
    generator = make(images, batch_size=4, **fields)
    return train(
        generator, images, total_images=10_000, random_state=0, device="cpu", precision="32-true"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two autoencoder steps, as the command line would leave it."""
    images = data()
    training = start(images, autoencoder_images=100)
    for _ in range(2):
        next(training)
    recipe = Recipe(generator="aegan", settings={**SMALL, "autoencoder_images": 100})
    part = Part(index=None, name="all", images=images, generator=training.ema)
    registry = Registry(["ganaug.builtin.aegan.plugin"])
    config = describe_run(images, [part], recipe, registry, source="python")
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", config)
    run.write_generator(None, training.ema)
    return run.path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_the_autoencoder_of_a_run_is_taken_as_it_is_and_the_gan_begins_at_once(run: Path) -> None:
    training = start(data(), autoencoder_run=str(run))
    losses = next(training).losses
    assert {name.split("/")[0] for name in losses} == {"discriminator", "generator"}
    weights = read_tensors(run / "generator.safetensors")[0]
    for name, tensor in training.generator.network.autoencoder.state_dict().items():
        assert torch.equal(tensor, weights[f"autoencoder.{name}"])
    averaged = training.ema.network.autoencoder.decoder.body[0].weight
    assert torch.equal(averaged, weights["autoencoder.decoder.body.0.weight"])


def test_a_run_goes_on_and_is_drawn_from_when_its_autoencoders_run_is_gone(
    run: Path, tmp_path: Path
) -> None:
    training = start(data(), autoencoder_run=str(run))
    for _ in range(2):
        next(training)
    state, weights = training.state_dict(), training.ema.network.state_dict()
    expected = [next(training).losses for _ in range(2)]
    run.rename(tmp_path / "elsewhere")
    resumed = start(data(), autoencoder_run=str(run))
    resumed.load_state_dict(state)
    assert [next(resumed).losses for _ in range(2)] == expected
    rebuilt = make(data(), autoencoder_run=str(run)).eval()
    rebuilt.network.load_state_dict(weights)
    images = rebuilt.sample(torch.tensor([0, 1]), rng=torch.Generator().manual_seed(0))
    assert images.std() > 0


def test_a_run_of_another_shape_is_refused(run: Path) -> None:
    with pytest.raises(ShapeError, match=r"is for images of 3x16x16.*these are 3x32x32"):
        next(start(data(side=32), autoencoder_run=str(run)))


def test_a_run_on_other_images_is_refused(run: Path) -> None:
    with pytest.raises(DataError, match="was trained on other images.*exactly these"):
        next(start(data(seed=255), autoencoder_run=str(run)))


@pytest.mark.parametrize("fields", [{"code_dim": 9}, {"width": 5}, {"autoencoder": "vae"}])
def test_a_run_of_other_layers_is_refused(run: Path, fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(ConfigError, match=f"has {name}=.*expected {fields[name]}. Set {name}="):
        next(start(data(), autoencoder_run=str(run), **fields))


def test_a_run_whose_decoder_was_trained_on_is_refused(run: Path) -> None:
    path = run / "generator.safetensors"
    weights, header = read_tensors(path)
    header["settings"] = {**header["settings"], "mode": "decoder_init"}
    write_tensors(path, weights, header)
    with pytest.raises(ConfigError, match="has mode=decoder_init.*Expected a run of mode=latent"):
        next(start(data(), autoencoder_run=str(run)))


def test_weights_that_are_not_those_of_the_manifest_are_refused(run: Path) -> None:
    seal(run)
    path = run / "generator.safetensors"
    weights, header = read_tensors(path)
    name = next(name for name in weights if name.startswith("autoencoder."))
    write_tensors(path, {**weights, name: weights[name] + 1}, header)
    with pytest.raises(RunError, match=r"generator\.safetensors is damaged: it is not the file"):
        next(start(data(), autoencoder_run=str(run)))


def test_a_run_of_another_generator_is_refused(run: Path) -> None:
    path = run / "generator.safetensors"
    weights, header = read_tensors(path)
    write_tensors(path, weights, {**header, "generator": "dcgan"})
    with pytest.raises(ConfigError, match="is a run of generator 'dcgan'; expected"):
        next(start(data(), autoencoder_run=str(run)))


def test_a_run_that_is_not_there_not_finished_or_damaged_is_refused(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="nowhere.*is missing. Expected the directory of a finished"):
        next(start(data(), autoencoder_run=str(tmp_path / "nowhere")))
    (run / "run.toml").unlink()
    with pytest.raises(RunError, match="run.toml cannot be read"):
        next(start(data(), autoencoder_run=str(run)))
    (run / "generator.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(RunError, match="generator.safetensors is damaged"):
        next(start(data(), autoencoder_run=str(run)))


def test_the_gan_with_autoencoder_has_a_small_part_of_a_plain_gans_parameters() -> None:
    for side in (32, 64, 128):
        image = ImageSpec(channels=3, height=side, width=side, class_names=tuple("abcdefg"))
        autoencoder, plain, small = params_report(AEGANConfig(), image)
        assert small.parameters <= 0.05 * plain.parameters
        assert autoencoder.parameters > small.parameters
        assert params_report(AEGANConfig(), image, plain_gan=7)[1].parameters == 7


def test_the_table_prints_reported_counts_and_that_they_identify_nothing() -> None:
    image = ImageSpec(channels=3, height=64, width=64, class_names=("a", "b"))
    text = format_params(params_report(AEGANConfig(), image))
    for known in ("855,994,368", "607,285,633", "15,683,546", "27", "156", "3.33"):
        assert known in text
    assert "do not\nidentify an architecture" in text
