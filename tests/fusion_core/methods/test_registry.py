"""What the registry says of each method, and what methods without weights are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from fusion_core.errors import WeightsError
from fusion_core.methods import METHODS, build_method, default_weights, find_weights
from fusion_core.methods.base import FileWeights, MethodSpec, NoWeights
from fusion_core.networks import Weights, read_bundled_weights, read_weights_card
from fusion_core.parameters import MethodParameters

BUNDLED = {"densefuse", "res2netfuse", "deepfuse", "msdnet", "convsr"}
LICENCES = {"convsr": "BSD-3-Clause"}
"""Licences of included weights that irfuse did not train itself."""
LINK = re.compile(r"https://(doi\.org/10\.\d{4,}/\S+|arxiv\.org/abs/\d{4}\.\d{5})")


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> str:
    """A method without weights: the larger of the sources."""

    def build(parameters: MethodParameters, weights: None, device: torch.device) -> Any:
        return lambda sources: sources.amax(dim=0)

    spec = MethodSpec(
        title="Maximum", parameters=MethodParameters, weights=NoWeights(), build=build
    )
    monkeypatch.setitem(METHODS, "maximum", spec)
    return "maximum"


def test_every_paper_has_authors_year_and_a_link() -> None:
    for name, spec in METHODS.items():
        if spec.paper is not None:
            assert LINK.fullmatch(spec.paper.link), name
            assert spec.paper.citation.endswith(f", {spec.paper.year}"), name
            assert spec.paper.authors, name


def test_a_network_has_weights() -> None:
    for name, spec in METHODS.items():
        assert spec.needs_weights >= spec.has_network, name


def test_bundled_weights_are_those_of_their_card() -> None:
    for name, spec in METHODS.items():
        if isinstance(spec.weights, FileWeights):
            bundled = spec.weights.bundled(spec.parameters())
            assert (bundled is not None) == (name in BUNDLED)
            if bundled is None:
                assert default_weights(spec) is None
                continue
            card = read_weights_card(bundled)
            assert (card["method"], card["licence"]) == (name, LICENCES.get(name, "Apache-2.0"))
            assert card["sha256"] == read_bundled_weights(bundled).sha256
            assert (known := default_weights(spec)) is not None
            assert (known.licence, known.sha256) == (card["licence"], card["sha256"])


def test_a_method_without_weights_has_none_and_fuses(weightless: str) -> None:
    parameters = METHODS[weightless].parameters()
    assert find_weights(weightless, parameters, None, lambda source: b"") is None
    fused = build_method(weightless, parameters, None)(torch.rand(2, 1, 1, 3, 4))
    assert fused.shape == (1, 1, 3, 4)
    assert default_weights(METHODS[weightless]) is None


@pytest.mark.parametrize("source", ["mine.safetensors", "random:0", "IMAGENET1K_V1", ""])
def test_weights_of_a_method_without_any_are_refused(weightless: str, source: str) -> None:
    message = r"^maximum takes no weights: leave out --weights$"
    with pytest.raises(WeightsError, match=message):
        find_weights(weightless, MethodParameters(), source, lambda source: b"")


def test_no_method_without_weights_is_built_with_some(weightless: str) -> None:
    with pytest.raises(WeightsError, match="takes no weights"):
        build_method(weightless, MethodParameters(), Weights.from_seed(0))


@pytest.mark.parametrize("name", [name for name, spec in METHODS.items() if spec.needs_weights])
def test_error_for_missing_weights_contains_the_remedy(name: str) -> None:
    message = rf"^{name} needs weights: give .* with --weights FILE .*, or --weights random:0 for"
    with pytest.raises(WeightsError, match=message):
        build_method(name, METHODS[name].parameters(), None)
