"""Run a Ray cluster until SIGTERM: `python -m support.ray_head ADDRESS_FILE CPUS...`.

The first number is the CPUs of the head, each further one those of an additional node. Workers die
when they decode images that are marked as poison.
"""

import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.environment import POISON, child_environment
from support.processes import wait_until
from support.services import Connection, Launch

CPUS_PER_NODE = 2
_ADD = "add-a-node"


def prepare_ray(folder: Path) -> Launch:
    """Describe the process of a cluster of two nodes."""
    return _prepare(folder, [CPUS_PER_NODE, CPUS_PER_NODE])


def prepare_nodes(folder: Path) -> Launch:
    """Describe the process of a cluster of two nodes with one CPU, and a head without CPUs."""
    return _prepare(folder, [0, 1, 1])


def add_node(folder: Path) -> None:
    """Add a node to a cluster, and wait until it is ready."""
    request = folder / _ADD
    request.touch()
    wait_until(lambda: not request.exists(), timeout=60, what="another node")


def _prepare(folder: Path, cpus: list[int]) -> Launch:
    """The process is ready once it has written its address."""
    address_file = folder / "address"
    address_file.unlink(missing_ok=True)

    def connection() -> Connection | None:
        return {"address": address_file.read_text()} if address_file.exists() else None

    command = [sys.executable, "-m", "support.ray_head", str(address_file), *map(str, cpus)]
    return Launch(command, connection)


def main(address_file: Path, cpus: list[int]) -> None:
    """Start the nodes, publish the address and wait for a signal."""
    _exit_on_sigterm()
    # Unix sockets live below this folder and their paths may not exceed 107 bytes.
    with TemporaryDirectory(prefix="irfuse-ray-", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder  # read while Ray is imported
        os.environ |= child_environment({"PYTHONPATH": str(POISON)})
        from ray.cluster_utils import Cluster

        node: dict[str, Any] = {
            "node_ip_address": "127.0.0.1",
            "dashboard_agent_listen_port": 0,
        }
        head = node | {"num_cpus": cpus[0], "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for count in cpus[1:]:
                cluster.add_node(**node, num_cpus=count)
            _exit_on_sigterm()  # replaces Ray's handler, which drains for up to 30 s
            unfinished = address_file.with_suffix(".unfinished")
            unfinished.write_text(cluster.address)
            unfinished.rename(address_file)
            request = address_file.with_name(_ADD)
            while True:
                time.sleep(0.1)
                if request.exists():
                    cluster.add_node(**node, num_cpus=CPUS_PER_NODE)
                    request.unlink()
        finally:
            cluster.shutdown()


def _exit_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(count) for count in sys.argv[2:]])
