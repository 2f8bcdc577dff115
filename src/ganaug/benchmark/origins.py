"""What the results of a benchmark follow from, and how that of two benchmarks differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What results follow from.

    fingerprint: the same where the outcomes of an arm would be, and only there. facts: what it was
    made from (data, study, budget, seed, versions, ...), for people, as JSON takes it. arms: what
    each does, by name, and what its synthetic images follow from; more arms may join where that
    stays as it is.
    """

    fingerprint: str
    facts: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def differences(self, other: Origin) -> list[str]:
        """Return, in words, what another origin has otherwise; nothing where none differs.

        Facts that one of them lacks come last: mostly they follow from another difference. Arms
        that only one of them has are no difference.
        """
        both = sorted(set(self.arms) & set(other.arms))
        known, given = (
            _flat({**each.facts, "arms": {name: each.arms[name] for name in both}})
            for each in (self, other)
        )
        names = [*known, *(name for name in given if name not in known)]
        differing = [name for name in names if known.get(name) != given.get(name)]
        return [
            f"{name} was {_text(known.get(name))}, and is {_text(given.get(name))} now"
            for name in sorted(differing, key=lambda name: not (name in known and name in given))
        ]


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested facts by dotted names, as they are when they were JSON once."""
    return dict(_items(json.loads(json.dumps(facts)), ""))


def _items(facts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield names and values; of a list of records, their names and then each by its own."""
    for name, value in facts.items():
        path, records = prefix + name, value
        if isinstance(value, list) and value and all(_is_record(item) for item in value):
            yield path, [item["name"] for item in value]
            records = {item["name"]: item for item in value}
        if isinstance(records, dict):
            yield from _items(records, f"{path}.")
        else:
            yield path, value


def _is_record(item: Any) -> bool:
    return isinstance(item, dict) and "name" in item


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return "not set" if value is None else str(value)
