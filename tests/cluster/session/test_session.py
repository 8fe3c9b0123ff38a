"""A Ray of its own listens on the loopback address alone, and leaves no trace."""

import subprocess
import sys

from support.environment import child_environment

LISTENERS = """
import os
import socket
import psutil
from cluster.session.ray_session import ClusterOptions, ray_session
from support.processes import session_members
with ray_session(ClusterOptions(address="local", workers=1)):
    import ray
    ray.get(ray.remote(lambda: None).remote())
    for process in session_members(os.getsid(0)):
        role = "driver" if process.pid == os.getpid() else process.name().partition(":")[0]
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM:
                print(connection.laddr.ip, role, sep=",")
"""
ADDRESSES = """
import os
import ray
from ray._private import services
from cluster.session.ray_session import ClusterOptions, ray_session
def show():
    print(services.resolve_ip_for_localhost("127.0.0.1"), end=" ")
services.node_ip_address_from_perspective = lambda address: "outward"
show()
with ray_session(ClusterOptions(address="local", workers=1)):
    show()
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


def test_a_local_ray_listens_on_loopback_only() -> None:
    listeners = {tuple(line.split(",")) for line in run_python(LISTENERS).splitlines()}
    assert {role for _, role in listeners} >= {"driver", "raylet", "gcs_server"}, listeners
    addresses = {address for address, _ in listeners}
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, listeners


def test_a_cluster_can_reach_a_driver_that_had_a_ray_of_its_own_before() -> None:
    assert run_python(ADDRESSES).split() == ["outward", "127.0.0.1", "outward", "None"]
