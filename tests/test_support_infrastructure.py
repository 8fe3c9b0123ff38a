"""The shared servers and helpers do what the other tests rely on."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import psutil
import pytest
import ray
import s3fs
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from support.cli import RunningCommand, run_cli
from support.environment import isolate
from support.processes import is_alive, wait_until
from support.s3 import S3Server
from support.services import Launch, ServiceError, Services

# Each of two workers reports the address that it got, then waits for leave to end.
NESTED_TEST = """
    import os
    from pathlib import Path
    from support.processes import wait_until

    def test_reports_its_address(ray_address, s3_moto, worker_id):
        folder = Path(os.environ["REPORTS"])
        (folder / f"{worker_id}.unfinished").write_text(ray_address)
        (folder / f"{worker_id}.unfinished").rename(folder / f"{worker_id}.address")
        wait_until((folder / "leave").exists, timeout=120, what="leave to end")
"""

# A driver with a child that ignores the usual signals.
STUBBORN_DRIVER = """
    import subprocess, sys, time
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)"
    print(subprocess.Popen([sys.executable, "-c", code]).pid, flush=True)
    time.sleep(99)
"""


@pytest.fixture
def ray_nodes(ray_address: str) -> Iterator[list[str]]:
    ray.init(address=ray_address, log_to_driver=False)
    yield [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    ray.shutdown()


def file_system(server: S3Server, **changes: str) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(**server.storage_options | changes, skip_instance_cache=True)


def start_nested_session(folder: Path) -> RunningCommand:
    test = folder / "test_nested.py"
    test.write_text(dedent(NESTED_TEST))
    options = ["-n2", "--dist=each", "--timeout=200", "-p", "support.plugin"]
    places = [f"--rootdir={folder}", f"--basetemp={folder / 'session'}", str(test)]
    env = {"REPORTS": str(folder), "PYTEST_ADDOPTS": ""}
    return RunningCommand([sys.executable, "-m", "pytest", *options, *places], env=env)


def server_processes(session: Path) -> list[psutil.Process]:
    states = [json.loads(path.read_text()) for path in session.glob("*.service.json")]
    guards = [psutil.Process(state["pid"]) for state in states]
    return [*guards, *(child for guard in guards for child in guard.children(recursive=True))]


def test_the_s3_server_returns_what_was_stored(s3: S3Server) -> None:
    key = f"{s3.new_bucket()}/some folder/object"
    files = file_system(s3)
    files.pipe_file(key, b"content")
    assert files.cat_file(key) == b"content"


def test_the_s3_server_is_found_through_the_environment_alone(s3: S3Server) -> None:
    script = "import s3fs, sys; s3fs.S3FileSystem().pipe_file(sys.argv[1], b'content')"
    key = f"{s3.new_bucket()}/object"
    with RunningCommand([sys.executable, "-c", script, key], env=s3.env) as command:
        result = command.wait(timeout=60)
    assert (result.returncode, file_system(s3).cat_file(key)) == (0, b"content"), result.stderr


def test_a_new_bucket_is_empty_and_unlike_the_one_before(s3: S3Server) -> None:
    first, second = s3.new_bucket(), s3.new_bucket()
    assert first != second
    assert file_system(s3).ls(second) == []


def test_seaweed_refuses_wrong_credentials(s3_seaweed: S3Server) -> None:
    key = f"{s3_seaweed.new_bucket()}/object"
    with pytest.raises(PermissionError):
        file_system(s3_seaweed, secret="wrong").pipe_file(key, b"content")


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('port in use')"]
    services = Services(tmp_path, os.getpid())
    with pytest.raises(ServiceError, match=r"ended with code 1.*\n.*port in use"):
        services.get("broken", lambda folder: Launch(command, lambda: None))


def test_a_ray_task_runs_on_each_of_two_nodes(ray_nodes: list[str]) -> None:
    def where() -> str:
        return ray.get_runtime_context().get_node_id()

    pinned = [NodeAffinitySchedulingStrategy(node, soft=False) for node in ray_nodes]
    tasks = [ray.remote(where).options(scheduling_strategy=place).remote() for place in pinned]
    assert len(ray_nodes) == 2
    assert ray.get(tasks, timeout=60) == ray_nodes


def test_the_ray_cluster_has_two_cpus_per_node(ray_nodes: list[str]) -> None:
    assert [node["Resources"]["CPU"] for node in ray.nodes()] == [2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["killed", "finished"])
def test_workers_share_servers_that_end_with_the_controller(tmp_path: Path, ending: str) -> None:
    with start_nested_session(tmp_path) as controller:
        wait_until(
            lambda: controller.poll() is not None or len(list(tmp_path.glob("*.address"))) == 2,
            timeout=120,
            what="reports of two workers",
        )
        assert controller.poll() is None, controller.stdout
        servers = server_processes(tmp_path / "session")
        if ending == "finished":
            (tmp_path / "leave").touch()
            assert controller.wait(timeout=60).returncode == 0, controller.stdout
        else:
            controller.send_signal(signal.SIGKILL)
        wait_until(
            lambda: not any(map(is_alive, servers)),
            timeout=90,
            what="all servers to have ended",
        )
    addresses = [path.read_text() for path in tmp_path.glob("*.address")]
    assert addresses[0] == addresses[1]
    assert len(servers) > 4


def test_leaving_a_running_command_ends_the_orphans_of_a_killed_driver() -> None:
    with RunningCommand([sys.executable, "-c", dedent(STUBBORN_DRIVER)]) as command:
        line = wait_until(lambda: command.stdout.strip(), timeout=30, what="the child's id")
        child = psutil.Process(int(line))
        command.send_signal(signal.SIGKILL)
        assert command.wait(timeout=10).returncode == -signal.SIGKILL
        assert is_alive(child)
    assert not is_alive(child)


def test_a_command_past_its_deadline_is_reported_with_its_output() -> None:
    with RunningCommand([sys.executable, "-c", dedent(STUBBORN_DRIVER)]) as command:
        wait_until(lambda: command.stdout, timeout=30, what="output")
        with pytest.raises(TimeoutError, match=r"still runs\nstdout:\n\d+"):
            command.wait(timeout=0.1)


def test_the_command_line_runs_from_this_checkout() -> None:
    assert run_cli("--help").returncode == 0


def test_the_developers_credentials_and_cluster_are_removed() -> None:
    environ = {"AWS_PROFILE": "mine", "AWS_ACCESS_KEY_ID": "a", "RAY_ADDRESS": "auto", "HOME": "h"}
    isolate(environ)
    assert not environ.keys() & {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "RAY_ADDRESS"}
    assert environ["HOME"] == "h"
