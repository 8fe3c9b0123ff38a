"""Errors of a step, which become the reasons of failed rows."""

import pytest
from support.records import encoded_shard, result_row

from cluster.collections.manifest_reader import PairRow
from cluster.runs.pair_state import PairState
from cluster.runs.steps import Steps


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


def test_the_traceback_of_a_failure_is_kept_without_secrets_until_its_kind_is_known() -> None:
    steps, states = Steps(), [PairState(n, PairRow("p", "i", "v", "s")) for n in range(2)]

    def fail() -> None:
        raise OSError("https://host/a.png?signature=hush")

    steps.run(states[:1], "read", fail)
    first = states[0].failure
    assert first is not None
    assert first.traceback is not None
    assert "in fail" in first.traceback
    assert "https://host/a.png?..." in first.traceback
    assert "hush" not in first.traceback
    steps.note_traced(states)
    steps.run(states[1:], "read", fail)
    second = states[1].failure
    assert second is not None
    assert second.traceback is None
