"""`python -m support.ray_head ADDRESS_FILE`: hold a two-node Ray cluster until SIGTERM."""

import os
import signal
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.services import Connection, Launch

CPUS_PER_NODE = 2


def prepare_ray(folder: Path) -> Launch:
    """Describe the cluster's process; it is ready once it has written its address."""
    address_file = folder / "address"
    address_file.unlink(missing_ok=True)

    def connection() -> Connection | None:
        return {"address": address_file.read_text()} if address_file.exists() else None

    return Launch([sys.executable, "-m", "support.ray_head", str(address_file)], connection)


def main(address_file: Path) -> None:
    """Start head and worker node, publish the address and wait to be ended."""
    _exit_on_sigterm()
    # Unix sockets live below this folder and their paths may not exceed 107 bytes.
    with TemporaryDirectory(prefix="irfuse-ray-", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder  # read while Ray is imported
        from ray.cluster_utils import Cluster

        node: dict[str, Any] = {
            "num_cpus": CPUS_PER_NODE,
            "node_ip_address": "127.0.0.1",
            "dashboard_agent_listen_port": 0,
        }
        cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        try:
            cluster.add_node(**node)
            _exit_on_sigterm()  # in place of Ray's handler, which first drains for up to 30 s
            unfinished = address_file.with_suffix(".unfinished")
            unfinished.write_text(cluster.address)
            unfinished.rename(address_file)
            threading.Event().wait()
        finally:
            cluster.shutdown()


def _exit_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
