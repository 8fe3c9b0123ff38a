"""The measurement of the driver loop: every shard is committed by workers that compute nothing."""

import pytest

from fusion_core.errors import InvalidValueError
from tests.acceptance.driver_step import measure_driver_step


@pytest.mark.parametrize("shard_seconds", [0.0, 0.01])
def test_all_shards_are_committed_by_all_workers(shard_seconds: float) -> None:
    found = measure_driver_step(workers=20, shards=300, shard_seconds=shard_seconds)
    assert found.shards == 300
    assert 0 < found.driver_seconds < found.seconds + 0.1
    assert found.microseconds_per_commit == pytest.approx(found.driver_seconds / 300 * 1e6)


def test_measurements_of_nothing_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="Expected"):
        measure_driver_step(workers=0)
