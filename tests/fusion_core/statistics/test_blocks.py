from __future__ import annotations

import numpy as np
import pytest

from fusion_core.errors import InvalidValueError
from fusion_core.statistics import (
    average_groups,
    complete_blocks,
    disqualified_methods,
    keep_complete,
    orient,
    resemble_sequences,
    without_aliases,
)

NAN = np.nan
VALUES = np.array([[[1.0, 2.0], [3.0, NAN]], [[5.0, 6.0], [7.0, 8.0]]])
"""Two pairs, two methods, two metrics; the second method has no value of the second metric."""


def test_a_block_is_complete_if_every_method_has_a_value() -> None:
    assert complete_blocks(VALUES).tolist() == [[True, False], [True, True]]


def test_incomplete_blocks_lose_their_values_for_that_metric_alone() -> None:
    kept = keep_complete(VALUES)
    assert np.isnan(kept[0, :, 1]).all()
    assert kept[:, :, 0].tolist() == VALUES[:, :, 0].tolist()


def test_methods_that_fail_too_often_are_disqualified() -> None:
    failed = np.array([[True, False, True], [True, False, False], [False, False, False]])
    assert disqualified_methods(failed, 0.5).tolist() == [True, False, False]
    assert disqualified_methods(failed[:0], 0.5).tolist() == [False] * 3


def test_groups_are_averaged_over_their_complete_blocks() -> None:
    values = np.concatenate([VALUES, VALUES + 10.0])
    names, averages = average_groups(values, ["b", "b", "a", "b"])
    assert names == ("a", "b")
    assert averages[1].tolist() == [
        [pytest.approx((1 + 5 + 15) / 3), (6 + 16) / 2],
        [pytest.approx((3 + 7 + 17) / 3), (8 + 18) / 2],
    ]
    assert averages[0, :, 0].tolist() == [11.0, 13.0]
    assert np.isnan(averages[0, :, 1]).all()


def test_a_group_for_each_pair_is_required() -> None:
    with pytest.raises(InvalidValueError, match="one group for each of 2 pairs, but got 1"):
        average_groups(VALUES, ["a"])


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(["a"] * 100, False), (["a"] * 20 + ["b"] * 20, False), (["a"] * 21 + ["b"] * 21, True)],
    ids=["one-group", "small", "large"],
)
def test_several_large_groups_resemble_sequences(groups: list[str], expected: bool) -> None:
    assert resemble_sequences(groups) == expected


def test_metrics_of_which_lower_is_better_are_negated() -> None:
    assert orient(VALUES, [True, False])[1].tolist() == [[5.0, -6.0], [7.0, -8.0]]


def test_a_direction_for_each_metric_is_required() -> None:
    with pytest.raises(InvalidValueError, match="each of 2 metrics, but got 1"):
        orient(VALUES, [True])


@pytest.mark.parametrize(
    ("names", "counted"),
    [(["c", "a", "d"], "ad"), (["c", "b", "d"], "bd"), (["c"], "c")],
    ids=["original", "first-alias", "only-alias"],
)
def test_of_aliases_one_metric_is_counted(names: list[str], counted: str) -> None:
    marks = without_aliases(names, {"b": "a", "c": "b"})
    assert "".join(name for name, mark in zip(names, marks, strict=True) if mark) == counted
