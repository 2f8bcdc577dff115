"""Ids of DICOM images: their paths, without the parts that name a patient, a visit or a UID.

Archives often name folders after patients and files after UIDs, and ids are written to runs.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganaug.builtin.data.dicom_groups import hash_patient, hash_uid
from ganaug.builtin.data.dicom_tags import text

if TYPE_CHECKING:
    from pydicom import Dataset

    from ganaug.builtin.data.dicom_header import Header

__all__ = ["SUFFIXES", "Names", "hidden_parts"]

#: What a DICOM file's name may end with; many have no extension, or one of digits.
SUFFIXES = frozenset({".dcm", ".dic", ".dicom", ".ima"})

#: Fewest letters of a part of a patient's name that is looked for: initials are everywhere.
_NAME_LETTERS = 3

#: Below this many characters, a value is looked for between others of its kind: Lee in lee_1, but
#: not in bleed; 123 in p123, but not in 1234.
_LONG = 6

_UIDS = {
    "image": "SOPInstanceUID",
    "series": "SeriesInstanceUID",
    "study": "StudyInstanceUID",
}


def hidden_parts(path: Path, dataset: Dataset, key: Callable[[], bytes]) -> dict[str, str]:
    """Return the parts of a path (folders, file) that name a patient, with what to write instead.

    A part that equals or contains the file's PatientID, AccessionNumber or a component of its
    PatientName becomes a hash with `key`, as groups of patients do; one that contains the UID of
    the image, series or study a plain hash. Case and separators do not matter. `key` is called
    only when there is such a part.
    """
    people = [_pattern(value) for value in _values_of_patient(dataset)]
    uids = [(kind, _pattern(text(dataset, keyword))) for kind, keyword in _UIDS.items()]
    hidden = {}
    for part in {*path.parts, *path.resolve().parts}:
        stem, suffix = _split(part)
        if any(pattern.search(stem) for pattern in people):
            hidden[part] = hash_patient(stem, key()) + suffix
            continue
        kind = next((kind for kind, pattern in uids if pattern.search(stem)), None)
        if kind is not None:
            hidden[part] = hash_uid(kind, stem) + suffix
    return hidden


class Names:
    """Names of files and folders below `root`, hidden where any of `headers` says so."""

    def __init__(self, root: Path, headers: Sequence[Header], key: Callable[[], bytes]) -> None:
        self._root = root
        self._key = key
        # A folder that names one patient may hold files of another: what one hides, all hide.
        self._hidden = {part: name for header in headers for part, name in header.hidden.items()}

    def file(self, path: Path) -> str:
        """Return the path of a file relative to the root, with forward slashes."""
        return "/".join(map(self._shown, path.relative_to(self._root).parts))

    def folder(self, path: Path) -> str:
        """Return the folder that a file lies in, relative to the root, or the root's own name."""
        parts = path.parent.relative_to(self._root).parts
        return "/".join(map(self._shown, parts or (self._root.resolve().name,)))

    def of_parts(self, firsts: Sequence[Path], alone: Sequence[bool]) -> list[str]:
        """Return a name for each volume: the folder that it has to itself, or its first file.

        alone: whether the volume is a single file.
        """
        folders = Counter(path.parent for path in firsts)
        return [
            self.file(path) if one or folders[path.parent] > 1 else self.folder(path)
            for path, one in zip(firsts, alone, strict=True)
        ]

    def group(self, path: Path, group: str) -> str:
        """Return a group that a pattern found in a path, hashed when it lies in a hidden part."""
        parts = path.relative_to(self._root).parts
        if any(group in part or part in group for part in parts if part in self._hidden):
            return hash_patient(group, self._key())
        return group

    def classes_hidden(self, paths: Sequence[Path]) -> list[str]:
        """Return the first folders below the root that are hidden, sorted."""
        firsts = {path.relative_to(self._root).parts[0] for path in paths}
        return sorted(firsts & set(self._hidden))

    def _shown(self, part: str) -> str:
        return self._hidden.get(part, part)


def _values_of_patient(dataset: Dataset) -> Iterator[str]:
    yield text(dataset, "PatientID")
    yield text(dataset, "AccessionNumber")
    components = [one for one in re.split(r"[\^=,\s]+", text(dataset, "PatientName")) if one]
    yield from (one for one in components if len(one) >= _NAME_LETTERS)
    if len(components) > 1:
        yield "".join(components[:2])
        yield "".join(components[1::-1])


@functools.lru_cache(maxsize=1024)
def _pattern(value: str) -> re.Pattern[str]:
    """Return what finds a value in a name, whatever separates its characters there."""
    marks = re.sub(r"[\W_]", "", value)
    if not marks:
        return re.compile(r"(?!)")
    if len(marks) < _NAME_LETTERS:
        return re.compile(rf"\A{re.escape(value)}\Z")
    between = r"[\W_]*".join(map(re.escape, marks))
    if len(marks) < _LONG:
        before, after = (
            r"\d" if mark.isdigit() else r"[^\W\d_]" for mark in marks[:: len(marks) - 1]
        )
        between = rf"(?<!{before}){between}(?!{after})"
    return re.compile(between, re.IGNORECASE)


def _split(part: str) -> tuple[str, str]:
    """Return a name and its extension, which is empty unless it is one of DICOM files."""
    suffix = Path(part).suffix
    return (part[: -len(suffix)], suffix) if suffix.lower() in SUFFIXES else (part, "")
