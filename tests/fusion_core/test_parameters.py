from __future__ import annotations

import pytest
from pydantic import ValidationError

from fusion_core.errors import InvalidValueError
from fusion_core.methods import METHODS, get_method
from fusion_core.methods.specs.densefuse import DenseFuseParameters
from fusion_core.methods.specs.resnet_zca import ResnetZcaParameters
from fusion_core.parameters import MethodParameters


def test_defaults_of_densefuse_are_those_of_the_published_results() -> None:
    assert DenseFuseParameters().model_dump() == {
        "colour": "luma",
        "output_range": "minmax",
        "sixteen_bit": "percentile",
        "precision": "fp32",
        "convolution": "winograd",
        "strategy": "addition",
        "radius": 1,
    }


def test_parameters_are_read_from_text() -> None:
    parsed = DenseFuseParameters.parse({"radius": "3", "strategy": "l1_norm"})
    assert (parsed.radius, parsed.strategy) == (3, "l1_norm")


def test_parameters_are_frozen_and_hashable() -> None:
    parsed = DenseFuseParameters.parse({"radius": 3})
    assert hash(parsed) == hash(DenseFuseParameters(radius=3))
    with pytest.raises(ValidationError, match="frozen"):
        parsed.radius = 4  # type: ignore[misc]


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_of_every_method_is_described(method: str) -> None:
    fields = get_method(method).parameters.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_parameter_of_another_method_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        InvalidValueError, match=r"'radius'; .*: colour, output_range, sixteen_bit$"
    ):
        MethodParameters.parse({"radius": 1})


@pytest.mark.parametrize("value", ["", "one", "1.5", None, [1]])
def test_parameter_that_is_no_number_is_refused_with_what_was_given(value: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^Parameter radius: .*, but got ") as caught:
        DenseFuseParameters.parse({"radius": value})
    assert str(caught.value).endswith(repr(value))


def test_choices_and_limits_of_parameters_are_described() -> None:
    described = {parameter.name: parameter for parameter in ResnetZcaParameters.describe()}
    assert {name: described[name].choices for name in ("norm", "zca", "radius", "epsilon")} == {
        "norm": "l1, l2, nuclear",
        "zca": "true, false",
        "radius": "0 to 8",
        "epsilon": "above 0 to 1",
    }
    assert described["epsilon"].default == "1e-05"


def test_only_a_method_with_a_network_has_a_precision() -> None:
    for name, spec in METHODS.items():
        assert ("precision" in spec.parameters.model_fields) == spec.has_network, name
