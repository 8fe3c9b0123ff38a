"""The processes of a local Ray, which end with the process that has started this one.

Run as `python head.py SETTINGS`, with the arguments of `RayParams` as JSON. It prints one line of
JSON with the address of Ray or an error, and stops Ray when its standard input ends, which is when
the process at the other end closes it, or has ended. As a script, it imports nothing of irfuse.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

_LOOK_EVERY_S = 1.0
_REGISTERED_EVERY_S = 0.02
_LONGEST_START_S = 30.0
_CHOSEN_PORTS = 16_384, 32_768
PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
"""Arguments of `RayParams`: ports of the agents of the node, which waits for those that are not
given. Only the last agent is there."""


def main() -> int:
    """Start Ray, announce it, and stop it at the end of the standard input."""
    parent = os.getppid()
    try:
        node = _start(json.loads(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - Ray raises this class itself
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(json.dumps({"error": reason}), flush=True)
        return 1
    print(json.dumps({"address": node.gcs_address}), flush=True)
    # A process that the parent has forked may keep the standard input open for longer.
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], _LOOK_EVERY_S)[0] and not sys.stdin.read(1):
            break
    node.kill_all_processes(check_alive=False, allow_graceful=True)
    return 0


def _start(settings: dict[str, Any]) -> Any:  # noqa: ANN401
    """Start the processes of Ray.

    Nobody looks at this Ray, so that it needs neither a dashboard nor the agent of a node, which
    offers metrics. Both would take seconds to start, and the agent some CPU time until the end.
    """
    from ray._private import ray_constants, services
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    python_for = services._build_python_executable_command_memory_profileable

    def without_agent(component: str, *arguments: Any, **options: Any) -> list[str]:  # noqa: ANN401
        """Return the command that runs a script of Ray, or what stands in for the agent."""
        if component == ray_constants.PROCESS_TYPE_DASHBOARD_AGENT:
            return [sys.executable, "-I", "-S", str(Path(__file__).with_name("no_agent.py"))]
        return python_for(component, *arguments, **options)  # type: ignore[no-any-return]

    services._build_python_executable_command_memory_profileable = without_agent

    class Head(Node):
        """A node that starts fast, and of which nothing is left if it does not start."""

        def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            try:
                super().__init__(*arguments, **options)
            except BaseException:
                self.kill_all_processes(check_alive=False, allow_graceful=False)
                raise

        def start_api_server(self, **_: object) -> None:
            """Start no dashboard, which would be waited for."""

        def start_ray_processes(self) -> None:
            """Start the other processes, and wait until the node has registered.

            What follows asks for the node, and sleeps for a second if it is not there yet.
            """
            super().start_ray_processes()  # type: ignore[no-untyped-call]
            (raylet,) = self.all_processes["raylet"]
            gcs = self.get_gcs_client()  # type: ignore[no-untyped-call]
            deadline = time.monotonic() + _LONGEST_START_S
            while not gcs.get_all_node_info():
                if raylet.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("its processes have ended, or do not answer")
                time.sleep(_REGISTERED_EVERY_S)

    parameters = RayParams(**{**settings, **_free_ports(settings["node_ip_address"])})
    return Head(parameters, head=True, shutdown_at_exit=False, spawn_reaper=False)


def _free_ports(host: str) -> dict[str, int]:
    """Choose ports for the agents of the node.

    They are below those that systems give to other programs, which could take them meanwhile.
    """
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        while len(ports) < len(PORTS):
            server = stack.enter_context(socket.socket())
            port = random.randrange(*_CHOSEN_PORTS)
            with suppress(OSError):
                server.bind((host, port))
                ports[PORTS[len(ports)]] = port
        return ports


if __name__ == "__main__":
    sys.exit(main())
