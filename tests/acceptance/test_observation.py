"""The measurement of what metrics, attempts and logs cost: what it measures and prints."""

import io

import pytest
from rich.console import Console

from fusion_core.errors import InvalidValueError
from tests.acceptance.observation import (
    ObservationReport,
    Round,
    measure_observation,
    print_report,
)


def report(*rounds: tuple[float, float]) -> ObservationReport:
    parts = [Round(plain_seconds=plain, watched_seconds=watched) for plain, watched in rounds]
    return ObservationReport(
        machine="m", versions={}, width=64, height=48, pairs=10, method="average", rounds=parts
    )


def test_cost_is_the_median_of_the_differences_and_its_share_that_of_the_plain_time() -> None:
    found = report((1.0, 1.01), (1.0, 1.02), (1.2, 1.23))
    assert found.cost_ms_per_pair == pytest.approx(2.0)
    assert found.share == pytest.approx(0.02)
    assert found.error_ms_per_pair == pytest.approx(1.96 * 0.01 / 3**0.5 * 100)
    output = io.StringIO()
    print_report(Console(file=output, width=200), found)
    assert "2.000 ± 1.132 ms of CPU time per pair, 2.00%" in output.getvalue()


@pytest.mark.slow
def test_the_same_shard_is_measured_in_both_ways() -> None:
    found = measure_observation(width=64, height=48, pairs=4, method="average", repeats=2)
    assert len(found.rounds) == 2
    assert all(min(r.plain_seconds, r.watched_seconds) > 0 for r in found.rounds)


def test_measurements_of_nothing_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="Expected"):
        measure_observation(repeats=0)
