"""Errors of a step, which become the reasons of failed rows."""

import pytest
from support.records import encoded_shard, result_row

from cluster.collections.manifest_reader import PairRow
from cluster.runs.steps import PairState, Steps


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("bad\n  \udcff name"), "bad \\udcff name"),
        (MemoryError(), "Not enough memory for this pair: MemoryError"),
        (OSError("https://host/a.png?signature=hush"), "https://host/a.png?..."),
        (KeyError("x" * 1000), "'" + "x" * 499),
    ],
)
def test_any_error_becomes_a_row_that_can_be_written(error: Exception, message: str) -> None:
    state = PairState(0, PairRow("p", "i", "v", "s"))

    def fail() -> None:
        raise error

    assert Steps().run([state], "fuse", fail) is None
    assert state.failure is not None
    assert (state.failure.type, state.failure.message) == (type(error).__name__, message)
    row = result_row(status="failed", error_stage="fuse", error_message=state.failure.message)
    encoded_shard([row], ["EN"])
