"""What a user can get wrong: exit code 2, one line, nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.scenes import TINY, tree, write_images
from ganaug.runs import Run


@pytest.fixture
def refused(ganaug, tmp_path):
    """Run a command that must be refused; return what it says."""

    def run(*arguments, mentions=()):
        before = tree(tmp_path)
        result = ganaug(*arguments)
        assert result.code == 2
        assert result.err.startswith("Error: ")
        assert result.err.count("\n") == 1
        assert result.out == ""
        for text in [mentions] if isinstance(mentions, str) else mentions:
            assert text in result.err
        assert tree(tmp_path) == before
        return result.err

    return run


@pytest.fixture
def fit_refused(refused):
    def run(data, *options, mentions=()):
        return refused("fit", data, "--out", "new/run", *TINY, *options, mentions=mentions)

    return run


def save_npz(name="set.npz", *, labels=(0, 0, 0, 1, 1, 1), **arrays):
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16), dtype=np.uint8)
    np.savez(name, **{"images": images, "labels": np.array(labels), **arrays})
    return name


# --- generators ------------------------------------------------------------------------------

AEGAN = (
    *("--generator", "aegan", "--precision", "32-true", "--images", "16"),
    *("--set", "width=4", "--set", "code_dim=8", "--set", "hidden=8"),
    *("--set", "autoencoder_batch_size=4", "--set", "batch_size=4"),
)


@pytest.fixture
def autoencoder(ganaug, photos):
    """A run that has an autoencoder of the training rows of photos."""
    trained = ("--set", "autoencoder_images=8")
    assert ganaug("fit", photos, "--out", "old", *AEGAN, *trained).code == 0
    return Path("old")


@pytest.mark.parametrize(
    ("run", "options", "mentions"),
    [
        ("nowhere", (), "nowhere/generator.safetensors is missing. Expected the directory of a"),
        ("old", ("--size", 32), "is for images of 1x16x16 (channels x height x width); these are"),
        ("old", ("--seed", 5), "old was trained on other images (of the classes common, rare)"),
        ("old", ("--conditioning", "per-class"), "old was trained on other images"),
        ("old", ("--conditioning", "pretrain-finetune"), "old was trained on other images"),
        ("old", ("--set", "code_dim=9"), "has code_dim=8; expected 9. Set code_dim=8"),
    ],
)
def test_an_autoencoder_that_does_not_fit(photos, autoencoder, refused, run, options, mentions):
    settings = AEGAN if "code_dim=9" not in options else (*AEGAN[:8], *AEGAN[10:])
    taken = (*settings, "--set", f"autoencoder_run={run}", *options)
    refused("fit", photos, "--out", "new", *taken, mentions=["autoencoder_run: ", mentions])


def test_an_autoencoder_that_is_not_finished(photos, autoencoder, refused, ganaug):
    taken = (*AEGAN, "--set", f"autoencoder_run={autoencoder}")
    assert ganaug("fit", photos, "--out", "good", *taken).code == 0
    (autoencoder / "generator.safetensors").unlink()
    refused("fit", photos, "--out", "new", *taken, mentions="Expected the directory of a finished")
    again = ganaug("fit", photos, "--out", "good", "--resume", "--images", 32)
    assert again.code == 0  # it has the autoencoder itself


def test_a_size_that_a_generator_cannot_grow_to(photos, refused):
    refused(
        *("fit", photos, "--out", "new", "--generator", "pggan", "--size", 20),
        mentions=["4 or 7 pixels a side, doubled", "got 20x20. Resize with size=16 or size=28"],
    )


def test_a_batch_size_for_a_generator_that_has_a_schedule_of_them(photos, refused):
    for size in (32, 64):
        refused(
            *("fit", photos, "--out", "new", "--generator", "pggan", "--size", 16),
            *("--batch-size", size),
            mentions=["'pggan' chooses its batch size itself, 16 at first", "plugins show pggan"],
        )


# --- images --------------------------------------------------------------------------------


def test_a_missing_path(photos, fit_refused, refused):
    fit_refused("nowhere", mentions="nothing at nowhere")
    refused("data", "inspect", "nowhere", mentions="nothing at nowhere")


def test_an_empty_folder(photos, fit_refused, refused):
    Path("empty").mkdir()
    fit_refused("empty", mentions="no images")
    refused("data", "inspect", "empty", mentions="no images")


def test_a_class_with_no_images(photos, fit_refused):
    (photos / "absent").mkdir()
    fit_refused(photos, mentions="absent")


def test_a_class_with_no_images_in_an_archive(photos, fit_refused):
    data = save_npz(class_names=np.array(["a", "b", "absent"]))
    fit_refused(data, mentions=["'absent' has 0 training images", "leave the class out"])


def test_a_class_of_one_image(photos, fit_refused):
    write_images(photos / "single", 1)
    fit_refused(photos, mentions=["'single' has 1 training image;", "at least 2"])


def test_balancing_a_set_of_one_class(ganaug, photos, refused):
    write_images(Path("loose"), 6)
    assert ganaug("fit", "loose", "--out", "run", *TINY).code == 0
    refused("augment", "loose", "--run", "run", "--out", "new", mentions="two classes or more")


@pytest.mark.parametrize(
    ("content", "mentions"),
    [
        (b"", "is empty (0 bytes)"),
        (b"these are words", "is not an image"),
        (None, "damaged or truncated"),
    ],
    ids=["zero bytes", "a text file", "truncated"],
)
def test_a_file_that_is_no_image(photos, fit_refused, refused, content, mentions):
    path = photos / "common" / "3.png"
    path.write_bytes(path.read_bytes()[:150] if content is None else content)
    fit_refused(photos, mentions=[mentions, "common/3.png"])
    refused("data", "inspect", photos, mentions=[mentions, "common/3.png"])


def test_mixed_sizes_without_a_size(photos, fit_refused):
    Image.new("L", (20, 24)).save(photos / "common" / "0.png")
    fit_refused(photos, mentions=["24x20 (1)", "--size"])


def test_mixed_modes(photos, fit_refused):
    Image.new("RGB", (16, 16)).save(photos / "common" / "0.png")
    fit_refused(photos, mentions=["mixed modes", "1 channel", "3 channels"])


def test_an_enormous_image_is_refused_before_it_is_decoded(photos, fit_refused):
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    (photos / "common" / "0.png").write_bytes(content + chunk(b"IEND", b""))
    fit_refused(photos, mentions="too large")


def test_a_float_image_out_of_range(photos, fit_refused):
    images = np.full((6, 16, 16), 0.5, dtype=np.float32)
    images[2, 0, 0] = 1.5
    fit_refused(save_npz(images=images), mentions=["Image 2", "0.5 to 1.5", "0 to 1"])


def test_a_pixel_that_is_no_number(photos, fit_refused):
    images = np.full((6, 16, 16), 0.5, dtype=np.float32)
    images[4, 3, 3] = np.nan
    fit_refused(save_npz(images=images), mentions=["Image 4", "NaN"])


def test_a_label_that_is_no_integer(photos, fit_refused):
    fit_refused(save_npz(labels=[0, 0, 0, 1, 1, 0.5]), mentions="labels must be integers")


def test_a_label_out_of_range(photos, fit_refused):
    data = save_npz(labels=[0, 0, 0, 1, 1, 2], class_names=np.array(["a", "b"]))
    fit_refused(data, mentions=["label 2 is out of range", "Row 5"])


def test_a_set_of_one_group(photos, fit_refused):
    data = save_npz(group=np.array(["woman 1"] * 6))
    fit_refused(data, mentions="--holdout 0")


# --- options -------------------------------------------------------------------------------


def test_an_unknown_generator(photos, fit_refused):
    fit_refused(photos, "--generator", "dcgam", mentions=["'dcgam'", "'dcgan'"])


def test_an_unknown_dataset_plugin(photos, fit_refused):
    fit_refused(f"foldr:{photos}", mentions=["'foldr'", "'folder'"])


def test_an_unknown_stopping_policy(photos, fit_refused):
    fit_refused(photos, "--stop", "divergance", mentions=["'divergance'", "'divergence'"])


def test_an_unknown_plugin_to_show(photos, refused):
    refused("plugins", "show", "dcgam", mentions=["'dcgam'", "'dcgan'"])


@pytest.mark.parametrize(
    ("option", "mentions"),
    [
        (("--set", "widht=8"), ["'widht'", "'width'"]),
        (("--set", "latent_dim=many"), ["latent_dim", "'many'"]),
        (("--set", "loss=kl"), ["loss", "'hinge'", "'kl'"]),
        (("--set", "width"), ["FIELD=VALUE", "'width'"]),
        (("--stop", "max-images:image=9"), ["'image'", "'images'"]),
        (("--stop", "max-images:images=few"), ["images", "'few'"]),
        (("--stop", "plateau and"), ["'plateau and'", "before and after"]),
        (("--stop", "loop-breaker:end_batch=9"), ["end_batch", "max_epochs"]),
        (("--size", "wide"), ["--size", "integer"]),
        (("--size", "20"), ["DCGAN", "20"]),
        (("--minutes", "0"), ["minutes", "greater than 0"]),
        (("--holdout", "1.5"), ["holdout", "1.5"]),
        (("--class", "rear"), ["'rear'", "'rare'"]),
        (("--device", "abacus"), ["'abacus'"]),
        (("--select", "best"), ["best", "--eval-every N"]),
        (("--split", "nowhere.csv"), ["nowhere.csv"]),
        (("--sise", "16"), ["--sise", "--size"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option(photos, fit_refused, option, mentions):
    fit_refused(photos, *option, mentions=mentions)


def test_a_missing_option(photos, refused):
    refused("fit", photos, mentions=["--out", "ganaug fit --help"])
    refused("nonsense", mentions=["nonsense", "ganaug --help"])


# --- outputs and runs ----------------------------------------------------------------------


def test_an_existing_output(photos, fitted, refused):
    Path("there").mkdir()
    Path("there/file").touch()
    refused("fit", photos, "--out", "there", *TINY, mentions="there exists already")
    refused("fit", photos, "--out", fitted, *TINY, mentions=["exists already", "--resume"])
    refused("sample", fitted, "--out", "there", mentions="there exists already")
    refused("augment", photos, "--run", fitted, "--out", "there", mentions="there exists already")


def test_a_run_that_is_none(photos, refused):
    for arguments in (
        ("sample", photos, "--out", "new"),
        ("augment", photos, "--run", photos, "--out", "new"),
        ("fit", photos, "--out", "nowhere", "--resume"),
    ):
        refused(*arguments, mentions="is no run directory")


def test_a_run_of_a_newer_version(photos, fitted, refused):
    config = fitted / "run.toml"
    text = config.read_text().replace("format = 1", "format = 99")
    config.write_text(text.replace('ganaug = "0.1.0"', 'ganaug = "7.0.0"'))
    for arguments in (
        ("sample", fitted, "--out", "new"),
        ("augment", photos, "--run", fitted, "--out", "new"),
        ("fit", photos, "--out", fitted, "--resume"),
    ):
        refused(*arguments, mentions=["ganaug 7.0.0", "Upgrade"])


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("damage", ["a flipped byte", "truncated", "missing"])
def test_a_damaged_weights_file(photos, fitted, refused, damage, sealed):
    path = fitted / "generator.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if sealed else 20] ^= 255
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "a flipped byte" else content[:-100])
    if not sealed:
        (fitted / "manifest.json").unlink()
    refused("sample", fitted, "--out", "new", mentions="generator.safetensors")


def test_a_damaged_checkpoint(photos, fitted, refused):
    path = fitted / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    arguments = ("fit", photos, "--out", fitted, "--resume", "--images", 128)
    refused(*arguments, mentions=["state.safetensors", "damaged"])


def test_an_absent_class_in_sample(photos, fitted, refused):
    refused("sample", fitted, "--out", "new", "--class", "rear", mentions=["'rear'", "'rare'"])


def test_growing_a_class_that_was_not_trained(photos, fitted, refused):
    strategy = json.dumps({"common": 100})
    arguments = ("augment", photos, "--run", fitted, "--out", "new", "--sampling-strategy")
    refused(*arguments, strategy, mentions=["not trained on common", "classes are rare"])
    refused(*arguments, '{"rear": 100}', mentions=["'rear'", "'rare'"])
    refused(*arguments, '{"rare": ', mentions="final counts")
    refused(*arguments, '{"rare": 1}', mentions="sampling_strategy")
    refused(*arguments, '{"rare": "many"}', mentions=["whole number", "'many'"])
    refused(*arguments, "fair", mentions="'fair'")


def test_other_data_in_augment(photos, fitted, refused):
    write_images(Path("others/common"), 12)
    write_images(Path("others/rare"), 6)
    arguments = ("augment", "others", "--run", fitted, "--out", "new")
    refused(*arguments, mentions=["not the images that run was fitted on", "rare/5.png"])


# --- a full disk ---------------------------------------------------------------------------


def refuse(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("command", ["fit", "sample", "augment"])
def test_a_full_disk(photos, fitted, ganaug, tmp_path, full_disk, command):
    before = tree(tmp_path)
    arguments = {
        "fit": ("fit", photos, "--out", "new/run", *TINY),
        "sample": ("sample", fitted, "--out", "new/images"),
        "augment": ("augment", photos, "--run", fitted, "--out", "new/images"),
    }
    result = ganaug(*arguments[command])
    assert result.code == 2
    assert result.err.startswith("Error: The disk is full: ")
    assert result.err.count("\n") == 1
    assert tree(tmp_path) == before


def test_a_disk_that_fills_while_training_keeps_the_last_checkpoint(
    photos, fitted, ganaug, monkeypatch
):
    checkpoint = fitted / "checkpoint" / "state.safetensors"
    before = checkpoint.read_bytes()
    write = Run.write_checkpoint

    def write_on_a_full_disk(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            write(*arguments)

    monkeypatch.setattr(Run, "write_checkpoint", write_on_a_full_disk)
    result = ganaug("fit", photos, "--out", fitted, "--resume", "--images", 128)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "disk is full" in result.err
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["state.safetensors"]
    monkeypatch.setattr(Run, "write_checkpoint", write)
    assert ganaug("fit", photos, "--out", fitted, "--resume", "--images", 128).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(photos, fitted, ganaug, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        result = ganaug("sample", fitted, "--out", disk / "images", "-n", 500)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert "The disk is full" in result.err
        assert tree(disk) == {}
        result = ganaug("fit", photos, "--out", disk / "run", *TINY)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert "The disk is full" in result.err
        assert not [name for name in tree(disk) if name.endswith(".part")]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
