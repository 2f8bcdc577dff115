"""Config fields in words."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from ganaug import Config
from ganaug.builtin.data.options import CsvConfig, DicomConfig, NiftiConfig
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


class MoreKnobs(Knobs):
    """More of what can be turned.

    left: which side is not on.
    """

    again: int = 0  # times


class Undescribed(MoreKnobs):
    last: int = 0


def described(config=Knobs):
    return {field["name"]: field for field in describe_fields(config)}


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


@pytest.mark.parametrize("config", [MoreKnobs, Undescribed])
def test_inherited_fields_keep_their_description_unless_it_is_given_anew(config):
    texts = {name: field["description"] for name, field in described(config).items()}
    assert texts["speed"] == "in metres a second."
    assert (texts["left"], texts["right"]) == ("which side is not on.", "which side is on.")
    assert (texts["shape"], texts["again"]) == ("Smith et al. 2020", "times")


@pytest.mark.parametrize("config", [CsvConfig, DicomConfig, NiftiConfig])
def test_every_field_of_medical_sources_is_described(config):
    assert [name for name, field in described(config).items() if not field["description"]] == []


def test_a_config_without_source_is_described_all_the_same():
    made: dict[str, type] = {}
    exec("class Made(Config):\n    x: int = 1", {"Config": Config, "__name__": "made"}, made)
    assert describe_fields(made["Made"])[0]["default"] == "1"
