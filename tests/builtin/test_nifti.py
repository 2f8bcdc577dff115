"""NIfTI volumes: their slices, windows, orientation, classes and groups, and bad files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools

import nibabel as nib
import numpy as np
import pytest

from ganaug import Registry
from ganaug.builtin.data import nifti_layout
from ganaug.builtin.data.nifti import NiftiStack, claims_nifti, open_nifti, open_stacks
from ganaug.builtin.data.options import CsvConfig, NiftiConfig
from ganaug.errors import ConfigError, DataError
from ganaug.sources import open_images

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def save(path, array, affine=LPS, *, slope=None, calibration=None, kind=nib.Nifti1Image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(array, affine)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    if calibration is not None:
        image.header["cal_min"], image.header["cal_max"] = calibration
    nib.save(image, path)
    return path


def with_header(path, offset, content):
    changed = bytearray(path.read_bytes())
    changed[offset : offset + len(content)] = content
    path.write_bytes(changed)
    return path


def ramp(*shape, dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def stack(path, **fields):
    return NiftiStack(path, path.name, NiftiConfig(**fields))


@pytest.fixture(params=["v.nii", "v.nii.gz"])
def volume(request, tmp_path):
    """Stored to the left, back and head, int16 (4, 3, 5)."""
    return save(tmp_path / request.param, ramp(4, 3, 5))


def test_slices_are_the_volume_from_its_lowest_to_its_highest_value(volume):
    slices = stack(volume, window="full")
    assert (len(slices), slices.dtype) == (5, np.uint16)
    expected = np.round(ramp(4, 3, 5)[:, :, 2].T / 59 * 65535)
    assert np.array_equal(slices[2][0], expected)
    assert (slices[0].min(), slices[4].max()) == (0, 65535)


def test_every_axis_can_be_cut_with_the_head_on_top(volume):
    stored = ramp(4, 3, 5)
    assert np.array_equal(stack(volume, axis=2).values(1), stored[:, :, 1].T)
    assert np.array_equal(stack(volume, axis=1).values(1), stored[:, 1, ::-1].T)
    assert np.array_equal(stack(volume, axis=0).values(1), stored[1, :, ::-1].T)


def test_slices_can_be_read_in_any_order(volume):
    slices = stack(volume)
    in_order = [slices.values(k) for k in range(5)]
    for k in (4, 0, 3):
        assert np.array_equal(slices.values(k), in_order[k])
    slices.close()
    assert np.array_equal(slices.values(2), in_order[2])


def test_a_compressed_file_is_not_read_again_for_each_slice(tmp_path):
    array = np.random.default_rng(0).integers(0, 999, (64, 64, 200), np.int16)
    for name, affine in (("rising", LPS), ("falling", LPS * [1, 1, -1, 1])):
        path = save(tmp_path / f"{name}.nii.gz", array, affine)
        slices = stack(path)
        slices.values(0), slices.values(150)
        end = path.stat().st_size // 4  # which was read before slice 150
        with path.open("r+b") as file:
            file.write(bytes(end))
        expected = array[:, :, 151 if name == "rising" else 199 - 151].T
        assert np.array_equal(slices.values(151), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_however_it_is_stored_a_volume_looks_the_same(tmp_path, axis):
    reference = nib.Nifti1Image(ramp(4, 3, 5), LPS)
    expected = stack(save(tmp_path / "lps.nii", ramp(4, 3, 5)), axis=axis)
    start = nib.io_orientation(LPS)
    for order in itertools.permutations("RAS"):
        for flips in itertools.product((False, True), repeat=3):
            opposite = dict(zip("RAS", "LPI", strict=True))
            codes = [opposite[c] if f else c for c, f in zip(order, flips, strict=True)]
            turn = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(codes))
            nib.save(reference.as_reoriented(turn), tmp_path / "turned.nii")
            turned = stack(tmp_path / "turned.nii", axis=axis)
            assert turned.shape == (4, 3, 5)
            for k in range(len(expected)):
                assert np.array_equal(turned.values(k), expected.values(k)), codes


def test_without_a_usable_affine_axes_are_to_the_right_front_and_head(tmp_path):
    path = save(tmp_path / "v.nii", ramp(4, 3, 5))
    with_header(path, 280, bytes(48))  # srow_x, srow_y, srow_z
    assert np.array_equal(stack(path).values(1), ramp(4, 3, 5)[::-1, ::-1, 1].T)


def test_an_affine_of_nan_gives_way_to_the_qform(tmp_path):
    path = save(tmp_path / "v.nii", ramp(4, 3, 5))
    with_header(path, 280, np.full(12, np.nan, "<f4").tobytes())
    assert np.array_equal(stack(path).values(1), ramp(4, 3, 5)[:, :, 1].T)


def test_slope_and_intercept_are_applied(tmp_path):
    for axis in (0, 2):
        path = save(tmp_path / "v.nii.gz", ramp(4, 3, 5), slope=(0.5, -100))
        # nibabel rescales what it saves, so the stored numbers are set afterwards
        header = bytearray(gzip.decompress(path.read_bytes()))
        header[112:120] = np.array([0.5, -100], "<f4").tobytes()
        header[352:] = ramp(4, 3, 5).tobytes(order="F")
        path.write_bytes(gzip.compress(bytes(header)))
        slices = stack(path, axis=axis)
        everything = [slices.values(k) for k in range(len(slices))]
        assert (np.min(everything), np.max(everything)) == (-100, 59 * 0.5 - 100)


@pytest.mark.parametrize(
    ("fields", "calibration", "low", "high"),
    [
        ({"window": "40,80"}, None, 0, 80),
        ({"window": "brain"}, (10, 20), 0, 80),
        ({"window": "auto"}, (10, 20), 10, 20),
        ({"window": "auto"}, (20, 20), 0.5 * 0.999, 99.5 * 0.999),
        ({"window": "full"}, (10, 20), 0, 99.9),
    ],
)
def test_windows(tmp_path, fields, calibration, low, high):
    values = np.arange(1000, dtype=np.float32).reshape(10, 10, 10) / 10
    path = save(tmp_path / "v.nii", values, calibration=calibration)
    slices = stack(path, **fields)
    found = np.stack([slices[k][0] for k in range(10)])
    wanted = np.stack([values[:, :, k].T for k in range(10)])
    expected = ((wanted - low) / (high - low)).clip(0, 1) * 65535
    assert np.abs(found - expected).max() <= 1


def test_a_mask_of_something_small_keeps_its_range(tmp_path):
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[3, 3, 3] = 1
    assert stack(save(tmp_path / "mask.nii", mask))[3].max() == 65535


def test_a_volume_of_one_value_is_black(tmp_path):
    slices = stack(save(tmp_path / "v.nii", np.full((3, 3, 3), 7, np.int16)))
    assert not slices[1].any()


def test_an_unknown_window_is_refused_before_reading(volume):
    with pytest.raises(ConfigError, match="window must be"):
        stack(volume, window="brian")


def test_range_and_foreground_choose_slices(tmp_path):
    values = np.zeros((10, 10, 6), np.int16)
    for k in range(6):
        values[: 2 * k, :, k] = 100
    path = save(tmp_path / "v.nii.gz", values)
    slices = stack(path, foreground=0.5, last=5)
    assert slices.numbers == [3, 4]
    assert (slices[0][0] > 0).mean() == pytest.approx(0.6)
    assert open_nifti(NiftiConfig(first=1, every=3), path).ids == ("v.nii.gz#0001", "v.nii.gz#0004")


def test_a_4d_file_needs_its_volume_to_be_chosen(tmp_path):
    path = save(tmp_path / "bold.nii.gz", ramp(4, 3, 5, 2))
    with pytest.raises(DataError, match="is 4D: 2 volumes of 4 x 3 x 5.*volume=0 to volume=1"):
        stack(path)
    with pytest.raises(DataError, match="has 2 volumes; volume=2 .* from 0 to 1"):
        stack(path, volume=2)
    for axis in range(3):
        second = stack(path, volume=1, axis=axis)
        assert second.values(0).max() == np.take(ramp(4, 3, 5, 2)[..., 1], 0, axis).max()


def test_a_4d_file_of_one_volume_is_a_volume(tmp_path):
    assert len(stack(save(tmp_path / "v.nii", ramp(4, 3, 5, 1)))) == 5


def test_the_file_of_one_slice_stands_for_itself(tmp_path):
    for name, array in (("flat.nii", ramp(4, 3)), ("thin.nii.gz", ramp(4, 3, 1))):
        images = open_nifti(NiftiConfig(window="full"), save(tmp_path / name, array))
        assert images.ids == (name,)
        assert images.groups is None
        assert images.pixels[0].shape == (1, 3, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, ">i2", np.uint32, np.int64, np.float64])
def test_numbers_of_every_kind_are_read(tmp_path, dtype):
    array = ramp(4, 3, 5).astype(dtype)
    image = nib.Nifti1Image(array, LPS, dtype=array.dtype)
    nib.save(image, tmp_path / "v.nii")
    assert np.array_equal(stack(tmp_path / "v.nii").values(1), ramp(4, 3, 5)[:, :, 1].T)


def test_mgz_is_read(tmp_path):
    path = save(tmp_path / "v.mgz", ramp(4, 3, 5), kind=nib.MGHImage)
    assert np.array_equal(stack(path).values(1), ramp(4, 3, 5)[:, :, 1].T)


@pytest.fixture
def tree(tmp_path):
    for k, name in enumerate(("well/p1.nii.gz", "ill/p2/t1.nii", "ill/p2/t2.nii", ".hidden/x.nii")):
        save(tmp_path / name, ramp(4, 3, 5) + np.int16(k))
    (tmp_path / "ill" / "notes.txt").write_text("not a volume")
    return tmp_path


def test_folders_are_classes_and_volumes_are_groups(tree):
    images = open_nifti(NiftiConfig(every=4), tree)
    assert images.counts == {"ill": 4, "well": 2}
    assert images.ids[:3] == ("ill/p2/t1.nii#0000", "ill/p2/t1.nii#0004", "ill/p2/t2.nii#0000")
    first, second, third = images.groups[::2]
    assert images.groups == (first, first, second, second, third, third)
    assert len({first, second, third}) == 3
    assert images.load(size=8).pixels.shape == (6, 1, 8, 8)


def test_a_volume_under_another_name_is_the_same_group(tmp_path):
    one = save(tmp_path / "a" / "scan.nii", ramp(4, 3, 5))
    other = save(tmp_path / "b" / "scan.nii", ramp(4, 3, 5)[::-1])
    copy = tmp_path / "b" / "copy.nii"
    copy.write_bytes(one.read_bytes())
    groups = [stack(path).group for path in (one, copy, other)]
    assert groups[0] == groups[1] != groups[2]
    assert groups[0] == f"volume-{hashlib.sha256(one.read_bytes()).hexdigest()[:16]}"


def test_a_pattern_finds_the_group_in_the_path(tree):
    images = open_nifti(NiftiConfig(every=5, group_pattern=r"/(p\d)"), tree)
    assert images.groups == ("p2", "p2", "p1")


def test_a_folder_of_volumes_outranks_a_folder_of_images(tree):
    assert claims_nifti(tree) > 10
    assert claims_nifti(tree / "well" / "p1.nii.gz") == 10
    assert claims_nifti(tree / ".hidden") == 15
    assert claims_nifti(tree / "ill" / "notes.txt") == 0
    assert len(open_images(str(tree), Registry.load())) == 15


def test_stacks_take_the_config_of_a_table(volume):
    (slices,) = open_stacks(volume, CsvConfig(last=2))
    assert len(slices) == 2


def test_a_folder_without_volumes_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no volumes; expected files named .nii"):
        open_stacks(tmp_path, NiftiConfig())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    array = ramp(4, 3, 5, dtype=np.float64)
    array[1, 1, 2] = value
    slices = stack(save(tmp_path / "v.nii.gz", array), window="brain")
    slices[0]
    with pytest.raises(DataError, match="v.nii.gz: slice 2 has 1 values that are not finite"):
        slices[2]


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_truncated_file_is_refused(tmp_path, name):
    path = save(tmp_path / name, np.random.default_rng(0).integers(0, 999, (32, 32, 9), np.int16))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=f"{name}.* truncated.*Repair it or leave it out") as raised:
        open_nifti(NiftiConfig(), path).load()
    assert "\n" not in str(raised.value)


def test_damaged_compression_is_refused(tmp_path):
    path = save(tmp_path / "v.nii.gz", ramp(32, 32, 9) % 99)
    with_header(path, len(path.read_bytes()) // 2, b"\xff" * 200)
    with pytest.raises(DataError, match="v.nii.gz cannot be decoded; it is damaged"):
        open_nifti(NiftiConfig(), path).load()


@pytest.fixture
def with_bad_checksum(tmp_path):
    """A compressed volume that decompresses, but not to what was compressed."""
    path = save(
        tmp_path / "v.nii.gz", np.random.default_rng(0).integers(0, 999, (8, 8, 9), np.int16)
    )
    content = gzip.decompress(path.read_bytes())
    stored = bytearray(gzip.compress(content, compresslevel=0))
    stored[len(stored) // 2] ^= 0xFF
    path.write_bytes(stored)
    return path


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("window", ["auto", "0,500"])
def test_a_wrong_checksum_is_refused_with_the_first_slice(with_bad_checksum, axis, window):
    slices = stack(with_bad_checksum, axis=axis, window=window)
    with pytest.raises(DataError, match=r"v.nii.gz cannot be decoded; it is damaged.*CRC"):
        slices[0]


def test_what_goes_on_far_beyond_the_last_voxel_is_not_decompressed(tmp_path, monkeypatch):
    path = save(tmp_path / "v.nii.gz", ramp(4, 3, 5))
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + bytes(1000)))
    assert stack(path)[0].any()
    monkeypatch.setattr(nifti_layout, "_MAX_TRAILING", 999)
    with pytest.raises(
        DataError, match=r"v.nii.gz cannot be decoded.*goes on beyond its 472 bytes"
    ):
        stack(path)[0]


@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        (44, np.array([0], "<i2"), "v.nii has no voxels; its shape is 4 x 0 x 5"),
        (42, np.array([-5], "<i2"), "v.nii has no voxels; its shape is -5 x 3 x 5"),
        (40, np.array([5, 4, 3, 1, 1, 5], "<i2"), "has the shape 4 x 3 x 1 x 1 x 5; expected 3D"),
        (40, np.array([1], "<i2"), "has the shape 4; expected 3D or 4D"),
        (40, np.array([77], "<i2"), "cannot be decoded; it is damaged"),
        (42, np.array([400], "<i2"), "is truncated: it has 472 bytes, and a volume of 400 x 3 x 5"),
        (70, np.array([9999], "<i2"), "cannot be decoded; it is damaged"),
        (344, b"PNG ", "is not a file that nibabel can read; expected NIfTI"),
    ],
)
def test_a_bad_header_is_refused_in_one_line(tmp_path, offset, content, message):
    path = save(tmp_path / "v.nii", ramp(4, 3, 5))
    with_header(path, offset, bytes(content) if isinstance(content, bytes) else content.tobytes())
    with pytest.raises(DataError, match=message) as raised:
        stack(path)
    assert "\n" not in str(raised.value)


def test_a_volume_that_is_too_large_is_not_decoded(tmp_path):
    path = save(tmp_path / "v.nii.gz", ramp(4, 3, 5))
    header = bytearray(gzip.decompress(path.read_bytes()))
    header[42:48] = np.array([30000, 30000, 2], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(header)))
    with pytest.raises(
        DataError, match="too large: 30000 x 30000 x 2 voxels. Expected at most 100"
    ):
        stack(path)


def test_the_limit_counts_the_voxels_of_the_volume(tmp_path, monkeypatch):
    path = save(tmp_path / "v.nii", ramp(4, 3, 5))
    monkeypatch.setattr(nifti_layout, "MAX_VOXELS", 60)
    assert stack(path)[0].any()
    monkeypatch.setattr(nifti_layout, "MAX_VOXELS", 59)
    with pytest.raises(DataError, match="too large"):
        stack(path)


def test_colours_and_complex_numbers_are_refused(tmp_path):
    rgb = np.zeros((4, 3, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    for array, kind in ((rgb, "colours"), (ramp(4, 3, 5) * 1j, "complex numbers")):
        path = save(tmp_path / "v.nii", array.astype("c8") if array.dtype.kind == "c" else array)
        with pytest.raises(DataError, match=f"voxels are {kind}; expected one number each"):
            stack(path)


def test_files_that_are_missing_or_empty_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone.nii does not exist"):
        open_nifti(NiftiConfig(), tmp_path / "gone.nii")
    (tmp_path / "empty.nii").touch()
    with pytest.raises(DataError, match=r"empty.nii is empty \(0 bytes\)"):
        stack(tmp_path / "empty.nii")


@pytest.mark.shared_data
def test_real_files_hold_what_is_known_of_them(shared_data):
    folder = shared_data / "nifti_dev"
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    for row in rows:
        path = folder / row["file"]
        *shape, volumes = [int(size) for size in f"{row['shape']}x1".split("x")][:4]
        stacks = [stack(path, volume=k) for k in range(volumes)]
        codes = row["orientation"].translate(str.maketrans("RAI", "LPS"))
        sizes = dict(zip(codes, shape, strict=True))
        assert stacks[0].shape == tuple(sizes[code] for code in "LPS"), path
        values = np.stack([each.values(k) for each in stacks for k in range(each.shape[2])])
        known = float(row["min"]), float(row["max"])
        assert (values.min(), values.max()) == pytest.approx(known, rel=1e-6), path
