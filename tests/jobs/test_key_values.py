"""Options that are names with values."""

import pytest

from fusion_core.errors import InvalidValueError
from jobs.key_values import parse_bands, parse_key_values
from jobs.options import StatusOptions


def test_names_with_equals_signs_and_json_are_parsed() -> None:
    assert parse_key_values(["a=b=c", '{"d": {"e": 1}}']) == {"a": "b=c", "d": {"e": 1}}


def test_malformed_options_are_not_repeated_in_the_error() -> None:
    for text in ('{"secret": "hidden",}', "hidden"):
        with pytest.raises(InvalidValueError, match="Expected") as caught:
            parse_key_values([text])
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("anon=false", False),
        ("anon=true", True),
        ("default_block_size=1048576", 1_048_576),
        ("endpoint_url=http://localhost:9000", "http://localhost:9000"),
        ('client_kwargs={"verify": false}', {"verify": False}),
        ("profile=null", None),
        ("profile=lab", "lab"),
        ("key=12345678", "12345678"),
        ("account_key=1e5", "1e5"),
        ('secret="1"', "1"),
    ],
)
def test_values_of_storage_options_are_json_or_text(text: str, value: object) -> None:
    name = text.partition("=")[0]
    options = StatusOptions(out="x", storage_options=[text])  # type: ignore[arg-type]
    assert options.storage_options == {name: value}


def test_values_from_python_and_of_parameters_are_left_as_they_are() -> None:
    assert StatusOptions(out="x", storage_options={"anon": "false"}).storage_options == {
        "anon": "false"
    }
    assert parse_key_values(["radius=2"]) == {"radius": "2"}


def test_a_band_is_that_of_the_infrared_image_unless_it_names_an_image() -> None:
    assert parse_bands(["5"]) == {"ir": "5"}
    assert parse_bands(["ir=NIR", "vis=red,green,blue"]) == {"ir": "NIR", "vis": "red,green,blue"}
    with pytest.raises(InvalidValueError, match="ir=BAND or vis=BANDS, but got 'fused=1'"):
        parse_bands("fused=1")
