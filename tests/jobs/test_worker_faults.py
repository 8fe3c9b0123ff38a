"""Whole runs whose workers are killed, stopped, or lost with their node."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.cli import RunningCommand, start_cli
from support.collections import PAIRS, SHARD_SIZE, read_rows, run_command, stable
from support.processes import is_alive, session_members, wait_until
from support.ray_head import add_node, prepare_nodes
from support.ray_processes import drain, job_workers, kill, kill_node, raylets
from support.services import Services

from cluster.storage.store import Store

WAIT_S = 240.0
WORKER = "FusionWorker"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A cluster of a head without CPUs and two nodes, and the folder that controls it."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    services = Services(folder, os.getpid())
    try:
        yield services.get("nodes", prepare_nodes)["address"], folder / "nodes"
    finally:
        services.end()


def shards(out: Path) -> int:
    return len(Store(str(out)).entries("shards"))


def wait_for_shards(driver: RunningCommand, out: Path, count: int) -> None:
    """Wait until so many shards are committed, of a run that is not over."""
    wait_until(
        lambda: driver.poll() is not None or shards(out) >= count, timeout=WAIT_S, what="a shard"
    )
    assert driver.poll() is None, driver.stderr


def assert_same(out: Path, undisturbed: Path) -> None:
    """Every pair has one row, as in the run that nothing happened to, and nothing else is there."""
    assert stable(read_rows(out)) == stable(read_rows(undisturbed))
    keys, expected = (
        [entry.key for entry in Store(str(folder)).entries()] for folder in (out, undisturbed)
    )
    assert list(filter(_decides, keys)) == list(filter(_decides, expected))


def _decides(key: str) -> bool:
    """Whether an object is the same for the same rows, however they were computed."""
    return not key.startswith(("attempts/", "scores/"))


def test_a_worker_that_is_killed_costs_no_pair(
    collection: Path, undisturbed: Path, ray_address: str, tmp_path: Path
) -> None:
    with start_cli(*run_command(collection, tmp_path, ray_address)) as driver:
        wait_for_shards(driver, tmp_path, 2)
        (worker,) = job_workers(ray_address, driver.pid, WORKER)
        kill(worker)
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path, undisturbed)
    assert {row["attempt"] for row in read_rows(tmp_path)} == {1, 2}


@pytest.mark.slow
def test_workers_that_are_killed_again_and_again_cost_no_pair(
    collection: Path, undisturbed: Path, ray_address: str, tmp_path: Path
) -> None:
    with start_cli(*run_command(collection, tmp_path, ray_address, workers=2)) as driver:
        starting = wait_until(
            lambda: job_workers(ray_address, driver.pid, WORKER), timeout=WAIT_S, what="a worker"
        )
        kill(starting[0])
        for count in (1, 5, 9):
            wait_for_shards(driver, tmp_path, count)
            oldest, *_ = job_workers(ray_address, driver.pid, WORKER)
            kill(oldest)
        assert driver.poll() is None, driver.stderr
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path, undisturbed)
    assert {row["attempt"] for row in read_rows(tmp_path)} == {1, 2}


@pytest.mark.slow
def test_workers_that_stop_answering_are_replaced_and_do_no_harm_when_they_wake(
    collection: Path, undisturbed: Path, ray_address: str, tmp_path: Path
) -> None:
    arguments = run_command(collection, tmp_path, ray_address, "--pair-timeout", 10, workers=2)
    with start_cli(*arguments) as driver:
        wait_for_shards(driver, tmp_path, 2)
        stopped = job_workers(ray_address, driver.pid, WORKER)
        for worker in stopped:
            worker.send_signal(signal.SIGSTOP)
        try:
            wait_until(
                lambda: set(job_workers(ray_address, driver.pid, WORKER)) - set(stopped),
                timeout=WAIT_S,
                what="a worker in their place",
            )
        finally:
            for worker in stopped:
                with suppress(psutil.NoSuchProcess):
                    worker.send_signal(signal.SIGCONT)
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    wait_until(lambda: not any(map(is_alive, stopped)), timeout=WAIT_S, what="the sleepers' end")
    assert_same(tmp_path, undisturbed)
    assert {row["attempt"] for row in read_rows(tmp_path)} == {1, 2}


@pytest.mark.slow
def test_nodes_that_are_lost_with_shards_in_work_cost_no_pair(
    collection: Path, undisturbed: Path, nodes: tuple[str, Path], tmp_path: Path
) -> None:
    address, control = nodes
    out = tmp_path / "out"

    def node_at_work() -> psutil.Process | bool:
        """Return the node of a shard in careful mode, or of any if that was over too soon."""
        workers = job_workers(address, driver.pid, "process_pair")
        if not workers and shards(out) >= 4:
            workers = job_workers(address, driver.pid, WORKER)
        return workers[0].parent() if workers else driver.poll() is not None

    with start_cli(*run_command(collection, out, address, workers=2)) as driver:
        wait_for_shards(driver, out, 1)
        before = raylets(address)
        kill(job_workers(address, driver.pid, WORKER)[0])
        node = wait_until(node_at_work, timeout=WAIT_S, interval=0.01, what="a worker at work")
        assert isinstance(node, psutil.Process), driver.stderr
        kill_node(node)
        for node in raylets(address)[1:]:
            kill_node(node)
        left = shards(out)
        assert left < PAIRS // SHARD_SIZE
        add_node(control)
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert len(set(raylets(address)) - set(before)) == 1
    assert_same(out, undisturbed)


@pytest.mark.slow  # a killed driver is in the default run
@pytest.mark.parametrize("own_ray", [False, True], ids=["cluster", "own ray"])
def test_a_driver_that_is_terminated_says_how_to_go_on_and_leaves_no_worker(
    collection: Path, ray_address: str, tmp_path: Path, own_ray: bool
) -> None:
    address = "local" if own_ray else ray_address
    with start_cli(*run_command(collection, tmp_path, address)) as driver:
        wait_for_shards(driver, tmp_path, 1)
        workers = (
            session_members(driver.pid) if own_ray else job_workers(ray_address, driver.pid, WORKER)
        )
        assert workers
        driver.send_signal(signal.SIGTERM)
        result = driver.wait(timeout=WAIT_S)
        wait_until(
            lambda: not any(is_alive(worker) for worker in workers),
            timeout=WAIT_S,
            what="the end of the workers",
        )
    assert result.returncode == 130
    assert "run the same command again" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_node_that_is_taken_away_with_a_notice_hands_its_shards_back(
    collection: Path, undisturbed: Path, nodes: tuple[str, Path], tmp_path: Path
) -> None:
    address, _ = nodes
    out = tmp_path / "out"
    with start_cli(*run_command(collection, out, address, workers=2)) as driver:

        def workers() -> list[psutil.Process]:
            return job_workers(address, driver.pid, WORKER)

        wait_until(lambda: len(workers()) == 2, timeout=WAIT_S, what="two workers")
        wait_for_shards(driver, out, 1)
        leaving = workers()[0].parent()
        assert leaving is not None
        drain(address, leaving)

        def left() -> bool:
            return all(worker.ppid() != leaving.pid for worker in workers())

        wait_until(left, timeout=WAIT_S, what="the end of the worker on the node")
        assert shards(out) < PAIRS // SHARD_SIZE, "the worker ended after the run"
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert_same(out, undisturbed)
    assert {row["attempt"] for row in read_rows(out)} == {1}
    assert "died" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("process", ["raylet", "gcs_server"])
def test_the_loss_of_ray_itself_ends_a_run_with_a_sentence(
    collection: Path, tmp_path: Path, process: str
) -> None:
    with start_cli(*run_command(collection, tmp_path, "local")) as driver:
        wait_for_shards(driver, tmp_path, 1)
        (victim,) = (p for p in session_members(driver.pid) if p.name() == process)
        kill(victim)
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 1
    assert f"({process}) has ended or cannot be reached" in result.stderr
    assert "run the same command again" in result.stderr
    assert "Traceback" not in result.stderr
