"""Folders of class folders, and decoding the files in them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ganaug.builtin.data.files import image_dtype, read_image
from ganaug.builtin.data.folder import open_folder
from ganaug.errors import DataError


def chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


@pytest.fixture
def folder(tmp_path):
    for row, (name, file) in enumerate(
        [("nevus", "b.png"), ("nevus", "a.PNG"), ("nevus", "deeper/c.jpg"), ("df", "a.png")]
    ):
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (row, 0, 0)).save(path)
    (tmp_path / "nevus" / "notes.txt").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_class_folders_are_classes_in_alphabetical_order(folder):
    images = open_folder(folder)
    assert images.counts == {"df": 1, "nevus": 3}
    assert images.ids == ("df/a.png", "nevus/a.PNG", "nevus/b.png", "nevus/deeper/c.jpg")
    assert images.labels.tolist() == [0, 1, 1, 1]
    assert images.value_range == (0, 255)
    loaded = images.load()
    assert loaded.spec.shape == (3, 4, 6)
    assert loaded.pixels[:3, 0, 0, 0].tolist() == [3, 1, 0]


def test_a_folder_of_images_is_one_class(folder):
    images = open_folder(folder / "df")
    assert images.counts == {"image": 1}
    assert images.ids == ("a.png",)


def test_groups_are_found_in_the_files_by_a_pattern(folder):
    images = open_folder(folder, group_pattern=r"(\w)\.(png|PNG|jpg)")
    assert images.groups == ("a", "a", "b", "c")
    with pytest.raises(DataError, match="3 of 4 names give no group.*'df/a.png'"):
        open_folder(folder, group_pattern=r"deeper/(.)")


def test_files_are_decoded_when_they_are_read(folder):
    images = open_folder(folder)
    (folder / "nevus" / "b.png").write_bytes(b"")
    assert images.pixels[1].shape == (3, 4, 6)
    with pytest.raises(DataError, match=r"b.png is empty \(0 bytes\)"):
        images.load()


def test_a_class_without_images_is_an_error(folder):
    (folder / "melanoma").mkdir()
    with pytest.raises(DataError, match="class folder melanoma holds no images"):
        open_folder(folder)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        open_folder(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_folder(tmp_path / "nowhere")


def test_images_beside_class_folders_are_an_error(folder):
    Image.new("L", (4, 4)).save(folder / "stray.png")
    with pytest.raises(DataError, match=r"1 loose images \(stray.png\)"):
        open_folder(folder)


def test_mixed_modes_in_one_set_are_counted(folder):
    Image.new("L", (6, 4)).save(folder / "df" / "grey.png")
    with pytest.raises(DataError, match="4 with 3 channels of uint8, 1 with 1 channel of uint8"):
        open_folder(folder).load(8)


def test_sixteen_bit_greyscale_keeps_its_depth(tmp_path):
    pixels = np.array([[0, 300], [40000, 65535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), pixels[None])
    assert open_folder(tmp_path).value_range == (0, 65535)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # stored lying on its side
    image = Image.new("L", (6, 4))
    image.putpixel((0, 0), 255)
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = read_image(tmp_path / "turned.png")
    assert pixels.shape == (1, 6, 4)
    assert pixels[0, 0, 3] == 255


def test_the_dtype_of_a_file_is_known_from_its_header(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        assert image_dtype(tmp_path / name) == read_image(tmp_path / name).dtype
    (tmp_path / "c.png").write_text("text")
    with pytest.raises(DataError, match="c.png is not an image"):
        image_dtype(tmp_path / "c.png")


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "CMYK", "LA"])
def test_other_modes_are_named_with_their_file(tmp_path, mode):
    path = tmp_path / f"odd.{'tif' if mode == 'CMYK' else 'png'}"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(DataError, match=f"odd.*'{mode}'.*convert"):
        read_image(path)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (12_000, 10_000)])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pieces = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + pieces)
    with pytest.raises(DataError, match=r"huge.png: the image is too large.*at most 100,000,000"):
        read_image(tmp_path / "huge.png")


def test_a_file_of_several_images_is_refused(tmp_path):
    first, second = Image.new("L", (4, 4), 1), Image.new("L", (4, 4), 2)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="stack.tif: the file holds 2 images"):
        read_image(tmp_path / "stack.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_truncated_image_names_its_file(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match=f"cut.{suffix}"):
        read_image(path)


def test_a_text_file_named_png_names_its_file(tmp_path):
    (tmp_path / "notes.png").write_text("this is text")
    with pytest.raises(DataError, match="notes.png is not an image"):
        read_image(tmp_path / "notes.png")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("ci_fixtures/mednist_folder", {"ChestCT": 40, "Hand": 6, "HeadCT": 12}),
        ("fracture_eeeh/images", {"fractured": 60, "not_fractured": 216}),
    ],
)
def test_real_folders_have_their_counts(shared_data, name, counts):
    images = open_folder(shared_data / name)
    assert images.counts == counts
    assert images.load(16).pixels.shape == (sum(counts.values()), 1, 16, 16)


def test_a_folder_of_one_archive_points_at_it(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((1, 8, 8), np.uint8), labels=np.zeros(1, int))
    with pytest.raises(DataError, match=r"no images but the archive set.npz; open that: .*set.npz"):
        open_folder(tmp_path)
