"""Memory of reading a large volume: 2,000 slices of 512x512 at 16 bits, 1,000 MiB as they are.

Writes a NIfTI volume (compressed unless told otherwise) or a DICOM series into a temporary
folder, and reads it in a process of its own, in three ways: every slice once at full size, as
`ganaug data inspect` does; `load(size=64)`, as `ganaug fit --size 64` does; and `load()`, which
keeps all slices, so that it needs those 1,000 MiB beside what reading takes.

Prints the peak of resident memory, what the imports alone take of it, and seconds.

    python benchmarks/streamed_reading.py [--format nii.gz] [--slices 2000] [--size 512] [--axis 2]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_MB = 1500
WAYS: dict[str, Callable[[Any], object]] = {
    "every slice once": lambda images: [images.pixels[row].mean() for row in range(len(images))],
    "load(size=64)": lambda images: images.load(size=64),
    "load()": lambda images: images.load(),
}


def slices(count: int, size: int) -> Iterator[np.ndarray]:
    """Yield noisy discs, int16 (size, size), as CT values are."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    noise = rng.integers(-20, 20, (size, size), dtype=np.int16)
    for number in range(count):
        radius = 0.3 + 0.6 * np.sin(np.pi * (number + 1) / (count + 1))
        disc = np.where(x**2 + y**2 < radius**2, 40, -1000).astype(np.int16)
        yield disc + np.roll(noise, number, axis=1)


def write_nifti(path: Path, count: int, size: int) -> Path:
    import nibabel as nib
    from nibabel.openers import ImageOpener

    header = nib.Nifti1Header()
    header.set_data_shape((size, size, count))
    header.set_data_dtype(np.int16)
    header.set_sform(np.diag([-1.0, -1.0, 1.0, 1.0]), code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_slope_inter(1.0, 0.5)  # so that values are decoded as floats
    with ImageOpener(str(path), "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for values in slices(count, size):
            file.write(values.tobytes())  # x runs fastest
    return path


def write_dicom(folder: Path, count: int, size: int) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    series, study = generate_uid(), generate_uid()
    for number, values in enumerate(slices(count, size)):
        file = Dataset()
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
        file.SeriesInstanceUID, file.StudyInstanceUID, file.Modality = series, study, "CT"
        file.ImagePositionPatient = [0, 0, number]
        file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        file.PixelSpacing, file.InstanceNumber = [1, 1], number + 1
        file.RescaleSlope, file.RescaleIntercept = 1, 0.5
        file.Rows = file.Columns = size
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
        file.PixelRepresentation = 1
        file.PixelData = values.tobytes()
        file.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)
    return folder


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def read(location: Path, axis: int, way: str) -> tuple[float, float, float]:
    """Return the peak before and after reading, in MiB, and the seconds that it took."""
    import monai.data
    import torch

    from ganaug import Registry
    from ganaug.sources import open_images

    assert monai.data
    torch.set_num_threads(1)
    registry = Registry.load()
    before, started = peak_mb(), time.perf_counter()
    WAYS[way](open_images(str(location), registry, {"axis": str(axis)}))
    return before, peak_mb(), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", choices=("nii", "nii.gz", "dicom"), default="nii.gz")
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--axis", type=int, choices=(0, 1, 2), default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        location = Path(temporary) / f"volume.{given.format}"
        write = write_dicom if given.format == "dicom" else write_nifti
        write(location, given.slices, given.size)
        for way in WAYS:
            # A peak never falls, so each way has a process of its own.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                before, peak, seconds = pool.submit(read, location, given.axis, way).result()
            print(
                f"{given.format:7} {way:17} peak {peak:6.0f} MiB, {before:4.0f} of them imports; "
                f"{seconds:5.1f} s",
                flush=True,
            )
    print(f"wanted: under {LIMIT_MB} MiB for all that does not keep the slices at full size")


if __name__ == "__main__":
    main()
