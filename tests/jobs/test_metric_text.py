"""Metrics in tables."""

from jobs.metric_text import metric_heading, value_text


def test_values_have_the_digits_of_their_metric() -> None:
    assert value_text("EN", 6.17403) == "6.1740"
    assert value_text("Nabf", 0.000354) == "0.00035"
    assert value_text("SD", 22.5583) == "22.558"
    assert value_text("SD", None) == "–"


def test_a_metric_that_this_version_does_not_know_is_shown_nevertheless() -> None:
    assert (metric_heading("NEW"), value_text("NEW", 1 / 3)) == ("NEW", "0.3333")


def test_headings_point_to_better_values() -> None:
    assert (metric_heading("EN"), metric_heading("Nabf")) == ("EN↑", "Nabf↓")


def test_a_metric_without_a_better_direction_has_no_arrow() -> None:
    assert metric_heading("TE_mefb") == "TE_mefb"
