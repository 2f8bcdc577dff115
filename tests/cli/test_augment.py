"""``ganaug augment``."""

from __future__ import annotations

import csv
import shlex
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cli.scenes import TINY, write_images, write_volumes
from ganaug.checkpoints import write_tensors
from ganaug.cli.augment import parse_strategy, plan_counts, stem_of
from ganaug.errors import ConfigError
from ganaug.registry import Registry
from ganaug.runs import Run
from ganaug.spec import LabelledImages


def manifest(folder):
    with (Path(folder) / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_images_and_synthetic_ones_are_exported_by_class(ganaug, photos, fitted):
    result = ganaug("augment", photos, "--run", fitted, "--out", "balanced")
    assert (result.code, result.err) == (0, "")
    rows = manifest("balanced")
    assert list(rows[0]) == ["file", "label", "group", "split", "is_synthetic", "source"]
    kinds = Counter((row["label"], row["is_synthetic"]) for row in rows)
    assert kinds == {("common", "false"): 10, ("rare", "false"): 4, ("rare", "true"): 6}
    on_disk = {str(p.relative_to("balanced")) for p in Path("balanced").rglob("*.png")}
    assert on_disk == {row["file"] for row in rows}
    with Path("run/splits.csv").open() as file:
        trained = {row["id"] for row in csv.DictReader(file) if row["split"] == "training"}
    assert {row["source"] for row in rows if row["is_synthetic"] == "false"} == trained
    assert {row["split"] for row in rows} == {"training"}


def test_originals_are_the_pixels_they_were(ganaug, photos, fitted):
    ganaug("augment", photos, "--run", fitted, "--out", "balanced")
    for row in manifest("balanced"):
        if row["is_synthetic"] == "false":
            copy = np.asarray(Image.open(Path("balanced") / row["file"]))
            assert (copy == np.asarray(Image.open(photos / row["source"]))).all()


def test_originals_of_different_sizes_keep_them(ganaug, photos):
    write_images(photos / "large", 6, side=40)
    fit = ("fit", photos, "--out", "run", "--size", 16, "--holdout", 0, *TINY)
    assert ganaug(*fit).code == 0
    ganaug("augment", photos, "--run", "run", "--out", "balanced")
    sizes = Counter()
    for row in manifest("balanced"):
        with Image.open(Path("balanced") / row["file"]) as image:
            sizes[row["label"], row["is_synthetic"], image.width] += 1
    assert sizes["large", "false", 40] == 6
    assert sizes["large", "true", 16] == 6
    assert sizes["rare", "false", 16] == 5


def test_final_counts_are_met_and_printed(ganaug, photos, fitted):
    result = ganaug(
        *("augment", photos, "--run", fitted, "--out", "more"),
        *("--sampling-strategy", '{"rare": 30}'),
    )
    assert result.code == 0
    kinds = Counter((row["label"], row["is_synthetic"]) for row in manifest("more"))
    assert kinds == {("common", "false"): 10, ("rare", "false"): 4, ("rare", "true"): 26}
    lines = [line.split() for line in result.out.splitlines()]
    assert ["common", "10", "10"] in lines
    assert ["rare", "4", "26", "30"] in lines


def test_without_a_strategy_classes_that_were_not_trained_are_left(ganaug, photos):
    write_images(photos / "third", 5)
    ganaug("fit", photos, "--out", "run", "--class", "rare", *TINY)
    result = ganaug("augment", photos, "--run", "run", "--out", "balanced")
    assert result.code == 0
    assert "Left as they are, since the run was not trained on them: third." in result.out
    strategy = ("--sampling-strategy", "auto")
    result = ganaug("augment", photos, "--run", "run", "--out", "other", *strategy)
    assert result.code == 2
    assert "not trained on third" in result.err


def test_one_stem_in_many_folders_becomes_many_files(ganaug, photos):
    (photos / "rare" / "deeper").mkdir()
    for n in range(5):
        Image.new("L", (16, 16), n).save(photos / "rare" / "deeper" / f"{n}.png")
    assert ganaug("fit", photos, "--out", "run", "--holdout", 0, *TINY).code == 0
    ganaug("augment", photos, "--run", "run", "--out", "balanced")
    rows = [row for row in manifest("balanced") if row["is_synthetic"] == "false"]
    assert len({row["file"] for row in rows}) == len(rows) == 22


def test_what_is_exported_can_be_fitted_again(ganaug, photos, fitted):
    ganaug("augment", photos, "--run", fitted, "--out", "balanced")
    result = ganaug("data", "inspect", "balanced")
    assert result.code == 0
    assert "20 images in 2 classes" in result.out
    assert "20 images" in ganaug("data", "inspect", "csv:balanced/manifest.csv").out


def test_groups_are_kept(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 16, 16), dtype=np.uint8)
    groups = np.array([f"woman {n // 2}" for n in range(12)])
    np.savez("set.npz", images=images, labels=np.arange(12) // 8, group=groups)
    assert ganaug("fit", "set.npz", "--out", "run", *TINY).code == 0
    ganaug("augment", "set.npz", "--run", "run", "--out", "balanced")
    for row in manifest("balanced"):
        real = row["is_synthetic"] == "false"
        assert row["group"] == (f"woman {int(row['source']) // 2}" if real else "")


# --- rows that the caller names -----------------------------------------------------------------


def ids_of(run, split):
    with (Path(run) / "splits.csv").open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file) if row["split"] == split]


def write_split(path, folder, held):
    ids = sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*.*"))
    lines = [f"{id_},{'holdout' if id_ in held else 'training'}\n" for id_ in ids]
    Path(path).write_text("id,split\n" + "".join(lines))
    return path


@pytest.fixture
def others(photos):
    """An image set of the same classes that the run has not seen."""
    write_images(Path("others") / "common", 10, seed=7)
    write_images(Path("others") / "rare", 4, seed=7)
    return Path("others")


def test_a_split_of_the_run_itself_is_followed(ganaug, photos, fitted):
    split = write_split("split.csv", photos, ids_of(fitted, "holdout"))
    arguments = ("augment", photos, "--run", fitted, "--split", split)
    assert ganaug(*arguments, "--out", "balanced").code == 0
    ganaug("augment", photos, "--run", fitted, "--out", "without")
    assert manifest("balanced") == manifest("without")


def test_evaluating_on_a_training_row_is_refused_and_nothing_is_written(ganaug, photos, fitted):
    trained = ids_of(fitted, "training")
    held = [*ids_of(fitted, "holdout"), trained[0], trained[-1]]
    split = write_split("split.csv", photos, held)
    result = ganaug(
        *("augment", photos, "--run", fitted, "--out", "balanced", "--split", split),
    )
    assert (result.code, result.out) == (2, "")
    assert "2 of 5 rows overlap with the 14 rows that run was trained on: 2 with" in result.err
    assert f"{trained[0]} (same pixels as training row {trained[0]})" in result.err
    assert not Path("balanced").exists()


def test_a_split_with_validation_rows_is_followed_and_they_cannot_be_held_out_later(ganaug, photos):
    ids = [f"common/{n}.png" for n in range(12)] + [f"rare/{n}.png" for n in range(5)]

    def write(path, **held):
        of = {id_: split for split, rows in held.items() for id_ in rows}
        lines = [f"{id_},{of.get(id_, 'training')}\n" for id_ in ids]
        Path(path).write_text("id,split\n" + "".join(lines))
        return path

    split = write("split.csv", validation=ids[:3], holdout=ids[3:5])
    assert ganaug("fit", photos, "--out", "run", "--split", split, *TINY).code == 0
    arguments = ("augment", photos, "--run", "run", "--out", "new", "--split")
    assert ganaug(*arguments, split).code == 0
    shutil.rmtree("new")
    result = ganaug(*arguments, write("other.csv", holdout=ids[:3]))
    assert result.code == 2
    assert "3 of 3 rows overlap with the 15 rows" in result.err
    assert "same pixels as validation row common/0.png" in result.err
    result = ganaug(*arguments, write("swapped.csv", validation=ids[5:7]))
    assert "same pixels as training row common/5.png" in result.err


def test_another_image_set_with_its_own_split_grows(ganaug, fitted, others):
    arguments = ("augment", others, "--run", fitted, "--out", "balanced")
    refused = ganaug(*arguments)
    assert refused.code == 2
    assert "not the images that run was fitted on" in refused.err
    assert "--split FILE" in refused.err
    split = write_split("split.csv", others, ["common/0.png", "rare/0.png"])
    assert ganaug(*arguments, "--split", split).code == 0
    kinds = Counter((row["label"], row["is_synthetic"]) for row in manifest("balanced"))
    assert kinds == {("common", "false"): 9, ("rare", "false"): 3, ("rare", "true"): 6}
    assert "common/0.png" not in {row["source"] for row in manifest("balanced")}


@pytest.mark.parametrize("kind", ["same pixels as", "near duplicate of"])
def test_a_training_image_under_another_name_is_refused(ganaug, photos, fitted, others, kind):
    trained = ids_of(fitted, "training")[0]
    with Image.open(photos / trained) as image:
        changed = image.point(lambda value: int(value * 0.97)) if "near" in kind else image
        changed.save(others / "common" / "0.png")
    split = write_split("split.csv", others, ["common/0.png", "common/1.png"])
    result = ganaug("augment", others, "--run", fitted, "--out", "new", "--split", split)
    assert result.code == 2
    assert f"first: common/0.png ({kind} training row {trained})" in result.err


def test_a_training_patient_is_refused(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    columns = {
        "labels": np.arange(12) // 8,
        "group": np.array([f"woman {n // 2}" for n in range(12)]),
        "class_names": np.array(["a", "b"]),
    }
    for name in ("first", "second"):
        images = rng.integers(0, 256, (12, 16, 16), dtype=np.uint8)
        np.savez(f"{name}.npz", images=images, **columns)
    assert ganaug("fit", "first.npz", "--out", "run", "--holdout", 0, *TINY).code == 0
    Path("split.csv").write_text(
        "id,split\n" + "".join(f"{n},{'holdout' if n == 2 else 'training'}\n" for n in range(12))
    )
    result = ganaug("augment", "second.npz", "--run", "run", "--out", "new", "--split", "split.csv")
    assert result.code == 2
    assert "1 of the same group; first: 2 (same group as training row 2)" in result.err
    assert "woman" not in result.err


def test_per_class_and_resumed_runs_are_guarded_too(ganaug, photos):
    fit = ("fit", photos, "--out", "run", *TINY)
    assert ganaug(*fit, "--conditioning", "per-class").code == 0
    before = Run.open("run").read_references()
    assert ganaug("fit", photos, "--out", "run", "--resume", "--images", 128).code == 0
    after = Run.open("run").read_references()
    assert len(after) == 14
    assert (after.pixels == before.pixels).all()
    assert len(Run.open("run").read_references("holdout")) == 3
    assert Run.open("run").read_model(Registry.load()).copies is not None
    split = write_split("split.csv", photos, ids_of("run", "training")[:1])
    result = ganaug("augment", photos, "--run", "run", "--out", "new", "--split", split)
    assert result.code == 2
    assert "1 of 1 rows overlap" in result.err


def make_old(run):
    """Make a run what it was before the leak guard."""
    path = run / "references.safetensors"
    write_tensors(path, {"hashes": torch.zeros((8, 16), dtype=torch.uint8)}, {})
    (run / "manifest.json").unlink()


def test_a_run_of_before_the_guard_says_so_until_it_is_resumed(ganaug, photos, fitted):
    make_old(fitted)
    ungated = ganaug("augment", photos, "--run", fitted, "--out", "balanced")
    assert ungated.code == 2
    assert "another version made it. Fit it again." in ungated.err
    split = write_split("split.csv", photos, ids_of(fitted, "holdout"))
    arguments = ("augment", photos, "--run", fitted, "--out", "new", "--split", split)
    refused = ganaug(*arguments)
    assert refused.code == 2
    assert ganaug("fit", photos, "--out", fitted, "--resume", "--images", 128).code == 0
    assert ganaug(*arguments).code == 0


def test_damaged_references_are_noticed_before_a_run_goes_on(ganaug, photos, fitted):
    path = fitted / "references.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    result = ganaug("fit", photos, "--out", fitted, "--resume", "--images", 128)
    assert result.code == 2
    assert "references.safetensors is damaged" in result.err
    assert (fitted / "manifest.json").exists()


def test_a_split_that_cannot_be_used_is_said(ganaug, photos, fitted, others):
    arguments = ("augment", others, "--run", fitted, "--out", "new", "--split", "split.csv")
    write_split("split.csv", photos, [])
    assert "do not belong to these images" in ganaug(*arguments).err
    everything = [p.relative_to(others).as_posix() for p in others.rglob("*.png")]
    write_split("split.csv", others, everything)
    assert "has no training rows" in ganaug(*arguments).err
    Path("split.csv").unlink()
    result = ganaug(*arguments)
    assert result.code == 2
    assert "split.csv" in result.err


def test_images_of_other_channels_are_refused(ganaug, photos, fitted):
    for name in ("common", "rare"):
        write_images(Path("coloured") / name, 6, mode="RGB")
    split = write_split("split.csv", "coloured", ["common/0.png"])
    result = ganaug("augment", "coloured", "--run", fitted, "--out", "new", "--split", split)
    assert result.code == 2
    assert "3 channels and those of the run 1" in result.err
    assert not Path("new").exists()


# --- de-identification --------------------------------------------------------------------------


def test_exported_images_are_pixels_only(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    secret = "DOE^JANE 1970"
    exif, text = Image.Exif(), PngInfo()
    exif[0x010E] = secret  # ImageDescription
    text.add_text("PatientName", secret)
    text.add_itxt("XML:com.adobe.xmp", f"<x>{secret}</x>")
    for name in ("common", "rare"):
        write_images(Path("photos") / name, 12 if name == "common" else 6, mode="RGB")
        for path in (Path("photos") / name).iterdir():
            with Image.open(path) as image:
                picture = image.convert("RGB")
            path.unlink()
            if int(path.stem) % 2:
                picture.save(path.with_suffix(".jpg"), exif=exif, comment=secret.encode())
            else:
                picture.save(path, pnginfo=text, exif=exif, dpi=(300, 300))
    assert ganaug("fit", "photos", "--out", "run", "--holdout", 0, *TINY).code == 0
    assert ganaug("augment", "photos", "--run", "run", "--out", "balanced").code == 0
    files = [path for root in ("balanced", "run") for path in Path(root).rglob("*.*")]
    assert len(list(Path("balanced").rglob("*.png"))) == 24
    for path in files:
        assert b"DOE" not in path.read_bytes(), path
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                assert image.info == {}
                assert not image.getexif()


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("auto", "auto"),
        ("not majority", "not majority"),
        ("0.5", 0.5),
        ('{"bcc": 600, "df": 300}', {"bcc": 600, "df": 300}),
        ("{'bcc': 600}", {"bcc": 600}),
        ("{3: 600}", {"3": 600}),
    ],
)
def test_a_strategy_is_a_word_a_ratio_or_final_counts(text, strategy):
    assert parse_strategy(text) == strategy


def test_a_ratio_is_of_the_rare_to_the_common_class():
    images = LabelledImages(
        pixels=np.zeros((12, 1, 4, 4), np.uint8),
        labels=np.array([0] * 10 + [1] * 2),
        class_names=("common", "rare"),
        value_range=(0, 255),
    )
    assert plan_counts(images, 0.5, ("rare",)).to_add == {"rare": 3}
    with pytest.raises(ConfigError, match="sampling_strategy"):
        plan_counts(images, 0.1, ("rare",))


def test_images_are_opened_as_they_were_for_the_run(ganaug, photos):
    rows = [f"common/{n}.png,a" for n in range(12)] + [f"rare/{n}.png,b" for n in range(5)]
    (photos / "labels.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    opening = ("--open", "file_column=path")
    assert ganaug("fit", photos, "--out", "run", *opening, *TINY).code == 0

    as_recorded = ganaug("augment", photos, "--run", "run", "--out", "one")
    otherwise = ganaug(
        *("augment", photos, "--run", "run", "--out", "two", "--open", "file_column=label")
    )

    assert as_recorded.code == 0
    assert otherwise.code == 2
    assert not Path("two").exists()


def test_options_of_opening_are_added_to_those_of_the_run(ganaug, photos):
    rows = [f"common/{n}.png,a,p{n}" for n in range(12)] + [
        f"rare/{n}.png,b,q{n}" for n in range(5)
    ]
    (photos / "labels.csv").write_text("path,label,who\n" + "\n".join(rows) + "\n")
    assert ganaug("fit", photos, "--out", "run", "--open", "file_column=path", *TINY).code == 0
    result = ganaug(
        *("augment", photos, "--run", "run", "--out", "new", "--open", "group_column=who")
    )
    assert (result.code, result.err) == (0, "")
    real = [row for row in manifest("new") if row["is_synthetic"] == "false"]
    assert all(row["group"][1:] == Path(row["source"]).stem for row in real)


def test_other_pixels_under_the_same_names_are_refused(ganaug, photos, fitted):
    trained = ids_of(fitted, "training")
    arguments = ("augment", photos, "--run", fitted, "--out")
    Image.new("L", (16, 16), 7).save(photos / ids_of(fitted, "holdout")[0])
    assert ganaug(*arguments, "fine").code == 0  # what is not written may have changed
    Image.new("L", (16, 16), 7).save(photos / trained[2])
    result = ganaug(*arguments, "new")
    assert result.code == 2
    assert "names and labels are the same, pixels differ" in result.err
    assert f"(first: {trained[2]})" in result.err
    assert "--split FILE" in result.err
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("id_", "stem"),
    [
        ("common/0.png", "0"),
        ("a/scan.1.png", "scan.1"),
        ("emri_small.dcm#0001", "emri_small-0001"),
        ("p/volume.nii.gz#0007", "volume-0007"),
        ("p/volume.nii#0007", "volume-0007"),
        ("bleed/p0#0000", "p0-0000"),
        ("a/photo#1.png", "photo#1"),
        ("12", "12"),
    ],
)
def test_a_file_is_named_after_the_image_and_its_slice(id_, stem):
    assert stem_of(id_) == stem


def test_slices_keep_their_numbers(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volumes(tmp_path / "mri", 2)
    opening = ("--open", "first=3", "--open", "last=6", "--size", "16", "--holdout", "0")
    assert ganaug("fit", "mri", "--out", "run", *opening, *TINY).code == 0
    assert ganaug("augment", "mri", "--run", "run", "--out", "new").code == 0
    real = {row["file"] for row in manifest("new") if row["is_synthetic"] == "false"}
    assert {"a/a0-0003.png", "a/a0-0005.png", "b/b1-0004.png"} <= real
    assert len(real) == 12


def test_blank_slices_of_different_volumes_are_no_leak(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volumes(tmp_path / "mri", 4)
    assert ganaug("data", "split", "mri", "--out", "split.csv").code == 0
    fit = ("fit", "mri", "--out", "run", "--size", "32", "--split", "split.csv", *TINY)
    fitted = ganaug(*fit)
    assert (fitted.code, fitted.err) == (0, "")
    result = ganaug("augment", "mri", "--run", "run", "--out", "new", "--split", "split.csv")
    assert (result.code, result.err) == (0, "")


def test_the_command_that_fit_prints_grows_a_set_of_one_class(ganaug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos" / "a cat's", 6)
    result = ganaug("fit", "photos", "--out", "run", *TINY)
    assert result.code == 0
    words = shlex.split(result.out.splitlines()[-1])
    assert words[:2] == ["ganaug", "augment"]
    assert ganaug(*words[1:]).code == 0
    kinds = Counter(row["is_synthetic"] for row in manifest("run-balanced"))
    assert kinds == {"false": 5, "true": 5}
    refused = ganaug("augment", "photos", "--run", "run", "--out", "new")
    assert refused.code == 2
    assert "--sampling-strategy" in refused.err
