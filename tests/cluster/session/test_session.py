"""A Ray of its own listens on the loopback address alone, and leaves no trace."""

import subprocess
import sys

import pytest
from support.environment import child_environment

SESSION = """
import os
import socket
import psutil
import ray
from ray._private import services
from cluster.session.connection import ClusterOptions, ray_session
from support.processes import session_members
def show():
    print(services.resolve_ip_for_localhost("127.0.0.1"))
services.node_ip_address_from_perspective = lambda address: "outward"
show()
with ray_session(ClusterOptions(address="local", workers=1)):
    show()
    ray.get(ray.remote(lambda: None).remote())
    for process in session_members(os.getsid(0)):
        role = "driver" if process.pid == os.getpid() else process.name().partition(":")[0]
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM:
                print(connection.laddr.ip, role, sep=",")
show()
print(os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"))
"""


def run_python(code: str) -> str:
    environment = child_environment()
    del environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]  # which all other tests have set
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, timeout=180, env=environment,
        start_new_session=True,
    )  # fmt: skip
    return shown.stdout


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """What a process prints before, in and after a session of its own Ray."""
    return run_python(SESSION).splitlines()


def test_a_local_ray_listens_on_loopback_only(printed: list[str]) -> None:
    listeners = {tuple(line.split(",")) for line in printed if "," in line}
    assert {role for _, role in listeners} >= {"driver", "raylet", "gcs_server"}, listeners
    addresses = {address for address, _ in listeners}
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, listeners


def test_a_cluster_can_reach_a_driver_that_had_a_ray_of_its_own_before(printed: list[str]) -> None:
    shown = [line for line in printed if "," not in line]
    assert shown == ["outward", "127.0.0.1", "outward", "None"]
