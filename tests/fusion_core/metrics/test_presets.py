"""The names of metrics, and the sets of them that one name requests."""

from __future__ import annotations

import keyword
import re
import sqlite3

import pandas as pd
import pytest

from fusion_core.errors import InvalidValueError
from fusion_core.metrics import METRICS, PRESETS, select_metrics

DEFAULT = [
    "EN", "MI", "MI_as_published", "Qabf", "FMI_pixel", "FMI_dct", "FMI_w", "Nabf", "SCD", "SSIM_a",
    "MS_SSIM", "EPI_a", "SD",
]  # fmt: skip


def test_the_default_metrics_are_those_of_the_preset_default() -> None:
    assert select_metrics() == select_metrics(["default"]) == DEFAULT


def test_single_metrics_come_once_each_in_the_order_of_the_registry() -> None:
    assert select_metrics(["SSIM_a", "EN", "SSIM_a"]) == ["EN", "SSIM_a"]


def test_no_metrics_can_be_selected() -> None:
    assert select_metrics([]) == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_selects_its_metrics_in_its_order(name: str) -> None:
    assert select_metrics([name]) == list(PRESETS[name].columns)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_metrics_that_exist_and_says_how_it_treats_colour(name: str) -> None:
    preset = PRESETS[name]
    assert preset.name == name
    assert set(preset.columns) <= set(METRICS)
    assert preset.title
    assert preset.colour.endswith(".")


def test_presets_come_before_single_metrics_and_no_metric_comes_twice() -> None:
    assert select_metrics(["MI", "EN", "li-wu"]) == [*PRESETS["li-wu"].columns, "MI"]


def test_presets_come_in_the_order_in_which_they_are_named() -> None:
    both = select_metrics(["li-wu", "default"])
    assert both == list(dict.fromkeys([*PRESETS["li-wu"].columns, *DEFAULT]))


def test_no_preset_has_the_name_of_a_metric() -> None:
    assert not set(PRESETS) & set(METRICS)


@pytest.mark.parametrize("preset", ["default", "all"])
def test_dialects_and_aliases_must_be_requested_by_name(preset: str) -> None:
    assert [name for name in PRESETS[preset].columns if not METRICS[name].is_plain] == []


def test_all_has_every_metric_that_is_no_dialect() -> None:
    assert set(select_metrics(["all"])) == {n for n, m in METRICS.items() if m.is_plain}


def test_dialects_and_aliases_refer_to_metrics_that_exist() -> None:
    for metric in METRICS.values():
        assert {metric.dialect_of, metric.alias_of} - {""} <= set(METRICS), metric.name
        assert not METRICS[metric.dialect_of or metric.name].dialect_of or metric.is_plain


def test_dialects_name_the_programs_that_print_them() -> None:
    assert [n for n, m in METRICS.items() if bool(m.dialect_of) != bool(m.programs)] == []


def test_an_unknown_name_is_refused_with_the_names_that_were_meant() -> None:
    with pytest.raises(InvalidValueError, match=r"Unknown metric 'li_wu'; did you mean li-wu\?"):
        select_metrics(["EN", "li_wu"])


def test_an_unknown_name_is_refused_with_the_metrics_and_presets() -> None:
    with pytest.raises(
        InvalidValueError, match=r"Unknown metric '\?'; .* EN, MI, .*, all, li-wu, vifb"
    ):
        select_metrics(["?"])


def test_metrics_are_columns_of_sql_tables_without_quotes() -> None:
    names = ", ".join(METRICS)
    with sqlite3.connect(":memory:") as database:
        database.execute(f"CREATE TABLE scores ({names.replace(',', ' REAL,')} REAL)")
        assert database.execute(f"SELECT {names} FROM scores").fetchall() == []


def test_metrics_are_attributes_of_data_frames() -> None:
    frame = pd.DataFrame({name: [1.0] for name in METRICS})
    assert all(getattr(frame, name).item() == 1.0 for name in METRICS)
    assert frame.query(" and ".join(f"{name} == 1" for name in METRICS)).shape == frame.shape


def test_names_of_metrics_differ_in_more_than_case_and_are_identifiers() -> None:
    assert len({name.lower() for name in METRICS}) == len(METRICS)
    assert [n for n in METRICS if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", n)] == []
    assert [n for n in METRICS if keyword.iskeyword(n.lower())] == []
