"""A benchmark's results as files: one page for people, a table and a tree for programs."""

from __future__ import annotations

from ganaug.report.files import write_report
from ganaug.report.findings import Findings, Picture

__all__ = ["Findings", "Picture", "write_report"]
