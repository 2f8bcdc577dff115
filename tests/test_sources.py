"""Opening ``[PLUGIN:]LOCATION``."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ganaug import Config, DatasetPlugin, LabelledImages, Registry, hookimpl
from ganaug.errors import ConfigError, DataError, PluginConflictError, UnknownPluginError
from ganaug.sources import check_outside, open_images

BUILTIN = "ganaug.builtin.data.plugin"


class Source:
    """A dataset plugin that claims everything, so strongly."""

    def __init__(self, name, claim):
        self.name = name
        self.claim = claim

    def open(self, config, location):
        return LabelledImages(
            pixels=np.zeros((1, 1, 4, 4), np.uint8),
            labels=np.array([0]),
            class_names=(self.name,),
            value_range=(0, 255),
            ids=(str(location),),
        )

    def claims(self, location):
        if self.claim is None:
            raise RuntimeError("this plugin is broken")
        return self.claim

    @hookimpl
    def ganaug_datasets(self):
        yield DatasetPlugin(
            name=self.name, summary="Any.", config=Config, open=self.open, claims=self.claims
        )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "set" / name / "0.png")
    return tmp_path / "set"


@pytest.fixture
def registry():
    return Registry([BUILTIN])


def test_a_folder_of_class_folders_is_opened_as_one(folder, registry):
    assert open_images(str(folder), registry).counts == {"a": 1, "b": 1}


def test_a_table_beats_the_class_folders(folder, registry):
    (folder / "labels.csv").write_text("file,label\na/0.png,rare\n")
    assert open_images(str(folder), registry).counts == {"rare": 1}
    assert open_images(str(folder / "labels.csv"), registry).counts == {"rare": 1}
    assert open_images(f"folder:{folder}", registry).counts == {"a": 1, "b": 1}


def test_an_archive_is_opened_by_its_name(folder, registry):
    np.savez("set.npz", images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1])
    assert open_images("set.npz", registry).counts == {"0": 1, "1": 1}


def test_digits_need_no_file_unless_there_is_one(folder, registry):
    assert len(open_images("digits", registry)) == 1797
    folder.rename("digits")
    assert open_images("digits", registry).counts == {"a": 1, "b": 1}


def test_fields_reach_the_plugins_config(folder, registry):
    (folder / "labels.csv").write_text("file,diagnosis\na/0.png,rare\n")
    images = open_images(str(folder), registry, {"label_column": "diagnosis"})
    assert images.class_names == ("rare",)
    with pytest.raises(ConfigError, match="no field 'label_colum'.*label_column"):
        open_images(str(folder), registry, {"label_colum": "diagnosis"})


def test_fields_that_a_plugin_refuses_are_one_line(folder, registry):
    with pytest.raises(ConfigError, match="group_pattern: expected a regular expression") as caught:
        open_images(str(folder), registry, {"group_pattern": "(a"})
    assert "\n" not in str(caught.value)


def test_a_table_may_lie_apart_from_its_files(folder, registry):
    (folder.parent / "tables").mkdir()
    table = folder.parent / "tables" / "labels.csv"
    table.write_text("file,label\na/0.png,rare\n")
    assert open_images(str(table), registry, {"root": str(folder)}).ids == ("a/0.png",)
    with pytest.raises(DataError, match="do not exist"):
        open_images(str(table), registry)


@pytest.mark.parametrize("data", ["nowhere", "folder:nowhere", "nowhere.npz", "csv:nowhere.csv"])
def test_a_missing_location_is_said_first(folder, registry, data):
    with pytest.raises(DataError, match=r"nothing at nowhere|nowhere\S* does not exist"):
        open_images(data, registry)


def test_what_nobody_claims_lists_what_is_understood(folder, registry):
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes.txt.*csv.*digits.*folder.*npz.*PLUGIN:"):
        open_images(str(folder / "notes.txt"), registry)


def test_the_highest_claim_wins(folder):
    registry = Registry([BUILTIN, Source("eager", 99), Source("modest", 1)])
    assert open_images(str(folder), registry).class_names == ("eager",)


def test_a_tie_says_how_to_choose(folder):
    registry = Registry([Source("one", 5), Source("two", 5), Source("three", 1)])
    with pytest.raises(PluginConflictError, match=r"one and two. Name the one to use: one:"):
        open_images(str(folder), registry)
    assert open_images(f"two:{folder}", registry).class_names == ("two",)


def test_a_plugin_that_fails_to_look_harms_nobody_else(folder):
    registry = Registry([BUILTIN, Source("broken", None)])
    with pytest.warns(UserWarning, match="'broken' failed to look"):
        assert len(open_images(str(folder), registry)) == 2


def test_an_unknown_plugin_names_the_nearest(folder, registry):
    with pytest.raises(UnknownPluginError, match="'foldr'.*'folder'"):
        open_images(f"foldr:{folder}", registry)


def test_a_colon_in_a_path_that_exists_is_no_plugin(folder, registry):
    odd = folder.rename(folder.parent / "scan:12")
    assert len(open_images(odd.name, registry)) == 2
    assert len(open_images(str(odd), registry)) == 2
    assert len(open_images(f"folder:{odd}", registry)) == 2


def test_empty_text_is_not_the_current_folder():
    with pytest.raises(DataError, match="DATA is empty"):
        open_images("", Registry.load())


def test_output_among_the_images_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="inside the images' own folder"):
        check_outside(tmp_path / "photos" / "run", str(tmp_path / "photos"))
    with pytest.raises(ConfigError, match="inside"):
        check_outside(tmp_path / "photos" / "run", f"folder:{tmp_path / 'photos'}")
    check_outside(tmp_path / "run", str(tmp_path / "photos"))
    check_outside(tmp_path / "run", "digits")
