"""Suggestions for unknown names."""

from __future__ import annotations

import pytest

from fusion_core.errors import InvalidValueError
from fusion_core.methods import METHODS, get_method
from fusion_core.metrics import list_metrics, select_metrics
from fusion_core.suggestions import similar_names, unknown_name


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ("Qab", "Qabf"),
        ("qabf", "Qabf"),
        ("ms-ssim", "MS_SSIM"),
        ("ssim", "SSIM_a"),
        ("en", "EN"),
        ("epi-a", "EPI_a"),
    ],
)
def test_the_most_similar_metric_is_suggested_first(given: str, first: str) -> None:
    assert similar_names(given, list_metrics())[0] == first


def test_at_most_three_names_are_suggested() -> None:
    assert len(similar_names("fmi", [f"FMI_{number}" for number in range(9)])) == 3


def test_one_letter_suggests_nothing() -> None:
    assert similar_names("f", ["FMI_w", "FMI_dct"]) == []


def test_several_suggestions_are_joined_by_or() -> None:
    message = unknown_name("metric", "fmi", ["EN", "FMI_w", "FMI_dct"])
    assert message == "Unknown metric 'fmi'; did you mean FMI_w or FMI_dct?"


def test_a_name_like_no_other_gets_the_list_of_all() -> None:
    assert unknown_name("layout", "zip", ["msrs", "folders"]).endswith(
        "; the layouts are: msrs, folders"
    )


def test_a_misspelt_method_metric_or_parameter_gets_a_suggestion() -> None:
    with pytest.raises(InvalidValueError, match="did you mean densefuse or deepfuse\\?"):
        get_method("dense-fuse")
    with pytest.raises(InvalidValueError, match="Unknown metric 'QABF'; did you mean Qabf\\?"):
        select_metrics(["EN", "QABF"])
    with pytest.raises(InvalidValueError, match="did you mean strategy\\?"):
        METHODS["densefuse"].parameters.parse({"strategie": "mean"})
