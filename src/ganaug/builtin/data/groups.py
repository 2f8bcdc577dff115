"""Groups by file name: the patient, lesion or film that a regular expression finds in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ganaug.errors import DataError

__all__ = ["groups_from_names"]


def groups_from_names(location: Path, names: Sequence[str], pattern: str) -> tuple[str, ...]:
    r"""Return the group of each name: the pattern's first capture group, or all that it matches.

    The pattern is searched anywhere in the name: ``mdb(\d+)_`` finds ``001`` in
    ``benign/mdb001_0.png``. Raises DataError, which names the location, when a name has no match
    or an empty one, because such a row would silently stand for itself.
    """
    compiled = re.compile(pattern)
    matches = [compiled.search(name) for name in names]
    groups = [match[min(compiled.groups, 1)] if match else None for match in matches]
    bad = [name for name, group in zip(names, groups, strict=True) if not group]
    if bad:
        raise DataError(
            f"{location}: {len(bad)} of {len(names)} names give no group by the group_pattern "
            f"{pattern!r}, the first is {bad[0]!r}. Widen the pattern; it is searched anywhere in "
            "the name."
        )
    return tuple(group for group in groups if group)
