"""The process that starts a local Ray, with nodes that only note what happens to them."""

import os
import socket
from typing import Any

import pytest
import ray._private.node
import ray._private.utils

from cluster.session import head

SETTINGS = {"node_ip_address": "127.0.0.1", "temp_dir": os.sep}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happens to nodes, of which the first cannot be started."""
    noted: list[Any] = []

    class FakeNode:
        def __init__(self, parameters: Any, **_: object) -> None:
            noted.append(parameters.metrics_agent_port)
            self.start_head_processes()
            if len(noted) == 1:
                raise OSError("the port is in use")

        def start_head_processes(self) -> None:
            pass

        def start_ray_processes(self) -> None:
            pass

        def kill_all_processes(self, **_: object) -> None:
            noted.append("killed")

    monkeypatch.setattr(ray._private.node, "Node", FakeNode)
    original = ray._private.utils.get_dashboard_dependency_error
    monkeypatch.setattr(ray._private.utils, "get_dashboard_dependency_error", original)
    return noted


def test_a_node_whose_port_was_taken_is_started_again_with_others(events: list[Any]) -> None:
    head._start(SETTINGS)
    first, killed, second = events
    assert killed == "killed"
    assert first != second


def test_ports_are_free_and_different() -> None:
    ports = head._free_ports("127.0.0.1")
    assert len({*ports.values()}) == len(head.PORTS)
    for port in ports.values():
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))
