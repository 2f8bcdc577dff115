"""Frames as they are meant to be seen: their values, windows, colours and codecs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from builtin.dicom_files import dataset_of, ramp, write
from ganaug.builtin.data.dicom import open_dicom
from ganaug.builtin.data.dicom_checks import MAX_BYTES
from ganaug.builtin.data.dicom_codestream import codestream_size
from ganaug.builtin.data.dicom_header import read_header
from ganaug.builtin.data.dicom_reader import DicomReader, read_frame
from ganaug.builtin.data.loading import image_loader
from ganaug.builtin.data.options import DicomConfig
from ganaug.errors import ConfigError, DataError


def values(path, frame=0):
    return read_frame(read_header(path), frame)[0]


def image(path, window="auto", row=0):
    return open_dicom(DicomConfig(window=window), path).pixels[row]


def grey8(*numbers):
    return np.array([numbers], np.uint8)


def test_monai_loads_a_file_upright_through_the_reader(tmp_path):
    path = write(tmp_path / "a", ramp(3, 5))
    loaded = image_loader()(path, reader=DicomReader())
    assert tuple(loaded.shape) == (1, 3, 5)
    assert loaded.numpy()[0].tolist() == ramp(3, 5).tolist()


def test_values_are_rescaled_and_may_be_signed(tmp_path):
    pixels = ramp(start=-8)
    path = write(tmp_path / "a", pixels, RescaleSlope=2, RescaleIntercept=-1024)
    assert values(path).dtype == np.float32
    assert values(path)[0].tolist() == (pixels * 2.0 - 1024).tolist()


def test_each_frame_has_its_own_slope_and_intercept(tmp_path):
    groups = []
    for slope in (1, 10):
        transformation, frame = Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, 1
        frame.PixelValueTransformationSequence = [transformation]
        groups.append(frame)
    path = write(
        tmp_path / "a", np.stack([ramp(), ramp()]), PerFrameFunctionalGroupsSequence=groups
    )
    assert values(path, 1).max() == 15 * 10 + 1
    images = open_dicom(DicomConfig(), path)
    assert len(images) == 2
    assert images.ids == ("a#0000", "a#0001")
    assert images.groups[0] == images.groups[1]


def test_a_modality_table_replaces_slope_and_intercept(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 0, 16], "US"
    table.add_new("LUTData", "US", [100, 300, 200, 400])
    path = write(tmp_path / "a", grey8(0, 1, 2, 3), ModalityLUTSequence=[table])
    assert values(path)[0].tolist() == [[100.0, 300.0, 200.0, 400.0]]


def test_the_files_own_window_is_linear_as_the_standard_defines_it(tmp_path):
    path = write(tmp_path / "a", ramp(1, 12), WindowCenter=[5, 99], WindowWidth=[11, 9])
    # 5 - .5 plus and minus (11 - 1) / 2: from -.5 to 9.5, the first of two windows
    assert image(path)[0, 0, [0, 9, 10]].tolist() == [round(65535 * p) for p in (0.05, 0.95, 1)]


def test_an_exact_window_has_no_half_in_it(tmp_path):
    tags = {"WindowCenter": 5, "WindowWidth": 10, "VOILUTFunction": "LINEAR_EXACT"}
    path = write(tmp_path / "a", ramp(1, 12), **tags)
    assert image(path)[0, 0, [0, 5, 10]].tolist() == [0, 32768, 65535]


def test_numbers_and_full_go_before_the_files_own_window(tmp_path):
    path = write(tmp_path / "a", ramp(1, 11), WindowCenter=1000, WindowWidth=5)
    assert image(path, "5,4")[0, 0, [3, 5, 7]].tolist() == [0, 32768, 65535]
    assert image(path, "full")[0, 0, [0, 5, 10]].tolist() == [0, 32768, 65535]


def test_a_table_of_values_of_interest_is_applied_without_a_window(tmp_path):
    table = Dataset()
    table.LUTDescriptor = [4, 0, 8]
    table.add_new("LUTData", "US", [255, 0, 51, 255])
    path = write(tmp_path / "a", grey8(0, 1, 2, 3).astype(np.uint16), VOILUTSequence=[table])
    assert image(path)[0, 0].tolist() == [65535, 0, 13107, 65535]


def test_monochrome1_is_turned_over(tmp_path):
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    path = write(tmp_path / "a", grey8(0, 100, 255), **tags)
    assert image(path)[0, 0].tolist() == [255, 155, 0]
    path = write(tmp_path / "b", ramp(1, 3), **tags)
    assert image(path)[0, 0].tolist() == [65535, 32767, 0]


def test_padding_is_black_and_does_not_move_the_window(tmp_path):
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        tags = {"PhotometricInterpretation": photometric, "PixelPaddingValue": -2000}
        path = write(tmp_path / photometric, np.array([[-2000, 0, 10]], np.int16), **tags)
        assert image(path)[0, 0, 0] == 0
        assert sorted(image(path)[0, 0, 1:].tolist()) == [0, 65535]


def test_plain_eight_bit_grey_stays_as_it_is(tmp_path):
    path = write(tmp_path / "a", grey8(3, 100))
    assert image(path).dtype == np.uint8
    assert image(path).tolist() == [[[3, 100]]]
    assert image(path, "full").dtype == np.uint16


def test_a_preset_of_ct_is_refused_for_another_modality(tmp_path):
    path = write(tmp_path / "a", Modality="MR")
    with pytest.raises(ConfigError, match="brain is in Hounsfield units, for CT"):
        image(path, "brain")


def test_rgb_is_channels_first(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert image(write(tmp_path / "a", pixels)).tolist() == pixels.transpose(2, 0, 1).tolist()


def test_ybr_becomes_rgb(tmp_path):
    red = np.array([[[76, 85, 255]]], np.uint8)
    path = write(tmp_path / "a", np.tile(red, (2, 2, 1)), PhotometricInterpretation="YBR_FULL")
    assert image(path)[:, 0, 0] == pytest.approx([254, 0, 0], abs=2)


def test_a_palette_becomes_rgb_of_eight_bits(tmp_path):
    tags = {}
    for name, entries in (("Red", [0, 65535]), ("Green", [0, 32768]), ("Blue", [257, 0])):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = np.array(entries, np.uint16).tobytes()
    path = write(tmp_path / "a", grey8(0, 1), PhotometricInterpretation="PALETTE COLOR", **tags)
    assert image(path).dtype == np.uint8
    assert image(path)[:, 0].T.tolist() == [[0, 0, 1], [255, 128, 0]]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_compressed_files_decode_to_the_same_values(tmp_path, syntax):
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls")
    pixels = ramp(8, 8, np.uint16)
    dataset = dataset_of(pixels)
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
    else:
        dataset.compress(syntax)
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    assert values(tmp_path / "a")[0].tolist() == pixels.tolist()


def test_big_endian_decodes_to_the_same_values(tmp_path):
    dataset = dataset_of(ramp().astype(">i2"), syntax=ExplicitVRBigEndian)
    dataset["PixelData"].VR = "OW"
    dcmwrite(tmp_path / "a", dataset, enforce_file_format=True)
    assert values(tmp_path / "a")[0].tolist() == ramp().tolist()


def test_a_file_without_preamble_and_meta_information_is_read(tmp_path):
    dataset = dataset_of(ramp())
    del dataset.file_meta
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=True, little_endian=True)
    assert values(tmp_path / "a.dcm")[0].tolist() == ramp().tolist()


def test_a_missing_codec_names_the_extra_and_the_syntax(tmp_path, monkeypatch):
    pytest.importorskip("jpeg_ls")
    dataset = dataset_of(ramp(8, 8, np.uint16))
    dataset.compress(JPEGLSLossless)
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    monkeypatch.setattr("ganaug.builtin.data.dicom_checks.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"JPEG-LS Lossless.*pip install 'ganaug\[dicom\]'"):
        read_header(tmp_path / "a")


def test_size_is_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    def fail(*arguments):
        raise AssertionError("decoded")

    monkeypatch.setattr("ganaug.builtin.data.dicom_reader.read_stored", fail)
    path = write(tmp_path / "a", Rows=65535, Columns=65535, NumberOfFrames=100)
    assert MAX_BYTES < 65535 * 65535 * 200
    with pytest.raises(DataError, match="65535 rows x 65535 columns x 100 frames x 1 samples"):
        image(path)


def test_a_deflated_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    dataset = dataset_of(np.zeros((512, 512), np.int16), syntax=DeflatedExplicitVRLittleEndian)
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    monkeypatch.setattr("ganaug.builtin.data.dicom_checks.MAX_BYTES", 2**16)
    with pytest.raises(DataError, match="unpacks to more than"):
        read_header(tmp_path / "a")


def test_truncated_pixels_are_refused_at_the_header(tmp_path):
    path = write(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match="a: the pixels are truncated: expected 32 bytes, found 26"):
        read_header(path)


def test_damaged_compressed_pixels_are_one_line_that_names_the_file(tmp_path):
    dataset = dataset_of(ramp(8, 8, np.uint16))
    dataset.compress(RLELossless)
    dataset.PixelData = dataset.PixelData[:40] + bytes(len(dataset.PixelData) - 40)
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    with pytest.raises(DataError, match=r"a: frame 0 cannot be decoded") as caught:
        values(tmp_path / "a")
    assert "\n" not in str(caught.value)


def encapsulated(path, stream, syntax, **tags):
    """A file of 8 x 8 pixels of 16 bits whose compressed frame is `stream`."""
    dataset = dataset_of(ramp(8, 8, np.uint16), syntax=syntax, **tags)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


def jpeg(rows, columns, samples, start=0xC3):
    comment = b"\xff\xfe\x00\x04ab\xff"  # and a fill byte before the next marker
    sizes = rows.to_bytes(2) + columns.to_bytes(2) + bytes([samples])
    return b"\xff\xd8" + comment + bytes([0xFF, start]) + b"\x00\x0b\x10" + sizes + bytes(8)


def jpeg_2000(rows, columns, samples):
    right, bottom = columns + 3, rows + 2  # the image may begin away from 0
    numbers = b"".join(n.to_bytes(4) for n in (right, bottom, 3, 2, 99, 99, 0, 0))
    return b"\xff\x4f\xff\x51\x00\x29\x00\x00" + numbers + samples.to_bytes(2) + bytes(8)


def boxed(stream):
    boxes = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00\x00\x00\x0aftypXX"
    return boxes + b"\x00\x00\x00\x00jp2c" + stream


@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        (jpeg(60000, 60000, 1), JPEGLosslessSV1),
        (jpeg(8, 8, 3), JPEGLosslessSV1),
        (jpeg(60000, 60000, 1, start=0xF7), JPEGLSLossless),
        (jpeg_2000(60000, 60000, 1), JPEG2000Lossless),
        (boxed(jpeg_2000(60000, 60000, 1)), JPEG2000Lossless),
    ],
)
def test_a_frame_larger_than_its_header_says_is_refused_before_decoding(tmp_path, stream, syntax):
    if not get_decoder(syntax).is_available:
        pytest.skip("needs a codec")
    says = (
        r"the header says 8 rows x 8 columns x 1 samples, but .* says (60000 rows x 60000|8 .* 3)"
    )
    with pytest.raises(DataError, match=says):
        read_header(encapsulated(tmp_path / "a", stream, syntax))


@pytest.mark.parametrize("wrap", [jpeg, jpeg_2000, lambda *size: boxed(jpeg_2000(*size))])
def test_the_size_of_a_codestream_is_read(wrap):
    stream = wrap(300, 20, 3)
    assert codestream_size(stream) == (300, 20, 3)
    assert codestream_size(stream[:10]) is None
    assert codestream_size(b"") is None


def test_every_frame_is_checked_before_it_is_decoded(tmp_path):
    pytest.importorskip("jpeg_ls")
    dataset = dataset_of(np.stack([ramp(8, 8, np.uint16)] * 2))
    dataset.compress(JPEGLSLossless)
    first = get_frame(dataset.PixelData, 0, number_of_frames=2)
    dataset.PixelData = encapsulate([first, jpeg(60000, 60000, 1, start=0xF7)])
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    header = read_header(tmp_path / "a")
    assert read_frame(header, 0)[0].shape == (1, 8, 8)
    with pytest.raises(DataError, match="a: the header says 8 rows"):
        read_frame(header, 1)


def test_rle_of_more_bytes_than_its_pixels_need_is_refused(tmp_path):
    stream = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56) + b"\x81\0" * 999
    path = encapsulated(tmp_path / "a", stream, RLELossless)
    with pytest.raises(DataError, match="says 128 bytes a frame, .* found 2,062"):
        read_header(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_said_to_be(tmp_path, syntax, part):
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    dataset = dataset_of(pixels)
    if syntax == RLELossless:
        dataset.compress(syntax)
        dataset.save_as(tmp_path / "a", enforce_file_format=True)
    elif syntax == JPEG2000Lossless:
        encapsulated(tmp_path / "a", jpeg_2000(8, 8, 1) + bytes(5000), syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(tmp_path / "a", enforce_file_format=True)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: int(len(content) * part)])
    begun = syntax != DeflatedExplicitVRLittleEndian and part >= 0.5
    with pytest.raises(DataError, match="the pixels are truncated" if begun else "truncated"):
        read_header(tmp_path / "a")


def test_a_file_that_ends_before_its_pixels_may_be_truncated(tmp_path):
    path = write(tmp_path / "a")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")])
    with pytest.raises(DataError, match="no pixels: it is truncated, or they were taken out"):
        read_header(path)
    path.write_bytes(content[:300])
    with pytest.raises(DataError, match="truncated|no pixels"):
        read_header(path)


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [("BitsAllocated", 12, "1, 8, 16, 32 or 64"), ("NumberOfFrames", -5, "1 or more")],
)
def test_counts_that_cannot_be_say_what_is_expected(tmp_path, tag, value, expected):
    path = write(tmp_path / "a", **{tag: value})
    with pytest.raises(DataError, match=f"{tag} is {value}; expected {expected}. Repair"):
        read_header(path)


def test_values_too_large_for_float32_are_one_error_and_no_warning(tmp_path):
    with pytest.raises(DataError, match="not finite"):
        values(write(tmp_path / "a", RescaleSlope=1, RescaleIntercept="1e40"))


def test_a_codec_that_fails_is_not_quoted(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("gdcm: 'NoneType' object has no attribute 'GetPixelFormat'")

    path = write(tmp_path / "a")
    header = read_header(path)
    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", fail)
    with pytest.raises(DataError, match=r"\(transfer syntax Explicit VR.*\)\. Copy") as caught:
        read_frame(header)
    assert "NoneType" not in str(caught.value)


def test_values_that_are_not_finite_are_refused(tmp_path):
    dataset = dataset_of(ramp(2, 2, np.int32))
    del dataset.PixelData
    dataset.FloatPixelData = np.array([1, 2, np.nan, 4], np.float32).tobytes()
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    with pytest.raises(DataError, match="not finite"):
        values(tmp_path / "a")


@pytest.mark.parametrize(("bits", "highest"), [(16, 65535), (12, 4095)])
def test_colour_of_more_than_eight_bits_fills_sixteen(tmp_path, bits, highest):
    pixels = np.array([[[0, highest, highest // 3]]], np.uint16)
    path = write(tmp_path / "a", pixels, BitsStored=bits, HighBit=bits - 1)
    assert image(path).dtype == np.uint16
    assert image(path)[:, 0, 0].tolist() == [0, 65535, 21845]


@pytest.mark.shared_data
def test_real_files_of_every_kind_become_images(shared_data):
    folder = shared_data / "dicom_dev" / "single"
    for name, kind in {
        "examples_palette.dcm": (3, np.uint8),
        "SC_ybr_full_422_uncompressed.dcm": (3, np.uint8),
        "SC_rgb_rle_16bit_2frame.dcm": (3, np.uint16),
        "MR_small_bigendian.dcm": (1, np.uint16),
        "RG3_J2KI.dcm": (1, np.uint16),
        "vlut_04.dcm": (1, np.uint16),
        "image_dfl.dcm": (1, np.uint8),
    }.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "DICOM: 1 of 1 files are ultrasound or screen")
            pixels = image(folder / name)
        assert (len(pixels), pixels.dtype) == kind
        assert pixels.max() > pixels.min()
