"""DICOM: a file, a tree of files with or without extensions, or a DICOMDIR.

This module loads nothing heavy until something is opened: claims look at names and first bytes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.builtin.data.dicom_names import SUFFIXES, Names
from ganaug.builtin.data.options import DicomConfig, StackConfig
from ganaug.errors import DataError
from ganaug.spec import LabelledImages

if TYPE_CHECKING:
    from ganaug.builtin.data.dicom_header import Header
    from ganaug.builtin.data.dicom_stack import DicomStack

__all__ = ["claims_dicom", "is_dicom", "open_dicom", "open_stacks"]

#: What may lie beside DICOM files without being one of them.
_PAPERS = frozenset({".csv", ".html", ".json", ".md", ".pdf", ".txt", ".xml"})

#: Files and folders that a claim looks at.
_GLANCE_FILES, _GLANCE_FOLDERS = 8, 200


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its extension, or by ``DICM`` at byte 128.

    Without both, also a file without a known extension that begins with a DICOM element.
    """
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or _begins_with_element(start)


def claims_dicom(location: Path) -> int:
    """Return 30 for a DICOM file, 15 for a tree with some among its first few files, else 0.

    Notes and tables do not count. A folder of pictures claims 15 as well, so that a tree of both
    is a tie, which the user decides; a table of labels claims more.
    """
    if location.is_file():
        return 30 if is_dicom(location) else 0
    first = islice(
        (path for path in _files(location, _GLANCE_FOLDERS) if path.suffix.lower() not in _PAPERS),
        _GLANCE_FILES,
    )
    return 15 if any(is_dicom(path) for path in first) else 0


def open_dicom(config: DicomConfig, location: Path) -> LabelledImages:
    """Open a DICOM file, the tree below a folder, or the images that a DICOMDIR names.

    A series is a volume, and its slices are images, in order of position; ids are
    ``folder#0007``, where folders and files that name a patient, a visit or a UID become hashes,
    as patients do. Groups are as `config` says, `group_pattern` before `group_from`: series and
    studies by a hash of their UID, patients by a keyed hash. Without labels there is one class,
    ``image``.
    Raises DataError, which names the first file and how many, for files that cannot be used:
    without pixels, damaged, in need of a codec, or with burned-in annotation; ConfigError for
    fields that do not fit the data. Warns of gaps, planes and tilts, and of captures that may show
    names.
    """
    from ganaug.builtin.data.stacks import images_of_stacks

    stacks = open_stacks(location, config)
    class_names = sorted({stack.label for stack in stacks})
    return images_of_stacks(
        stacks, [class_names.index(stack.label) for stack in stacks], class_names
    )


def open_stacks(location: Path, config: StackConfig) -> list[DicomStack]:
    """Return the volumes and single images of a location, in the order of their files.

    Fields that only `DicomConfig` has are at their defaults for another config. Raises and warns
    as `open_dicom` does.
    """
    from ganaug.builtin.data.dicom_groups import read_key
    from ganaug.builtin.data.dicom_labels import labels_of
    from ganaug.builtin.data.dicom_series import volumes_of
    from ganaug.builtin.data.dicom_stack import DicomStack

    own = config if isinstance(config, DicomConfig) else DicomConfig()
    paths = _paths(location)
    root = location if location.is_dir() else location.parent
    key = cache(lambda: read_key(own.group_key))
    headers = _headers(location, paths, own, key)
    _check_annotation(location, headers, config)
    names = Names(root, headers, key)
    labelled = labels_of(location, root, headers, own, names)
    parts = [
        (volume, [frame for frame in volume if labelled[frame.header.path] == label], label)
        for volume in volumes_of(headers)
        for label in sorted({labelled[frame.header.path] for frame in volume})
    ]
    firsts = [part[0].header for _, part, _ in parts]
    alone = [part[-1].header.path == part[0].header.path for _, part, _ in parts]
    ids = names.of_parts([header.path for header in firsts], alone)
    groups = _groups(location, root, firsts, config, names)
    return [
        DicomStack(name, volume, part, config, label=label, group=group)
        for (volume, part, label), name, group in zip(parts, ids, groups, strict=True)
    ]


def _begins_with_element(start: bytes) -> bool:
    """Whether a file without preamble begins with group 0008 or 0002, little endian, of text."""
    group, element, length = start[:2], start[2:4], start[4:8]
    if group not in {b"\x08\x00", b"\x02\x00"} or len(start) < 16 or element[1:] != b"\0":
        return False
    return (length[:2].isalpha() and length[:2].isupper()) or length[1:] == b"\0\0\0"


def _files(folder: Path, most_folders: int | None = None) -> Iterator[Path]:
    """Yield the files below a folder, sorted within each; hidden ones are left out."""
    for above, folders, files in islice(os.walk(folder), most_folders):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(above) / name for name in sorted(files) if not name.startswith("."))


def _paths(location: Path) -> list[Path]:
    if location.is_dir():
        found = [p for p in _files(location) if p.name.upper() != "DICOMDIR" and is_dicom(p)]
        if not found:
            raise DataError(f"{location} holds no DICOM files; expected some, at any depth.")
        return found
    if not location.is_file():
        raise DataError(f"{location} does not exist; expected a DICOM file or a folder of them.")
    return _indexed(location) if location.name.upper() == "DICOMDIR" else [location]


def _indexed(dicomdir: Path) -> list[Path]:
    """Return the image files that a DICOMDIR names, in its order."""
    from pydicom import dcmread

    from ganaug.builtin.data.dicom_tags import quietly

    try:
        with quietly():
            records = dcmread(dicomdir, specific_tags=["DirectoryRecordSequence"])
            images = [
                record.ReferencedFileID
                for record in records.DirectoryRecordSequence
                if record.get("DirectoryRecordType") == "IMAGE"
            ]
    except Exception as error:  # from None: pydicom's messages quote the values of tags
        raise DataError(
            f"{dicomdir} is not a sound DICOMDIR ({type(error).__name__}). Open its folder instead."
        ) from None
    found = [dicomdir.parent.joinpath(*_parts(parts)) for parts in images]
    climbing = [p for p in found if not p.resolve().is_relative_to(dicomdir.parent.resolve())]
    if climbing:
        raise DataError(f"{dicomdir} names {climbing[0]}, which lies outside its folder.")
    missing = [path for path in found if not path.is_file()]
    if missing or not found:
        first = f"; the first that is not there is {missing[0]}" if missing else ""
        raise DataError(
            f"{dicomdir} names {len(found)} images, of which {len(missing)} are missing{first}."
        )
    return found


def _parts(file_id: str | Sequence[str]) -> list[str]:
    return [file_id] if isinstance(file_id, str) else [str(part) for part in file_id]


def _headers(
    location: Path, paths: Sequence[Path], config: DicomConfig, key: Callable[[], bytes]
) -> list[Header]:
    """Read all headers; refuse them together, with the first reason, when some cannot be used.

    Sound objects of kinds without pixels, which exports hold beside images, are left out.
    """
    from ganaug.builtin.data.dicom_checks import NoImageError
    from ganaug.builtin.data.dicom_header import read_header
    from ganaug.builtin.data.dicom_labels import check_label_tag

    check_label_tag(config.label_tag)
    headers: list[Header] = []
    errors: list[DataError] = []
    others: list[NoImageError] = []
    for path in paths:
        try:
            headers.append(
                read_header(path, group_from=config.group_from, key=key, label_tag=config.label_tag)
            )
        except NoImageError as error:
            others.append(error)
        except DataError as error:
            errors.append(error)
    unusable = errors or ([] if headers else others)
    if unusable and len(paths) == 1:
        raise unusable[0]
    if unusable:
        raise DataError(
            f"{location}: {len(unusable)} of {len(paths)} DICOM files cannot be used. The first: "
            f"{unusable[0]}"
        )
    if others:
        warnings.warn(
            f"DICOM: {len(others)} of {len(paths)} files are left out, because they are reports or "
            f"other objects without pixels (first: {others[0]}).",
            stacklevel=2,
        )
    return headers


def _check_annotation(location: Path, headers: Sequence[Header], config: StackConfig) -> None:
    """Refuse declared burned-in annotation; warn where it is likely and not ruled out."""
    burned = [header for header in headers if header.burned_in]
    if burned and not config.allow_burned_in:
        raise DataError(
            f"{location}: {len(burned)} of {len(headers)} files declare burned-in annotation, "
            f"which may name a patient; the first is {burned[0].path}. Leave them out, or pass "
            "allow_burned_in (--allow-burned-in) when you have looked at them."
        )
    doubtful = [header for header in headers if header.maybe_burned_in and not header.burned_in]
    if doubtful and not config.allow_burned_in:
        warnings.warn(
            f"DICOM: {len(doubtful)} of {len(headers)} files are ultrasound or screen captures "
            "that do not say whether text is burned in, which may name a patient; look at them "
            f"before you share anything (first: {doubtful[0].path}).",
            stacklevel=2,
        )


def _groups(
    location: Path, root: Path, firsts: Sequence[Header], config: StackConfig, names: Names
) -> Sequence[str]:
    """Return the group of each volume or image, from its first file."""
    if not isinstance(config, DicomConfig):
        return [header.group for header in firsts]
    paths = [header.path for header in firsts]
    if config.group_pattern:
        from ganaug.builtin.data.groups import groups_from_names

        below = [path.relative_to(root).as_posix() for path in paths]
        found = groups_from_names(location, below, config.group_pattern)
        return [names.group(path, group) for path, group in zip(paths, found, strict=True)]
    if config.group_from == "folder":
        return [names.folder(path) for path in paths]
    return [header.group for header in firsts]
