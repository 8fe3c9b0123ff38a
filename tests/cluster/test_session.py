"""A Ray of its own listens on the loopback address alone, and leaves no trace."""

import subprocess
import sys

from support.environment import child_environment

LISTENERS = """
import psutil
from cluster.session import ClusterOptions, ray_session
with ray_session(ClusterOptions(address="local", workers=1)):
    for process in psutil.Process().children(recursive=True):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                print(connection.laddr.ip)
"""
ADDRESSES = """
import os
import ray
from ray._private import services
from cluster.session import ClusterOptions, ray_session
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
    )  # fmt: skip
    return shown.stdout


def test_a_local_ray_listens_on_loopback_only() -> None:
    addresses = set(run_python(LISTENERS).split())
    assert addresses
    assert all(address in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for address in addresses)


def test_a_cluster_can_reach_a_driver_that_had_a_ray_of_its_own_before() -> None:
    assert run_python(ADDRESSES).split() == ["outward", "127.0.0.1", "outward", "None"]
