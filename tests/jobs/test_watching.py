"""Those who watch a run."""

from types import SimpleNamespace
from typing import Any

from support.progress import RecordedProgress

from jobs.watching import NodeWarnings


def test_the_warnings_of_workers_are_shown_once_for_each_node() -> None:
    progress = RecordedProgress()
    watcher = NodeWarnings(progress)
    for node, warnings in (("a", ("slow",)), ("a", ("slow",)), ("b", ("slow", "old")), ("c", ())):
        worker: Any = SimpleNamespace(node=node, info=SimpleNamespace(warnings=warnings))
        watcher.worker_ready(worker)
    assert progress.notes == ["node a: slow", "node b: slow", "node b: old"]
