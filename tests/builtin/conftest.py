"""Small files of every kind, for the tests of the built-in sources."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_picture():
    """Write a grey picture of 8 x 8 pixels."""

    def write(path, value=5):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), value).save(path)

    return write


@pytest.fixture
def write_volume():
    """Write a NIfTI volume of 3 axial slices of 5 x 4 pixels."""
    import nibabel

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)

    return write


@pytest.fixture
def write_scan():
    """Write a CT slice of 4 x 4 pixels at a position, in mm, in a series of its own unless told."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def write(path, position=0, series=None, frames=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.Modality = series or generate_uid(), "CT"
        file.ImagePositionPatient = [0, 0, position]
        file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        file.PhotometricInterpretation, file.SamplesPerPixel = "MONOCHROME2", 1
        file.Rows = file.Columns = 4
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
        if frames:
            file.NumberOfFrames = frames
        values = np.arange(16 * (frames or 1), dtype=np.int16) + position
        file.PixelData = values.tobytes()
        file.save_as(path, enforce_file_format=True)

    return write
