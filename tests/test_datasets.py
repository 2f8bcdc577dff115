"""Any map-style dataset in, items of the same form out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from ganaug.datasets import ItemFormat, labelled_images
from ganaug.errors import DataError
from ganaug.spec import LabelledImages

UINT8 = np.arange(48, dtype=np.uint8)


class Pairs(Dataset):
    """(image, label) items that count how often they are read."""

    def __init__(self, images, labels, **attributes):
        self.items = list(zip(images, labels, strict=True))
        self.reads = 0
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.reads += 1
        return self.items[index]


def images_of(n):
    return [np.full((4, 4), row, dtype=np.uint8) for row in range(n)]


IMAGES = {
    "PIL L": (Image.fromarray(UINT8.reshape(6, 8)), (1, 6, 8), np.uint8),
    "PIL RGB": (Image.fromarray(UINT8.reshape(4, 4, 3)), (3, 4, 4), np.uint8),
    "PIL I;16": (Image.fromarray(UINT8.reshape(6, 8).astype(np.uint16)), (1, 6, 8), np.uint16),
    "tensor HW": (torch.tensor(UINT8).reshape(6, 8), (1, 6, 8), np.uint8),
    "tensor CHW": (torch.tensor(UINT8).reshape(3, 4, 4), (3, 4, 4), np.uint8),
    "tensor CH3": (torch.tensor(UINT8).reshape(1, 16, 3), (1, 16, 3), np.uint8),
    "tensor uint16": (torch.tensor(UINT8).reshape(3, 4, 4).to(torch.uint16), (3, 4, 4), np.uint16),
    "tensor float": (torch.rand(3, 4, 4), (3, 4, 4), np.float32),
    "tensor half": (torch.rand(3, 4, 4).half(), (3, 4, 4), np.float32),
    "tensor bfloat16": (torch.rand(3, 4, 4).bfloat16(), (3, 4, 4), np.float32),
    "tensor double": (torch.rand(1, 4, 4).double(), (1, 4, 4), np.float32),
    "array HW": (UINT8.reshape(6, 8), (1, 6, 8), np.uint8),
    "array HW3": (UINT8.reshape(4, 4, 3), (3, 4, 4), np.uint8),
    "array HW1": (UINT8.reshape(6, 8, 1), (1, 6, 8), np.uint8),
    "array CHW": (UINT8.reshape(3, 4, 4), (3, 4, 4), np.uint8),
    "array double": (np.random.default_rng(0).random((1, 4, 4)), (1, 4, 4), np.float32),
    "array half": (UINT8.reshape(3, 4, 4).astype(np.float16) / 64, (3, 4, 4), np.float32),
    "array uint16": (UINT8.reshape(3, 4, 4).astype(np.uint16), (3, 4, 4), np.uint16),
}


@pytest.mark.parametrize(("image", "shape", "dtype"), IMAGES.values(), ids=IMAGES)
def test_any_kind_of_image_comes_in_as_pixels_and_goes_out_as_it_was(image, shape, dtype):
    dataset = [(image, 0), (image, 0)]
    images = labelled_images(dataset).load()
    assert images.spec.shape == shape
    assert images.pixels.dtype == dtype
    out = ItemFormat.of(dataset).images(images.pixels[0][None])[0]
    assert type(out) is type(image) or isinstance(image, Image.Image)
    if isinstance(image, Image.Image):
        assert (out.mode, out.size) == (image.mode, image.size)
    else:
        assert (out.dtype, out.shape) == (image.dtype, image.shape)
    as_array = [
        np.asarray(x.double() if isinstance(x, torch.Tensor) else x, dtype=np.float64)
        for x in (out, image)
    ]
    np.testing.assert_allclose(*as_array, rtol=1e-6)


LABELS = {
    "int": 2,
    "numpy": np.uint8(2),
    "tensor": torch.tensor(2),
    "int32 tensor": torch.tensor([2], dtype=torch.int32),
    "MedMNIST": np.array([2], dtype=np.uint8),
    "0-d array": np.array(2),
}


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("container", [tuple, list])
def test_any_kind_of_label_comes_in_and_goes_out_as_it_was(label, container):
    image = torch.zeros(1, 4, 4)
    dataset = [container((image, label))]
    images = labelled_images(dataset)
    assert images.labels.tolist() == [2]
    assert images.class_names == ("0", "1", "2")
    item = ItemFormat.of(dataset).items([image], [1])[0]
    assert type(item) is container
    assert type(item[1]) is type(label)
    assert getattr(item[1], "dtype", None) == getattr(label, "dtype", None)
    assert getattr(item[1], "shape", ()) == getattr(label, "shape", ())
    assert np.asarray(item[1]).item() == 1


@pytest.mark.parametrize(
    "label", [1.0, "1", None, True, torch.tensor(1.0), torch.tensor([0, 1]), np.array([0, 1])]
)
def test_a_label_that_is_no_integer_names_its_row(label):
    with pytest.raises(DataError, match="Row 1: a label must be an integer"):
        labelled_images([(torch.zeros(1, 4, 4), 0), (torch.zeros(1, 4, 4), label)])


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_out_of_range_names_its_row(label, listed):
    more = {"targets": [0, 1, label]} if listed else {}
    dataset = Pairs(images_of(3), [0, 1, label], classes=["a", "b"], **more)
    with pytest.raises(DataError, match=f"Row 2: the label {label} is out of range"):
        labelled_images(dataset)


def test_listed_labels_are_found_without_reading_the_items():
    dataset = Pairs(images_of(10), [0, 1] * 5, targets=[0, 1] * 5, classes=["a", "b"])
    nested = Subset(Subset(dataset, range(1, 10)), [8, 0, 1])
    images = labelled_images(nested)
    assert dataset.reads == 1
    assert images.labels.tolist() == [1, 1, 0]
    assert images.class_names == ("a", "b")
    assert images.load().pixels[:, 0, 0, 0].tolist() == [9, 1, 2]


@pytest.mark.parametrize("labels", [np.array([[0], [1], [0]]), torch.tensor([0, 1, 0])])
def test_lists_of_labels_may_be_arrays_or_tensors(labels):
    dataset = Pairs(images_of(3), [0, 1, 0])
    dataset.labels = labels
    assert labelled_images(dataset).labels.tolist() == [0, 1, 0]
    assert dataset.reads == 1


def test_without_listed_labels_every_item_is_read_once_and_kept():
    dataset = Pairs(images_of(6), [0, 1] * 3)
    images = labelled_images(dataset)
    before = dataset.reads
    assert images.load().pixels[:, 0, 0, 0].tolist() == list(range(6))
    assert dataset.reads == before <= 7


def test_a_target_transform_is_heeded():
    dataset = Pairs(
        images_of(4), [3, 2, 1, 0], targets=[3, 1, 2, 0], target_transform=lambda label: label
    )
    assert labelled_images(dataset).labels.tolist() == [3, 2, 1, 0]


def test_listed_labels_that_disagree_with_an_item_name_its_row():
    images = labelled_images(Pairs(images_of(3), [0, 1, 1], targets=[0, 1, 0]))
    with pytest.raises(DataError, match="Row 2: the item's label is 1"):
        images.load()


def test_concatenated_datasets_keep_their_classes():
    first = Pairs(images_of(2), [0, 1], targets=[0, 1], classes=["a", "b"])
    second = Pairs(images_of(3), [1, 1, 0], targets=[1, 1, 0], classes=["a", "b"])
    images = labelled_images(ConcatDataset([first, Subset(second, [0, 2])]))
    assert images.counts == {"a": 2, "b": 2}
    other = Pairs(images_of(1), [0], classes=["c"])
    with pytest.raises(DataError, match="ConcatDataset must have the same classes"):
        labelled_images(ConcatDataset([first, other]))


def test_tensor_datasets():
    dataset = TensorDataset(torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 2, 0, 0]))
    images = labelled_images(dataset)
    assert images.counts == {"0": 3, "1": 1, "2": 1}
    np.testing.assert_array_equal(images.load().pixels, dataset.tensors[0].numpy())


def test_torchvision_fake_data():
    dataset = torchvision.datasets.FakeData(6, (3, 8, 8), num_classes=3)
    images = labelled_images(dataset)
    assert images.labels.tolist() == [int(dataset[row][1]) for row in range(6)]
    assert images.load().spec.shape == (3, 8, 8)


def test_torchvision_image_folder(tmp_path):
    for name, count in (("benign", 3), ("malignant", 1)):
        (tmp_path / name).mkdir()
        for row in range(count):
            Image.new("L", (5, 4), row).save(tmp_path / name / f"{row}.png")
    dataset = torchvision.datasets.ImageFolder(tmp_path)
    images = labelled_images(dataset)
    assert images.counts == {"benign": 3, "malignant": 1}
    assert images.load().spec.shape == (3, 4, 5)
    form = ItemFormat.of(dataset)
    image, label = form.items(form.images(images.pixels[0][None]), [1])[0]
    assert (image.mode, image.size, label) == ("RGB", (5, 4), 1)


def test_monai_dicts_keep_their_tensor_class():
    monai = pytest.importorskip("monai")
    rows = [{"image": np.full((1, 6, 6), row, dtype=np.float32), "label": row} for row in range(3)]
    to_tensor = monai.transforms.Compose(
        [
            monai.transforms.ScaleIntensityRanged("image", 0, 2, 0, 1),
            monai.transforms.EnsureTyped("image"),
        ]
    )
    dataset = monai.data.Dataset(rows, to_tensor)
    images = labelled_images(dataset).load()
    assert images.pixels[:, 0, 0, 0].tolist() == [0, 0.5, 1]
    form = ItemFormat.of(dataset)
    item = form.items(form.images(images.pixels[2][None]), [2])[0]
    assert isinstance(item["image"], monai.data.MetaTensor)
    batch = monai.data.list_data_collate([dataset[0], item])
    assert batch["image"].shape == (2, 1, 6, 6)
    assert batch["label"].tolist() == [0, 2]


class HuggingFace:
    """As `datasets.Dataset`: columns by name, rows by number, named labels in its features."""

    column_names = ("img", "label")

    def __init__(self, images, labels, names):
        self.columns = {"img": images, "label": labels}
        self.features = {"img": object(), "label": type("ClassLabel", (), {"names": names})()}
        self.rows_read = 0

    def __len__(self):
        return len(self.columns["label"])

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        self.rows_read += 1
        return {name: column[key] for name, column in self.columns.items()}


def test_hugging_face_datasets():
    pictures = [Image.new("L", (4, 4), row) for row in range(3)]
    dataset = HuggingFace(pictures, [1, 0, 1], ["cat", "dog"])
    images = labelled_images(dataset)
    assert images.counts == {"cat": 1, "dog": 2}
    assert dataset.rows_read == 1
    form = ItemFormat.of(dataset)
    assert list(form.items(["picture"], [0])[0].items()) == [("img", "picture"), ("label", 0)]


def test_medmnist_names_its_classes():
    info = {"label": {"1": "pneumonia", "0": "normal"}}
    dataset = Pairs(images_of(2), [np.array([0]), np.array([1])], info=info)
    assert labelled_images(dataset).class_names == ("normal", "pneumonia")


def test_other_keys_of_a_dict_come_in_but_cannot_go_out():
    dataset = [{"label": 0, "age": 71, "image": torch.zeros(1, 4, 4)}]
    assert len(labelled_images(dataset)) == 1
    with pytest.raises(DataError, match="besides image and label: 'age'.*Drop"):
        ItemFormat.of(dataset).items([], [])


def test_the_order_of_keys_is_kept():
    form = ItemFormat.of([{"labels": 0, "pixel_values": torch.zeros(1, 4, 4)}])
    assert list(form.items(["image"], [3])[0].items()) == [("labels", 3), ("pixel_values", "image")]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((torch.zeros(1, 4, 4), 0, "more"), "a tuple of 3"),
        (torch.zeros(1, 4, 4), "got a Tensor"),
        ({"image": torch.zeros(1, 4, 4)}, "one label key"),
        ({"image": 0, "img": 0, "label": 0}, "one image key"),
        (("image.png", 0), "got str"),
        ((torch.zeros(4, 4, 4), 0), "1 or 3 channels"),
        ((np.zeros((8, 8, 4), np.uint8), 0), "1 or 3 channels"),
        ((torch.zeros(8), 0), "1 or 3 channels"),
        ((torch.zeros(()), 0), "1 or 3 channels"),
        ((torch.zeros(1, 4, 4, dtype=torch.int64), 0), "int64"),
        ((Image.new("RGBA", (4, 4)), 0), "RGBA.*convert"),
    ],
)
def test_an_unusable_item_names_its_row(item, message):
    with pytest.raises(DataError, match=f"Row 0: .*{message}"):
        labelled_images([item])


def test_what_is_no_map_style_dataset_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield torch.zeros(1, 4, 4), 0

    with pytest.raises(DataError, match="map-style"):
        labelled_images(Stream())
    with pytest.raises(DataError, match="empty"):
        labelled_images([])


def test_labelled_images_pass_through_with_groups_and_range():
    images = LabelledImages(
        pixels=np.zeros((2, 1, 4, 4), np.uint16),
        labels=np.array([0, 0]),
        class_names=("image",),
        value_range=(0, 65535),
    )
    assert labelled_images(images) is images
    changed = labelled_images(images, groups=["a", None], value_range=(0, 4095))
    assert (changed.groups, changed.value_range) == (("a", ""), (0, 4095))
    assert ItemFormat.of(images).images(images.pixels[0][None])[0].shape == (1, 4, 4)


def test_groups_are_text_and_blank_where_there_is_none():
    dataset = TensorDataset(torch.zeros(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64))
    groups = np.array([7, None, float("nan"), ""], dtype=object)
    assert labelled_images(dataset, groups=groups).groups == ("7", "", "", "")
    with pytest.raises(DataError, match="4 labels but 3 groups"):
        labelled_images(dataset, groups=[1, 2, 3])


def test_value_range_follows_the_dtype_unless_told():
    dataset = TensorDataset(torch.zeros(1, 1, 4, 4), torch.tensor([0]))
    assert labelled_images(dataset).value_range == (0, 1)
    assert labelled_images(dataset, value_range=(-1, 1)).value_range == (-1, 1)
    assert labelled_images([(IMAGES["tensor uint16"][0], 0)]).value_range == (0, 65535)
    assert ItemFormat.of(dataset, (-1, 1)).value_range == (-1, 1)


@pytest.mark.parametrize("image", [entry[0] for entry in IMAGES.values()], ids=IMAGES)
def test_a_format_can_be_pickled_and_its_items_collated(image):
    form = pickle.loads(pickle.dumps(ItemFormat.of([(image, torch.tensor(1))])))
    assert form == ItemFormat.of([(image, torch.tensor(1))])
    pixels = np.zeros((form.channels, 4, 4), form.pixel_dtype)
    if not isinstance(image, Image.Image):
        images, labels = default_collate([form.items(form.images(pixels[None]), [0])[0]] * 2)
        assert (len(images), labels.tolist()) == (2, [0, 0])
