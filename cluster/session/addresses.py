"""Addresses of Ray clusters: whether one answers there, and which."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing

from cluster.session.ray_internals import CHECK_ALIVE, resolve_address
from fusion_core.errors import RunFailedError

_CLIENT = "ray://"
_HOST_AND_PORT = re.compile(r"([^/:]+|\[[^]]+\]):(\d+)")
_CONNECT_TIMEOUT_S = 8.0
_ANSWER_TIMEOUT_S = 5.0


def check_address(address: str) -> None:
    """Check that Ray answers at an address, because Ray itself would try for minutes.

    Args:
        address: `HOST:PORT`, `auto`, or an address of Ray Client.

    Raises:
        RunFailedError: Nothing answers there, or not Ray, or Ray requires a token.
    """
    host_and_port = _find(address)
    if host_and_port is None:
        return  # Ray itself says what is wrong with it
    shown = f"{address} ({':'.join(map(str, host_and_port))})" if address == "auto" else address
    try:
        socket.create_connection(host_and_port, _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise cannot_use(shown, str(error.strerror or error), address == "auto") from error
    reason = _refusal(f"{host_and_port[0]}:{host_and_port[1]}", address)
    if reason:
        raise cannot_use(shown, reason)


def check_same(address: str, connected: str) -> None:
    """Check that an address is that of the cluster to which this process is connected.

    Raises:
        RunFailedError: It is another one.
    """
    requested = None if address == "local" else _find(address)
    if requested is None or not _same(requested, _split(connected) or requested):
        raise RunFailedError(
            f"This process is connected to Ray at {connected} already, so it cannot use {address}; "
            "leave out the address to use that cluster, or call ray.shutdown() before"
        )


def cannot_use(address: str, reason: str, found: bool = False) -> RunFailedError:
    """Return the error of a cluster that cannot be used.

    Args:
        address: The address.
        reason: Why it cannot be used.
        found: Whether the address was found in a file of Ray, which may be an old one.
    """
    remedy = "check --address and RAY_ADDRESS, and that the cluster is running"
    if found:
        remedy = (
            "the cluster that Ray started last on this machine is not running any more; start it, "
            "or leave out --address and RAY_ADDRESS for a Ray on this machine"
        )
    return RunFailedError(f"Cannot use Ray at {address}: {reason}; {remedy}")


def _find(address: str) -> tuple[str, int] | None:
    """Return host and port of an address, or None if it has another form.

    Raises:
        RunFailedError: The address is `auto`, and there is no cluster.
    """
    if address.startswith(_CLIENT):
        return _split(address.removeprefix(_CLIENT))
    if address == "auto":
        try:
            return _split(resolve_address(address))
        except ConnectionError:
            raise RunFailedError(
                "No Ray cluster is running on this machine, which the address `auto` stands for; "
                "start it, or leave out --address and RAY_ADDRESS for a Ray on this machine"
            ) from None
    return _split(address)


def _split(address: str) -> tuple[str, int] | None:
    match = _HOST_AND_PORT.fullmatch(address)
    return (match[1].strip("[]"), int(match[2])) if match else None


def _refusal(target: str, address: str) -> str | None:
    """Return why a server cannot be used, or None if it is Ray."""
    import grpc

    with closing(grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)])) as channel:
        try:
            grpc.channel_ready_future(channel).result(_ANSWER_TIMEOUT_S)
            if not address.startswith(_CLIENT):
                channel.unary_unary(CHECK_ALIVE)(b"", timeout=_ANSWER_TIMEOUT_S)
        except grpc.FutureTimeoutError:
            return "what answers there is not Ray"
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return "what answers there is not Ray, or is not the port of its head"
            explicit = address != "auto" and os.environ.get("RAY_AUTH_MODE", "").lower() != "token"
            if error.code() is grpc.StatusCode.UNAUTHENTICATED and explicit:
                return "it requires a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    return None


def _same(one: tuple[str, int], other: tuple[str, int]) -> bool:
    return one[1] == other[1] and bool(_machines(one[0]) & _machines(other[0]))


def _machines(host: str) -> set[str]:
    """Return the addresses of a host; Ray replaces that of the loopback by the external one."""
    names = {host}
    for name in (host, resolve_address(f"{host}:0").rpartition(":")[0].strip("[]")):
        try:
            names |= {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
        except OSError:
            continue
    return names
