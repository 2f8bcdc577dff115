"""Files become volumes in the order of their slices, and what is odd about one is said."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from builtin.dicom_files import AXIAL, SAGITTAL, write, write_series
from ganaug.builtin.data.dicom import open_dicom
from ganaug.builtin.data.options import DicomConfig
from ganaug.errors import ConfigError


def opened(location, **fields):
    return open_dicom(DicomConfig(window="100,200", **fields), location)


def order(images):
    """The first pixel of each slice, which `write_series` makes grow with its position."""
    return [int(image[0, 0, 0]) for image in images.pixels]


def test_slices_are_ordered_by_position_and_not_by_number_or_name(tmp_path):
    write_series(tmp_path / "ct", [30, 10, 40, 20])
    images = opened(tmp_path / "ct")
    assert order(images) == sorted(order(images))
    assert images.ids == tuple(f"ct#{k:04d}" for k in range(4))


def test_position_counts_along_the_normal_of_the_slices(tmp_path):
    write_series(tmp_path, [(x, 0, 0) for x in (30, 10, 20)], orientation=SAGITTAL)
    images = opened(tmp_path)
    assert order(images) == sorted(order(images), reverse=True)  # the normal points to -x


def test_a_volume_is_one_group_and_another_series_another(tmp_path):
    write_series(tmp_path / "a", [1, 2])
    write_series(tmp_path / "b", [1, 2])
    groups = opened(tmp_path).groups
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_two_series_in_one_folder_are_two_volumes_with_names_of_their_own(tmp_path):
    one, two = generate_uid(), generate_uid()
    for name, series, z in [("a", one, 2), ("b", two, 1), ("c", one, 1), ("d", two, 2)]:
        tags = {"ImageOrientationPatient": AXIAL, "ImagePositionPatient": [0, 0, z]}
        write(tmp_path / name, SeriesInstanceUID=series, **tags)
    assert opened(tmp_path).ids == ("c#0000", "c#0001", "b#0000", "b#0001")


def test_a_missing_slice_is_said_and_the_others_are_used(tmp_path):
    write_series(tmp_path, [0, 5, 10, 20, 25])
    with pytest.warns(UserWarning, match="1 series with missing slices"):
        assert len(opened(tmp_path)) == 5


def test_a_localizer_is_said_and_stands_apart(tmp_path):
    series = generate_uid()
    write_series(tmp_path / "ct", [0, 5, 10], SeriesInstanceUID=series)
    write_series(tmp_path / "scout", [0], orientation=SAGITTAL, SeriesInstanceUID=series)
    with pytest.warns(UserWarning, match="1 series with several planes"):
        images = opened(tmp_path)
    assert images.ids == ("ct#0000", "ct#0001", "ct#0002", "scout/000.dcm")
    assert len(set(images.groups)) == 1


def test_a_gantry_tilt_is_said_by_its_geometry(tmp_path):
    write_series(tmp_path, [(0, y, 5 * y) for y in range(4)])
    with pytest.warns(UserWarning, match="gantry tilt"):
        opened(tmp_path)


def test_several_slices_at_one_position_are_said_and_all_kept(tmp_path):
    write_series(tmp_path, [0, 5, 5, 10])
    with pytest.warns(UserWarning, match="several slices at one position"):
        assert len(opened(tmp_path)) == 4


def test_slices_without_position_stand_for_themselves(tmp_path):
    series = generate_uid()
    write(tmp_path / "a.dcm", SeriesInstanceUID=series)
    write(tmp_path / "b.dcm", SeriesInstanceUID=series)
    with pytest.warns(UserWarning, match="1 series with no positions, so order and gaps"):
        images = opened(tmp_path)
    assert images.ids == ("a.dcm", "b.dcm")
    assert images.groups[0] == images.groups[1]


def test_views_of_projection_radiography_need_no_position(tmp_path):
    series = generate_uid()
    for name in "ab":
        write(tmp_path / name, SeriesInstanceUID=series, Modality="MG")
    assert len(opened(tmp_path)) == 2


def test_an_automatic_window_is_that_of_the_whole_series(tmp_path):
    write_series(tmp_path, [0, 10, 20])  # values 0 to 35
    first, *_, last = open_dicom(DicomConfig(), tmp_path).pixels
    assert first.min() == 0
    assert first.max() == round(15 / 35 * 65535)
    assert last.max() == 65535


def test_the_windows_of_a_series_become_their_median(tmp_path):
    paths = write_series(tmp_path, [0, 10, 20])
    for path, centre in zip(paths, (20, 20, 500), strict=True):
        dataset = dcmread(path)
        dataset.WindowCenter, dataset.WindowWidth = centre, 41
        dataset.save_as(path)
    first = open_dicom(DicomConfig(), tmp_path).pixels[0]
    assert first[0, 3, 3] == round((15 - -0.5) / 40 * 65535)  # linear: centre - .5, width - 1


def test_slices_are_selected_by_range_step_and_foreground(tmp_path):
    write_series(tmp_path / "ct", range(0, 100, 10))
    assert opened(tmp_path, first=2, last=8, every=2).ids == ("ct#0002", "ct#0004", "ct#0006")
    kept = opened(tmp_path, foreground=0.9)
    assert 0 < len(kept) < 10
    assert kept.ids[-1] == "ct#0009"


def test_another_axis_is_refused(tmp_path):
    write_series(tmp_path, [0, 5])
    with pytest.raises(ConfigError, match="axis 2; got axis=0"):
        opened(tmp_path, axis=0)


def test_slices_are_decoded_one_at_a_time_when_read(tmp_path, monkeypatch):
    write_series(tmp_path, [0, 5, 10])
    from ganaug.builtin.data import dicom_reader

    decoded = []
    read = dicom_reader.read_stored

    def spy(header, frame):
        decoded.append(header.path.name)
        return read(header, frame)

    monkeypatch.setattr(dicom_reader, "read_stored", spy)
    images = opened(tmp_path)
    assert decoded == []
    assert np.asarray(images.pixels[1]).shape == (1, 4, 4)
    assert decoded == ["001.dcm"]
