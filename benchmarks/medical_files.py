"""Whether every DICOM and NIfTI file of a folder opens to what the folder's manifest.csv says.

DICOM: dtype, shape, lowest and highest stored value, then the values rescaled by the manifest's
own slope and intercept; files that the manifest calls undecodable must decode, with the codecs of
``ganaug[dicom]``, or give a one-line error. NIfTI: shape, lowest and highest value of all volumes.

    python benchmarks/medical_files.py FOLDER... [--quiet]
"""

from __future__ import annotations

import argparse
import csv
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganaug.builtin.data.dicom import is_dicom
from ganaug.builtin.data.dicom_header import Header, read_header
from ganaug.builtin.data.dicom_reader import read_frame, read_stored
from ganaug.builtin.data.nifti import NiftiStack
from ganaug.builtin.data.nifti_layout import read_layout
from ganaug.builtin.data.options import NiftiConfig
from ganaug.errors import DataError

Row = dict[str, str]

#: What the DICOM manifest says of decoded pixels: dtype(shape) min lowest max highest.
FACTS = re.compile(r"([<>]?\w+)\(([\d, ]+)\) min (-?\d+) max (-?\d+)")


def stored_values(header: Header) -> NDArray[np.generic]:
    """All frames as the file stores them: (H, W), (frames, H, W) or with samples last."""
    frames = np.stack([read_stored(header, k) for k in range(header.frames)])
    return frames[0] if header.frames == 1 else frames


def problems_of_dicom(path: Path, row: Row) -> list[str]:
    header = read_header(path)
    stored, found = stored_values(header), []
    if facts := FACTS.match(row["decode_with_pydicom_numpy_pillow"]):
        dtype, shape = np.dtype(facts[1]).newbyteorder("="), tuple(map(int, facts[2].split(",")))
        expected = (dtype, shape, float(facts[3]), float(facts[4]))
        got = (stored.dtype, stored.shape, float(stored.min()), float(stored.max()))
        if expected != got:
            found.append(f"expected {expected}, got {got}")
    if not header.is_colour:
        slope, intercept = (float(row[name] or d) for name, d in (("slope", 1), ("intercept", 0)))
        values = np.stack([read_frame(header, k)[0][0] for k in range(header.frames)])
        rescaled = (stored * slope + intercept).reshape(values.shape)
        if not np.allclose(values, rescaled, rtol=1e-6):
            found.append(f"rescaled values differ by {np.abs(values - rescaled).max()}")
    return found


def problems_of_nifti(path: Path, row: Row) -> list[str]:
    shape = tuple(map(int, row["shape"].split("x")))
    volumes = shape[3] if len(shape) > 3 else 1
    lowest, highest = np.inf, -np.inf
    for volume in range(volumes):
        stack = NiftiStack(path, path.name, NiftiConfig(volume=volume))
        for k in range(len(stack)):
            values = stack.values(k)
            lowest, highest = min(lowest, values.min()), max(highest, values.max())
    stored = read_layout(path, NiftiConfig(volume=0)).stored
    found = [] if stored == shape else [f"expected the shape {shape}, got {stored}"]
    expected = (float(row["min"]), float(row["max"]))
    if not np.allclose(expected, (lowest, highest), rtol=1e-6, atol=1e-3):
        found.append(f"expected {expected[0]} to {expected[1]}, got {lowest} to {highest}")
    return found


def check(path: Path, row: Row, problems_of: Callable[[Path, Row], list[str]]) -> tuple[str, str]:
    """Return the outcome, "opens", "differs", "refused" or "crashes", and what there is to say."""
    try:
        problems = problems_of(path, row)
    except DataError as error:
        return ("refused" if "\n" not in str(error) else "crashes"), str(error)
    except Exception as error:  # anything but a DataError is what this script looks for
        return "crashes", repr(error)
    return ("differs", "; ".join(problems)) if problems else ("opens", "")


def check_folder(folder: Path, quiet: bool) -> bool:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    is_dicom_set = is_dicom(folder / rows[0]["file"])
    decodable = {True: [], False: []}
    for row in rows:
        said = row.get("decode_with_pydicom_numpy_pillow", "")
        problems_of = problems_of_dicom if is_dicom_set else problems_of_nifti
        outcome, what = check(folder / row["file"], row, problems_of)
        decodable[not said.startswith("ERR")].append(outcome)
        if not quiet and (outcome != "opens" or said.startswith("ERR")):
            print(f"  {outcome:8} {row['file']}  {what}")
    good, others = decodable[True], decodable[False]
    print(
        f"{folder.name}: {good.count('opens')} of {len(good)} decodable files open to what the "
        f"manifest says; of {len(others)} others, {others.count('opens')} decode with the codecs "
        f"of ganaug[dicom] and {others.count('refused')} of {len(others) - others.count('opens')} "
        "give their one-line error"
    )
    return set(good) <= {"opens"} and set(others) <= {"opens", "refused"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--quiet", action="store_true", help="print the counts alone")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = [check_folder(folder, arguments.quiet) for folder in arguments.folders]
    if not all(results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
