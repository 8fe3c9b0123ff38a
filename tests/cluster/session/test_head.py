"""The process that starts a local Ray."""

import socket
from types import SimpleNamespace

import pytest
import ray._private.node
import ray._private.services

from cluster.session import head

SETTINGS = {"node_ip_address": "127.0.0.1", "temp_dir": "/"}


def test_ports_are_free_and_different() -> None:
    ports = head._free_ports("127.0.0.1")
    assert list(ports) == list(head.PORTS)
    assert len({*ports.values()}) == len(head.PORTS)
    for port in ports.values():
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


@pytest.mark.parametrize(("status", "patience_s"), [(1, 30.0), (None, 0.0)])
def test_a_node_that_ends_or_does_not_answer_is_an_error(
    status: int | None, patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = []

    class FakeNode:
        def __init__(self, parameters: object, **_: object) -> None:
            raylet = SimpleNamespace(process=SimpleNamespace(poll=lambda: status))
            self.all_processes = {"raylet": [raylet]}
            self.start_ray_processes()

        def start_ray_processes(self) -> None:
            pass

        def get_gcs_client(self) -> object:
            return SimpleNamespace(get_all_node_info=dict)

        def kill_all_processes(self, **options: bool) -> None:
            killed.append(options)

    monkeypatch.setattr(ray._private.node, "Node", FakeNode)
    name = "_build_python_executable_command_memory_profileable"
    monkeypatch.setattr(ray._private.services, name, getattr(ray._private.services, name))
    monkeypatch.setattr(head, "_LONGEST_START_S", patience_s)
    with pytest.raises(RuntimeError, match="have ended, or do not answer"):
        head._start(SETTINGS)
    assert killed == [{"check_alive": False, "allow_graceful": False}]
