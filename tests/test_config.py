from __future__ import annotations

import tomllib
from typing import Literal

import pytest
import tomli_w
from pydantic import Field, ValidationError

from ganaug import Config
from ganaug.errors import ConfigError


class Example(Config):
    latent_dim: int = 128
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    widths: tuple[int, ...] = (64, 32)
    flips: bool = True
    loss: Literal["bce", "hinge"] = "hinge"
    augment: tuple[Literal["translation", "cutout"], ...] = ()
    size: int | None = None
    images: int = Field(default=1, gt=0)


CHANGED = {
    "latent_dim": 3,
    "learning_rate": 0.1,
    "betas": [0.0, 0.9],
    "widths": [8, 4, 2],
    "flips": False,
    "loss": "bce",
    "augment": ["cutout", "translation"],
    "size": 32,
}


def test_fields_are_taken_as_toml_gives_them():
    config = Example.from_fields(CHANGED)
    assert config.betas == (0.0, 0.9)
    assert config.widths == (8, 4, 2)
    assert config.augment == ("cutout", "translation")
    assert config == Example(
        latent_dim=3,
        learning_rate=0.1,
        betas=(0.0, 0.9),
        widths=(8, 4, 2),
        flips=False,
        loss="bce",
        augment=("cutout", "translation"),
        size=32,
    )


def test_a_whole_number_is_a_float_too():
    assert Example.from_fields({"learning_rate": 1}).learning_rate == 1.0


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("3", "latent_dim", 3),
        ("1e-3", "learning_rate", 1e-3),
        ("0,0.9", "betas", (0.0, 0.9)),
        ("[0, 0.9]", "betas", (0.0, 0.9)),
        ("(0.0, 0.9)", "betas", (0.0, 0.9)),
        ("8", "widths", (8,)),
        ("", "widths", ()),
        ("false", "flips", False),
        ("True", "flips", True),
        ("bce", "loss", "bce"),
        ("cutout, translation", "augment", ("cutout", "translation")),
        ("32", "size", 32),
    ],
)
def test_strings_of_the_command_line_become_values(text, field, value):
    found = getattr(Example.from_strings({field: text}), field)
    assert (found, type(found)) == (value, type(value))


def test_strings_not_given_leave_the_defaults():
    assert Example.from_strings({}) == Example()
    assert Example.from_strings({"latent_dim": "3"}).size is None


@pytest.mark.parametrize("config", [Example(), Example.from_fields(CHANGED)])
def test_toml_out_is_toml_in(config, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(config.to_fields()), "utf-8")
    assert Example.from_toml(path) == config


def test_an_optional_field_that_is_none_is_left_out_of_toml():
    assert "size" not in Example().to_fields()
    assert tomllib.loads(tomli_w.dumps(Example().to_fields()))["betas"] == [0.5, 0.999]


@pytest.mark.parametrize("make", [Example.from_fields, Example.from_strings])
def test_a_misspelt_field_names_the_nearest_and_the_fields(make):
    with pytest.raises(
        ConfigError,
        match=r"Example has no field 'latent_dims'\. Did you mean 'latent_dim'\? The fields are ",
    ):
        make({"latent_dims": "3"})


def test_a_config_without_fields_says_so():
    with pytest.raises(ConfigError, match="Config has no field 'size'. It has no fields."):
        Config.from_fields({"size": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latent_dim": "3"}, r"Example\.latent_dim: .*integer; got '3'"),
        ({"latent_dim": 3.5}, r"Example\.latent_dim: .*integer; got 3\.5"),
        ({"latent_dim": True}, r"Example\.latent_dim: .*integer; got True"),
        ({"flips": 1}, r"Example\.flips: .*boolean; got 1"),
        ({"loss": "wgan"}, r"Example\.loss: .*'bce' or 'hinge'; got 'wgan'"),
        ({"betas": [0.5]}, r"Example\.betas\.1: field required"),
        ({"widths": [8, "4"]}, r"Example\.widths\.1: .*integer; got '4'"),
        ({"images": 0}, r"Example\.images: .*greater than 0; got 0"),
        ({"latent_dim": object()}, "Example: .*expected plain TOML values"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_field(fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Example.from_fields(fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "text"),
    [("latent_dim", "many"), ("flips", "perhaps"), ("betas", "0.5"), ("augment", "blur")],
)
def test_a_wrong_string_names_the_field(field, text):
    with pytest.raises(ConfigError, match=rf"^Example\.{field}"):
        Example.from_strings({field: text})


def test_more_than_one_mistake_is_counted():
    with pytest.raises(ConfigError, match=r"\(1 more\)"):
        Example.from_fields({"latent_dim": "3", "flips": 1})


def test_a_config_is_strict_and_frozen_in_python_too():
    with pytest.raises(ValidationError):
        Example(latent_dim="3")
    with pytest.raises(ValidationError):
        Example(latent_dims=3)
    with pytest.raises(ValidationError):
        Example().latent_dim = 3


@pytest.mark.parametrize(
    "content", [None, b"latent_dim = ", b"\xff\xfe"], ids=["missing", "no TOML", "no UTF-8"]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "config.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"Cannot read the config .*config\.toml"):
        Example.from_toml(path)
