"""The bookkeeping of a shard that is computed pair by pair."""

from typing import Any

from cluster.runs.isolation import CRASHES_TO_BLAME, CRASHES_TO_GIVE_UP, IsolatedShard
from cluster.runs.messages import ShardTask


class FakeMethod:
    def __init__(self, name: str, calls: list[tuple[Any, ...]]) -> None:
        self._name, self._calls = name, calls

    def remote(self, *arguments: object) -> Any:
        self._calls.append((self._name, *arguments[1:]))
        reference = f"{self._name}-{len(self._calls)}"
        return (
            (reference, f"rows-{len(self._calls)}") if self._name == "process_pair" else reference
        )


class FakeWorker:
    """Returns a fake reference for every actor call and records the call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> FakeMethod:
        return FakeMethod(name, self.calls)


def started(offsets: list[int]) -> tuple[IsolatedShard, FakeWorker]:
    shard, worker = IsolatedShard(ShardTask(7)), FakeWorker()
    shard.start_step(worker)
    assert not shard.step_done(offsets)
    return shard, worker


def test_rows_are_computed_in_order_and_then_committed() -> None:
    shard, worker = started([0, 1])
    for _ in range(2):
        shard.start_step(worker)
        assert not shard.step_done(0)
    shard.start_step(worker)
    assert shard.step_done("report")
    assert [call[0] for call in worker.calls] == [
        "offsets", "process_pair", "process_pair", "commit",
    ]  # fmt: skip


def test_one_death_does_not_mark_a_pair_as_failed() -> None:
    shard, worker = started([0, 1])
    shard.start_step(worker)
    assert shard.worker_died("killed")
    shard.start_step(worker)
    assert worker.calls[-1] == ("process_pair", 0, False)
    assert not shard.failures


def test_a_pair_that_kills_again_is_blamed_and_its_neighbours_are_kept() -> None:
    shard, worker = started([0, 1, 2])
    shard.start_step(worker)
    shard.step_done(0)
    for _ in range(CRASHES_TO_BLAME):
        shard.start_step(worker)
        assert shard.worker_died("out of memory")
    shard.start_step(worker)
    shard.step_done(2)
    assert shard.step == "commit"
    assert list(shard.rows) == [0, 2]
    assert list(shard.failures) == [1]
    assert shard.failures[1].stage == "crash"
    assert shard.failures[1].message == (
        "The worker died while it computed this pair: out of memory"
    )


def test_a_commit_that_keeps_killing_is_given_up() -> None:
    shard, worker = started([])
    survived = []
    for _ in range(CRASHES_TO_GIVE_UP):
        shard.start_step(worker)
        survived.append(shard.worker_died("killed"))
    assert survived == [True] * (CRASHES_TO_GIVE_UP - 1) + [False]


def test_a_lost_node_discards_the_rows_but_not_the_known_failures() -> None:
    shard, worker = started([0, 1])
    for _ in range(CRASHES_TO_BLAME):
        shard.start_step(worker)
        shard.worker_died("segfault")
    shard.start_step(worker)
    shard.step_done(1)
    shard.restart()
    assert not shard.rows
    assert list(shard.failures) == [0]
    shard.start_step(worker)
    assert worker.calls[-1] == ("process_pair", 1, True)  # its row is lost, its count is not


def test_a_pair_is_not_blamed_for_memory_that_others_share_and_is_computed_again_alone() -> None:
    shard, worker = started([0, 1])
    for _ in range(5):
        shard.start_step(worker)
        assert shard.worker_died("out of memory", shared_memory=True)
        assert shard.alone
    assert not shard.failures
    shard.start_step(worker)
    assert worker.calls[-1] == ("process_pair", 0, False)
    shard.step_done(0)
    assert not shard.alone


def test_a_pair_that_dies_alone_on_its_node_is_blamed() -> None:
    shard, worker = started([0, 1])
    shard.start_step(worker)
    shard.worker_died("out of memory", shared_memory=True)
    for _ in range(CRASHES_TO_BLAME):
        assert shard.alone
        shard.start_step(worker)
        assert shard.worker_died("out of memory")
    assert "alone on its node" in shard.failures[0].message
    assert not shard.alone


def test_a_commit_is_not_given_up_because_of_memory_that_others_share() -> None:
    shard, worker = started([])
    for _ in range(CRASHES_TO_GIVE_UP):
        shard.start_step(worker)
        assert shard.worker_died("out of memory", shared_memory=True)
