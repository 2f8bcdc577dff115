"""Write checks.md from the conformance kit itself: ``python docs/write_checks.py``."""

from __future__ import annotations

from pathlib import Path

from ganaug.testing import datasets, evaluators, extractors, generators, policies, studies

__all__ = ["render"]

_PAGE = Path(__file__).with_name("checks.md")

_HEAD = """<!-- Written by write_checks.py; a test compares the two. -->

# What plugins promise

The checks of `ganaug plugins check NAME`, and of [`parametrize_checks`](api.md#conformance-kit) in
a plugin's own tests.
"""

_KINDS = {
    "Generators": generators,
    "Datasets": datasets,
    "Evaluators": evaluators,
    "Feature extractors": extractors,
    "Stopping policies": policies,
    "Studies": studies,
}


def render() -> str:
    """Return the page: a table of checks and promises for each kind of plugin."""
    lines = [_HEAD]
    for kind, module in _KINDS.items():
        rows = [f"| `{check.name}` | {check.promise} |" for check in module.CHECKS.values()]
        lines += [f"## {kind}\n", "| check | promise |", "|---|---|", *rows, ""]
    return "\n".join(lines)


if __name__ == "__main__":
    _PAGE.write_text(render(), encoding="utf-8")
