from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest
from conftest import make_images

from ganaug import History, Progress, Registry, SyntheticAugmenter
from ganaug.errors import LeakageError, RunError
from ganaug.run_config import FORMAT
from ganaug.runs import Run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    images = make_images(24, classes=2).subset([*range(0, 24, 2), 1, 3, 5, 7])
    augmenter = SyntheticAugmenter(
        "dcgan",
        config={"width": 4},
        conditioning="conditional",
        total_images=32,
        random_state=0,
        filter="copies",
    ).fit(images, groups=[f"patient {row}" for row in range(16)])
    path = tmp_path_factory.mktemp("runs") / "saved"
    augmenter.save(path)
    return path


@pytest.fixture
def run_folder(saved, tmp_path):
    import shutil

    return shutil.copytree(saved, tmp_path / "run")


def test_a_run_says_what_was_fitted_on_what_and_how(saved):
    fields = tomllib.loads((saved / "run.toml").read_text())
    assert fields["format"] == FORMAT
    assert set(fields["versions"]) == {"ganaug", "torch"}
    assert fields["provider"].startswith("ganaug ")
    assert fields["class_names"] == ["b"]
    assert fields["counts"] == {"a": 12, "b": 4}
    assert fields["recipe"]["settings"]["width"] == 4
    assert fields["recipe"]["random_state"] == 0
    lines = (saved / "splits.csv").read_text().splitlines()
    assert lines[:2] == ["id,label,group,split", "0,a,patient 0,training"]
    assert len(lines) == 17
    history = [json.loads(line) for line in (saved / "history.jsonl").read_text().splitlines()]
    assert history[-1]["images_seen"] == 32
    card = (saved / "card.md").read_text()
    assert "| b | 4 | yes |" in card
    assert "| a | 12 | no |" in card
    assert "Rows of all classes: 16 training." in card
    assert "- images seen, repeats counted (all classes): " in card
    kept = card.partition("## What is kept of real images")[2].partition("## Scores")[0]
    for name in ("splits.csv", "references.safetensors", "extractors/", "features/"):
        assert f"`{name}`" in kept


def test_the_manifest_lists_every_file(saved):
    listed = json.loads((saved / "manifest.json").read_text())
    there = {p.relative_to(saved).as_posix() for p in saved.rglob("*") if p.is_file()}
    assert set(listed) == there - {"manifest.json"}
    assert {"run.toml", "generator.safetensors", "references.safetensors"} <= set(listed)


def test_there_is_no_pickle_in_a_run(saved):
    for path in saved.rglob("*"):
        if path.is_file():
            assert path.suffix in {".toml", ".csv", ".jsonl", ".json", ".md", ".safetensors"}
            assert not path.read_bytes().startswith((b"\x80\x04", b"PK"))


def test_a_run_of_a_newer_version_is_refused(run_folder):
    text = (run_folder / "run.toml").read_text()
    (run_folder / "run.toml").write_text(text.replace(f"format = {FORMAT}", "format = 99"))
    with pytest.raises(RunError, match=r"format 99.*reads up to format 1. Upgrade ganaug"):
        Run.open(run_folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [("format = ", "cannot be read"), ("format = 1\n", "is damaged"), ("", "format None")],
)
def test_a_damaged_run_file_is_said(run_folder, content, message):
    (run_folder / "run.toml").write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        Run.open(run_folder)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match="no run directory.*ganaug fit DATA --out"):
        Run.open(tmp_path)


@pytest.mark.parametrize("name", ["generator.safetensors", "references.safetensors"])
def test_one_flipped_bit_in_weights_or_references_is_noticed(run_folder, name):
    content = bytearray((run_folder / name).read_bytes())
    content[-5] ^= 1
    (run_folder / name).write_bytes(content)
    with pytest.raises(RunError, match=f"{name} is damaged"):
        Run.open(run_folder).read_model(Registry.load())


def test_a_saved_run_is_refused_its_own_training_rows(saved):
    images = make_images(24, classes=2)
    run = Run.open(saved)
    with pytest.raises(LeakageError, match="3 of 3 rows overlap with the 16 rows.*saved was"):
        run.check_leaks(images.subset([0, 2, 4]))
    inverted = [(255 - images.pixels[row], 0) for row in (20, 22)]
    with pytest.raises(LeakageError, match="1 of the same group; first: 1 "):
        run.check_leaks(inverted, groups=["nobody", "patient 3"])


def test_a_run_without_a_copy_filter_keeps_references_and_refuses_nothing(tmp_path):
    images = make_images(12, classes=2).subset([*range(0, 12, 2), 1, 3])
    augmenter = SyntheticAugmenter(
        "dcgan", config={"width": 4}, total_images=32, random_state=0, filter=None
    ).fit(images)
    augmenter.save(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.read_model(Registry.load()).copies is None
    assert run.read_references().ids == images.ids


def test_references_and_splits_that_were_changed_are_damage(run_folder):
    text = (run_folder / "splits.csv").read_text()
    (run_folder / "splits.csv").write_text(text.replace("patient 0", "patient 99"))
    with pytest.raises(RunError, match=r"splits.csv is damaged"):
        Run.open(run_folder).check_leaks(make_images(2))


def test_missing_references_do_not_switch_the_copy_filter_off(run_folder):
    (run_folder / "references.safetensors").unlink()
    with pytest.raises(RunError, match="references.safetensors is damaged"):
        Run.open(run_folder).read_model(Registry.load())


def test_an_unfinished_run_says_how_to_go_on(run_folder):
    (run_folder / "generator.safetensors").unlink()
    with pytest.raises(RunError, match="no finished generator.*--resume"):
        Run.open(run_folder).read_model(Registry.load())


def test_history_drops_a_torn_last_line_and_what_came_after_the_checkpoint(run_folder):
    run = Run.open(run_folder)
    records = [
        Progress(images_seen=8 * i, step=i, epoch=0, losses={"d/a": 0.5}) for i in range(1, 6)
    ]
    run.write_history(None, History(records))
    with (run_folder / "history.jsonl").open("a") as stream:
        stream.write('{"images_seen": 48, "st')
    assert [p.step for p in run.read_history(None, until_step=99)] == [1, 2, 3, 4, 5]
    assert [p.step for p in run.read_history(None, until_step=3)] == [1, 2, 3]
    run.append_history(None, records[3])
    again = run.read_history(None, until_step=99)
    assert again == History(records[:4])


def test_a_checkpoint_comes_back_and_may_be_absent(run_folder):
    run = Run.open(run_folder)
    assert run.read_checkpoint(None) is None
    run.write_checkpoint(None, {"step": 3})
    assert run.read_checkpoint(None) == {"step": 3}


def test_a_run_begins_only_where_nothing_is(tmp_path, run_folder):
    Run.check_free(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    Run.check_free(tmp_path / "empty")
    with pytest.raises(RunError, match="exists already.*--resume"):
        Run.check_free(run_folder)
    (tmp_path / "empty" / "file").write_text("")
    with pytest.raises(RunError, match="exists already. Choose another path, remove it"):
        Run.check_free(tmp_path / "empty")


def test_the_model_hands_out_what_the_run_recorded(saved):
    model = Run.open(saved).read_model(Registry.load())
    drawn = model.draw(0, 3, seed=0)
    assert (drawn.shape, drawn.dtype) == ((3, 1, 8, 8), np.uint8)
    assert model.copies is not None
