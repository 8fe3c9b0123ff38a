"""A Ray of its own listens on the loopback address alone."""

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


def test_a_local_ray_listens_on_loopback_only() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", LISTENERS],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=child_environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": ""}),
    )
    addresses = set(shown.stdout.split())
    assert addresses
    assert all(address in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for address in addresses)
