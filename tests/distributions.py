"""Distributions that look installed, without an installer: a module, and a dist-info beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_dist_info", "write_distribution"]


def write_distribution(
    folder: Path, name: str, code: str, *, version: str = "1.2.0", entry: str = "", needs: str = ""
) -> None:
    """Write ganaug-NAME with one entry point: a module ``installed_NAME`` of that code.

    needs: what it requires, such as ``ganaug>=1``.
    """
    module = f"installed_{name}"
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    write_dist_info(folder, name, {entry or name: module}, version=version, needs=needs)


def write_dist_info(
    folder: Path, name: str, entries: Mapping[str, str], *, version: str = "1.2.0", needs: str = ""
) -> None:
    """Write what an installer leaves of ganaug-NAME: its metadata and its entry points."""
    info = folder / f"ganaug_{name}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: ganaug-{name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {needs}"] if needs else []
    (info / "METADATA").write_text("\n".join([*lines, ""]))
    points = [f"{entry} = {module}" for entry, module in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[ganaug]", *points, ""]))
