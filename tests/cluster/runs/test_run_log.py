"""The log of a run."""

import logging
from typing import Any

import pytest

from cluster.runs.events import LOGGER, Event
from cluster.runs.messages import ShardReport
from cluster.runs.metering import Usage, WorkDone
from cluster.runs.pool import PoolWorker
from cluster.runs.run_log import RunLog


def test_the_repeated_requests_of_each_report_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle: Any = None
    worker, log = PoolWorker(handle, None, 0.0), RunLog("ab-out")
    with caplog.at_level(logging.WARNING, logger=LOGGER.name):
        for shard, retries in enumerate(({"read 503": 2}, {}, {"read 503": 1, "write 500": 1})):
            log.committed(worker, ShardReport(shard, 1, {}, 1, 0, WorkDone(Usage(retries=retries))))
    events: list[Event] = [vars(record)["event"] for record in caplog.records]
    assert [(e.event, e.stage, e.error_type, e.error) for e in events] == [
        ("storage.retry", "read", "503", "repeated 2 times"),
        ("storage.retry", "read", "503", "repeated"),
        ("storage.retry", "write", "500", "repeated"),
    ]
