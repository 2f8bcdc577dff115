"""The arms that every study can have."""

from __future__ import annotations

from ganaug.study import ARMS

__all__ = ["ARMS"]
