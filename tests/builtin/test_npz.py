"""Archives of arrays."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from ganaug.builtin.data import npz
from ganaug.builtin.data.npz import open_npz
from ganaug.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (4, 6, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
LABELS = np.array([1, 0, 1, 1])


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez_compressed(tmp_path / "set.npz", **arrays)
        return tmp_path / "set.npz"

    return write


def test_plain_colour_images(save):
    images = open_npz(
        save(
            images=COLOUR,
            labels=LABELS,
            class_names=np.array(["nevus", "df"]),
            group=np.array(["a", "a", "", "b"]),
            age=np.zeros(4),
        )
    )
    np.testing.assert_array_equal(images.load().pixels, COLOUR.transpose(0, 3, 1, 2))
    assert images.counts == {"nevus": 1, "df": 3}
    assert images.groups == ("a", "a", "", "b")
    assert images.ids == ("0", "1", "2", "3")
    assert images.splits is None


@pytest.mark.parametrize("images", [GREY, GREY[..., None]])
def test_plain_greyscale_images_without_names(save, images):
    opened = open_npz(save(images=images, labels=LABELS[:, None].astype(np.uint8)))
    np.testing.assert_array_equal(opened.load().pixels, GREY[:, None])
    assert opened.class_names == ("0", "1")
    assert opened.groups is None


@pytest.mark.parametrize("group", [np.array(["", "", "", ""]), np.array([])])
def test_blank_groups_are_none(save, group):
    assert open_npz(save(images=GREY, labels=LABELS, group=group)).groups is None


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (np.array([7, 7, 8, 9]), ("7", "7", "8", "9")),
        (np.array([[7], [7], [8], [9]], dtype=np.uint8), ("7", "7", "8", "9")),
        (np.array([7, 7, np.nan, np.nan]), ("7", "7", "", "")),
        (np.array([b"anna", b"anna", b"", b"L\xc3\xa9a"]), ("anna", "anna", "", "Léa")),
        (
            np.array([b"anna", b"anna", b"L\xe9a", b"L\xe9a"]),
            ("anna", "anna", "L\ufffda", "L\ufffda"),
        ),
        (np.array([" a", "a", "b ", ""]), ("a", "a", "b", "")),
    ],
)
def test_groups_are_text_or_whole_numbers(save, group, expected):
    assert open_npz(save(images=GREY, labels=LABELS, group=group)).groups == expected


def test_class_names_may_be_bytes(save):
    images = open_npz(save(images=GREY, labels=LABELS, class_names=np.array([b"nevus", b"df"])))
    assert images.class_names == ("nevus", "df")


@pytest.mark.parametrize(
    "group",
    [
        np.array([0.5, 1, 2, 3]),
        np.array([1, 2, 3, np.inf]),
        np.array([True] * 4),
        np.array([1, 2, 3, 4], "M8[D]"),
    ],
)
def test_other_groups_are_refused(save, group):
    with pytest.raises(DataError, match="set.npz: group must be text or whole numbers; got"):
        open_npz(save(images=GREY, labels=LABELS, group=group))


@pytest.mark.parametrize(
    ("dtype", "kept", "value_range"),
    [
        (np.uint16, np.uint16, (0, 65535)),
        (np.float32, np.float32, (0, 1)),
        (np.float64, np.float32, (0, 1)),
        (np.float16, np.float32, (0, 1)),
    ],
)
def test_other_depths_are_kept(save, dtype, kept, value_range):
    images = open_npz(save(images=(GREY > 99).astype(dtype), labels=LABELS))
    assert images.load().pixels.dtype == kept
    assert images.value_range == value_range


def test_medmnist_splits_become_ours(save):
    column = LABELS[:, None].astype(np.uint8)
    images = open_npz(
        save(
            train_images=GREY,
            train_labels=column,
            val_images=GREY[:1],
            val_labels=column[:1],
            test_images=GREY[:2],
            test_labels=column[:2],
        )
    )
    assert images.splits == ("training",) * 4 + ("validation",) + ("holdout",) * 2
    assert images.ids[3:6] == ("train/3", "val/0", "test/0")
    assert images.labels.tolist() == [1, 0, 1, 1, 1, 1, 0]
    assert images.load().pixels.shape == (7, 1, 6, 8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": GREY}, "expected the arrays images and labels.*found pictures"),
        ({"images": GREY, "labels": LABELS[:3]}, r"labels must be integers of the shape \(4,\)"),
        ({"images": GREY, "labels": LABELS * 1.0}, "float64"),
        ({"images": GREY, "labels": np.array(list("abab"))}, "labels must be integers"),
        ({"images": GREY, "labels": np.eye(4, dtype=int)}, r"\(4, 4\)"),
        ({"images": GREY, "labels": LABELS, "class_names": np.array(["a"])}, "label 1 is out of"),
        ({"images": GREY, "labels": LABELS - 1}, "label -1 is out of range"),
        ({"images": GREY.astype(np.int64), "labels": LABELS}, "int64"),
        ({"images": COLOUR[..., :2], "labels": LABELS}, r"\(4, 6, 8, 2\)"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, "images is empty"),
        ({"images": GREY, "labels": LABELS, "group": np.array(["a"])}, "4 labels but 1 groups"),
        ({"train_images": GREY, "train_labels": LABELS, "val_images": GREY}, "no val_labels"),
        (
            {
                "train_images": GREY,
                "train_labels": LABELS,
                "val_images": COLOUR,
                "val_labels": LABELS,
            },
            "differ in shape",
        ),
    ],
)
def test_unusable_archives_say_why(save, arrays, message):
    with pytest.raises(DataError, match=rf"set.npz: .*{message}"):
        open_npz(save(**arrays))


def test_pickled_objects_are_never_loaded(save):
    path = save(images=GREY, labels=LABELS, class_names=np.array(["a", 1], dtype=object))
    with pytest.raises(DataError, match="class_names holds Python objects"):
        open_npz(path)


def test_an_absurd_size_is_refused_before_it_is_read(save, monkeypatch):
    path = save(images=GREY, labels=LABELS)
    monkeypatch.setattr(npz, "MAX_BYTES", GREY.nbytes - 1)
    with pytest.raises(DataError, match=r"images, labels would take.* GiB; expected at most"):
        open_npz(path)


def header_of(shape):
    member = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, fields)
    return member.getvalue()


def write_archive(path, images, compression=zipfile.ZIP_STORED):
    """Write an archive whose images.npy are these bytes."""
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", labels.getvalue())
    return path


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 10**6, 10**6), "would take 3,725.3 GiB"),
        ((400, 6, 8), "header promises 19200 bytes, there are 320"),
        ((-4, 6, 8), r"damaged: its header gives the shape \(-4, 6, 8\)"),
        ((0, 10**30), "not a sound .npz"),
    ],
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, shape, message):
    path = write_archive(tmp_path / "liar.npz", header_of(shape) + GREY.tobytes())
    with pytest.raises(DataError, match=f"liar.npz: .*{message}"):
        open_npz(path)


def peak_memory(act):
    """Return the most bytes that were allocated at a time while `act` ran."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BOMB = 64 * 2**20


@pytest.mark.parametrize(
    "start",
    [
        header_of((BOMB, 1, 1)),
        header_of((4, 6, 8)),
        b"\x93NUMPY\x02\x00" + BOMB.to_bytes(4, "little"),
    ],
    ids=["large array", "large member", "large header"],
)
def test_a_zip_bomb_is_never_unpacked(tmp_path, monkeypatch, start):
    monkeypatch.setattr(npz, "MAX_BYTES", BOMB // 2)
    path = write_archive(tmp_path / "bomb.npz", start + bytes(BOMB), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6

    def act():
        with pytest.raises(DataError, match=r"bomb.npz: (images, labels would take|not a sound)"):
            open_npz(path)

    assert peak_memory(act) < BOMB // 8


def test_the_sizes_of_all_arrays_are_added_up(save, monkeypatch):
    path = save(train_images=GREY, train_labels=LABELS, val_images=GREY, val_labels=LABELS)
    monkeypatch.setattr(npz, "MAX_BYTES", 2 * GREY.nbytes)
    with pytest.raises(DataError, match="would take"):
        open_npz(path)


@pytest.mark.parametrize(
    "images",
    [
        b"",
        b"GIF89a",
        b"\x93NUMPY\x09\x09" + bytes(200),
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1',",
        b"\x93NUMPY\x01\x00" + (2000).to_bytes(2, "little") + b"-" * 1999 + b"1",
    ],
)
def test_what_is_no_array_is_an_error(tmp_path, images):
    with pytest.raises(DataError, match="odd.npz: not a sound .npz archive"):
        open_npz(write_archive(tmp_path / "odd.npz", images))


def test_members_without_npy_are_no_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        for name in ("images", "labels"):
            archive.writestr(name, b"")
    with pytest.raises(DataError, match="expected the arrays.*found images, labels"):
        open_npz(tmp_path / "odd.npz")


def test_an_encrypted_archive_is_an_error(save):
    path = save(images=GREY, labels=LABELS)
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(signature, at + 1)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a sound .npz.*(encrypted|password)"):
        open_npz(path)


def test_a_damaged_archive_is_an_error(save):
    path = save(images=GREY, labels=LABELS)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not a sound .npz"):
        open_npz(path)
    content[150:170] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a sound .npz"):
        open_npz(path)


def test_a_missing_archive_is_an_error(tmp_path):
    with pytest.raises(DataError, match="set.npz does not exist"):
        open_npz(tmp_path / "set.npz")


@pytest.mark.shared_data
def test_real_archives_have_their_counts(shared_data):
    ham = open_npz(shared_data / "ham10000_28" / "ham10000_28.npz")
    assert ham.counts == {
        "akiec": 183,
        "bcc": 264,
        "bkl": 583,
        "df": 60,
        "mel": 491,
        "nv": 4323,
        "vasc": 80,
    }
    assert ham.load().spec.shape == (3, 28, 28)
    cells = open_npz(shared_data / "bccd_cells_32" / "bccd_cells_32.npz")
    assert cells.counts == {"Platelets": 320, "RBC": 3121, "WBC": 263}
    assert cells.groups is not None
    xrays = open_npz(shared_data / "pneumonia_28" / "pneumoniamnist_rebuilt.npz")
    training = xrays.subset([row for row, split in enumerate(xrays.splits) if split == "training"])
    assert list(training.counts.values()) == [1214, 3494]
