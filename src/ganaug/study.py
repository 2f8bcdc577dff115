"""What a benchmark compares: a study and its arms, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from ganaug.errors import ConfigError

__all__ = ["Arm", "Study"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One treatment of the training set, such as ``oversample`` or ``synthetic``."""

    name: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A comparison of arms under one protocol.

    Raises ConfigError when it has no arms or two of one name.
    """

    name: str
    summary: str
    arms: tuple[Arm, ...]

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"Study {self.name!r} needs one or more arms of different names; "
                f"got {', '.join(names) or 'none'}."
            )
