"""Tell whether ganaug has changed since something was made with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["fingerprint"]

_SOURCES = Path(__file__).resolve().parents[1] / "src" / "ganaug"


def fingerprint(*parts: bytes) -> str:
    """Return a hash, in hex, of ganaug's own sources and of whatever else matters."""
    sources = (path.read_bytes() for path in sorted(_SOURCES.rglob("*.py")))
    whole = hashlib.sha256()
    for part in (*parts, *sources):
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()
