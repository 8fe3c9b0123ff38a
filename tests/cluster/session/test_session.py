"""A Ray of its own is for this process alone, and leaves no trace."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from support.environment import child_environment
from support.processes import session_members, wait_until

from cluster.session.local import _own_token, _remove_abandoned, _session_folder
from fusion_core.errors import RunFailedError

SESSION = """
import json
import os
import socket
import subprocess
import sys
import psutil
import ray
from pathlib import Path
from ray._private import services
from cluster.session.connection import ClusterOptions, ray_session
from support.processes import session_members
def variables():
    return {name: os.environ[name] for name in os.environ if "AUTH" in name or "CLUSTER" in name}
def resolved():
    return services.resolve_ip_for_localhost("127.0.0.1")
def listeners():
    for process in session_members(os.getsid(0)):
        role = "driver" if process.pid == os.getpid() else process.name().partition(":")[0]
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM:
                yield connection.laddr.ip, role
services.node_ip_address_from_perspective = lambda address: "outward"
found = {"variables": [variables()], "resolved": [resolved()]}
with ray_session(ClusterOptions(address="local", workers=1)) as address:
    found["resolved"].append(resolved())
    found["folders"] = {path.name: path.stat().st_mode & 0o777
                        for path in Path(os.environ["RAY_TMPDIR"]).iterdir()}
    ray.get(ray.remote(lambda: None).remote())
    found["listeners"] = list(listeners())
    found["commands"] = [" ".join(p.cmdline()) for p in session_members(os.getsid(0))]
    if len(sys.argv) > 1:
        foreign = {name: value for name, value in os.environ.items() if "AUTH" not in name}
        command = [sys.executable, "-c", sys.argv[1], address]
        found["intruder"] = subprocess.run(command, env=foreign, capture_output=True).returncode
found["resolved"].append(resolved())
found["variables"].append(variables())
print(json.dumps(found))
"""
KILLED = """
import os
import signal
from cluster.session.connection import ClusterOptions, ray_session
with ray_session(ClusterOptions(address="local", workers=1)):
    os.kill(os.getpid(), signal.SIGKILL)
"""
INTRUDER = "import ray, sys; ray.init(address=sys.argv[1])"


@pytest.fixture(scope="module")
def traces() -> Iterator[Path]:
    """A folder for the home and the temporary files of a process; its path is short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "home").mkdir()
        (Path(folder) / "tmp").mkdir()
        yield Path(folder)


def run_session(traces: Path, *arguments: str) -> dict[str, Any]:
    """Return what a process reports of a session of its own."""
    folders = {"HOME": str(traces / "home"), "RAY_TMPDIR": str(traces / "tmp")}
    environment = child_environment(folders)
    del environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]  # which all other tests have set
    shown = subprocess.run(
        [sys.executable, "-c", SESSION, *arguments],
        capture_output=True, text=True, check=True, timeout=240, env=environment,
        start_new_session=True,
    )  # fmt: skip
    reported: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return reported


@pytest.fixture(scope="module")
def found(traces: Path) -> dict[str, Any]:
    """What a process finds before, in and after a session."""
    return run_session(traces)


def test_a_local_ray_listens_on_loopback_only(found: dict[str, Any]) -> None:
    listeners = found["listeners"]
    assert {role for _, role in listeners} >= {"driver", "raylet", "gcs_server"}, listeners
    assert {ip for ip, _ in listeners} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, listeners


def test_a_local_ray_has_no_agent_for_metrics_that_nobody_reads(found: dict[str, Any]) -> None:
    commands = found["commands"]
    assert sum(c.startswith(sys.executable) and "/no_agent.py " in c for c in commands) == 1
    assert not [command for command in commands if command.startswith("ray::DashboardAgent")]


def test_a_cluster_can_reach_a_driver_that_had_a_ray_of_its_own_before(
    found: dict[str, Any],
) -> None:
    assert found["resolved"] == ["outward", "127.0.0.1", "outward"]


def test_a_local_ray_leaves_no_file_in_the_home_and_none_of_its_session(
    found: dict[str, Any], traces: Path
) -> None:
    assert list(found["folders"].values()) == [0o700]
    assert [list((traces / name).iterdir()) for name in ("home", "tmp")] == [[], []]


def test_a_local_ray_leaves_the_environment_as_it_was(found: dict[str, Any]) -> None:
    before, after = found["variables"]
    assert before == after


@pytest.mark.slow
def test_another_user_of_the_machine_cannot_connect_to_a_local_ray(traces: Path) -> None:
    assert run_session(traces, INTRUDER)["intruder"] == 1


def test_a_local_ray_ends_with_a_process_that_is_killed(traces: Path) -> None:
    environment = child_environment({"RAY_TMPDIR": str(traces / "tmp")})
    driver = subprocess.Popen(
        [sys.executable, "-c", KILLED], env=environment, start_new_session=True
    )
    assert driver.wait(240) == -signal.SIGKILL
    wait_until(lambda: not list(session_members(driver.pid)), timeout=60, what="the end of Ray")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def test_only_folders_of_processes_that_have_ended_are_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    abandoned, used, other = (folder / f"irfuse_ray_{name}" for name in ("a", "b", "c"))
    for path in (abandoned, used, other):
        path.mkdir()
    for path in (abandoned, used):
        (path / "in-use").touch()
    with (used / "in-use").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _session_folder() as own:
            assert set(folder.iterdir()) == {used, other, own.parent}
        assert set(folder.iterdir()) == {used, other}


def test_a_folder_that_is_being_prepared_is_not_taken_for_abandoned(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    lock = fcntl.flock

    def lock_after_another_process_has_looked(file: TextIO, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            _remove_abandoned(folder)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_after_another_process_has_looked)
    with _session_folder() as own:
        assert (own.parent / "in-use").exists()


def test_a_folder_that_is_too_long_for_sockets_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    message = "RAY_TMPDIR is .* expected at most 20 characters"
    with pytest.raises(RunFailedError, match=message), _session_folder():
        pass


def test_a_long_folder_for_temporary_files_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _session_folder() as own:
        assert own.parent.parent == Path("/tmp")


def test_a_folder_that_cannot_be_written_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc")
    message = "none can be created in /proc: .*; set RAY_TMPDIR"
    with pytest.raises(RunFailedError, match=message), _session_folder():
        pass


def test_the_token_is_that_of_the_session_and_the_users_own_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "own")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    tokens = []
    for token in ("a", "b"):
        with _own_token(token):
            tokens.append(os.environ["RAY_AUTH_TOKEN"])
            assert os.environ["RAY_AUTH_MODE"] == "token"
        assert (os.environ["RAY_AUTH_TOKEN"], os.environ["RAY_AUTH_MODE"]) == ("own", "disabled")
    assert tokens == ["a", "b"]
