"""Addresses at which Ray answers, and others."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from support.processes import free_ports

from cluster.session import addresses
from cluster.session.addresses import check_address, check_same
from fusion_core.errors import RunFailedError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_ANSWER_TIMEOUT_S", 0.5)


def closed() -> Iterator[int]:
    yield free_ports(1)[0]


def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def web() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def other_grpc() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait()


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (closed, "Connection refused; check --address and RAY_ADDRESS"),
        (silent, "what answers there is not Ray; check --address"),
        (web, "what answers there is not Ray; check --address"),
        (other_grpc, "not Ray, or is not the port of its head; check --address"),
    ],
)
def test_what_is_not_ray_is_refused(
    serve: "type[Iterator[int]]", reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server = iter(serve())
    address = f"127.0.0.1:{next(server)}"
    with pytest.raises(RunFailedError) as caught:
        check_address(address)
    next(server, None)
    assert str(caught.value).startswith(f"Cannot use Ray at {address}: ")
    assert reason in str(caught.value)


def test_ray_is_accepted(ray_address: str) -> None:
    check_address(ray_address)


def test_a_stale_file_of_ray_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr(addresses, "resolve_address", lambda address: f"127.0.0.1:{port}")
    with pytest.raises(RunFailedError) as caught:
        check_address("auto")
    assert f"Cannot use Ray at auto (127.0.0.1:{port}): Connection refused" in str(caught.value)
    assert "is not running any more" in str(caught.value)


def test_no_cluster_on_this_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(address: str) -> str:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(addresses, "resolve_address", find)
    with pytest.raises(RunFailedError, match="No Ray cluster is running on this machine"):
        check_address("auto")


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "localhost:6379"])
def test_the_address_of_the_connected_cluster_is_accepted(address: str) -> None:
    check_same(address, "127.0.0.1:6379")


@pytest.mark.parametrize("address", ["127.0.0.1:6380", "192.0.2.77:6379", "local"])
def test_another_cluster_than_the_connected_one_is_refused(address: str) -> None:
    message = f"connected to Ray at 127.0.0.1:6379 already, so it cannot use {address}"
    with pytest.raises(RunFailedError, match=message):
        check_same(address, "127.0.0.1:6379")
