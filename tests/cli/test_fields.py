"""Config fields in words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganaug import Config
from ganaug.cli.fields import describe_fields


class Knobs(Config):
    """What can be turned.

    speed: in metres a second. left, right: which side is on.

    Raises nothing: it has no checks.
    """

    speed: float = Field(default=2.5, gt=0, le=9)
    left: bool = True
    right: bool = False
    shape: Literal["round", "flat"] | None = None  # Smith et al. 2020
    pair: tuple[Annotated[float, Field(ge=0)], float] = (0.5, 1.0)
    many: tuple[str, ...] = ()
    count: int = Field(description="How many.")


def described():
    return {field["name"]: field for field in describe_fields(Knobs)}


def test_types_and_limits_are_readable():
    types = {name: field["type"] for name, field in described().items()}
    assert types == {
        "speed": "float (> 0, <= 9)",
        "left": "bool",
        "right": "bool",
        "shape": "round | flat | none",
        "pair": "float, float",
        "many": "str, ...",
        "count": "int",
    }


def test_defaults_are_as_set_takes_them():
    defaults = {name: field["default"] for name, field in described().items()}
    assert defaults == {
        "speed": "2.5",
        "left": "True",
        "right": "False",
        "shape": "none",
        "pair": "0.5, 1.0",
        "many": "empty",
        "count": "required",
    }


def test_descriptions_come_from_field_docstring_or_comment():
    texts = {name: field["description"] for name, field in described().items()}
    assert texts == {
        "speed": "in metres a second.",
        "left": "which side is on.",
        "right": "which side is on.",
        "shape": "Smith et al. 2020",
        "pair": "",
        "many": "",
        "count": "How many.",
    }


def test_a_config_without_source_is_described_all_the_same():
    made: dict[str, type] = {}
    exec("class Made(Config):\n    x: int = 1", {"Config": Config, "__name__": "made"}, made)
    assert describe_fields(made["Made"])[0]["default"] == "1"
