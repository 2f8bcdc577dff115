"""Writing small DICOM files for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = [1, 0, 0, 0, 1, 0]
SAGITTAL = [0, 1, 0, 0, 0, -1]


def ramp(height=4, width=4, dtype=np.int16, start=0):
    return (np.arange(height * width) + start).reshape(height, width).astype(dtype)


def dataset_of(pixels, *, syntax=ExplicitVRLittleEndian, **tags):
    """A CT data set of pixels (H, W), (frames, H, W) or (H, W, 3), other tags as given."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    if pixels.ndim == 3 and not colour:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.Modality, dataset.SOPClassUID = "CT", CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = generate_uid()
    dataset.PatientID, dataset.PatientName = "MRN4711", "DOE^JANE"
    dataset.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def write(path: Path, pixels=None, **tags) -> Path:
    """Write such a data set; `pixels` is a ramp of 4 x 4 unless given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = dataset_of(ramp() if pixels is None else pixels, **tags)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, positions, *, orientation=AXIAL, **tags) -> list[Path]:
    """Write a slice at each position, in mm along z or (x, y, z); its lowest value is their sum."""
    series = tags.pop("SeriesInstanceUID", generate_uid())
    return [
        write(
            folder / f"{number:03d}.dcm",
            ramp(start=int(np.sum(position))),
            SeriesInstanceUID=series,
            InstanceNumber=number,
            ImageOrientationPatient=orientation,
            ImagePositionPatient=[0, 0, position] if np.isscalar(position) else list(position),
            **tags,
        )
        for number, position in enumerate(positions)
    ]
