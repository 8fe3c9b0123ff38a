"""Observation of what code does to its process: network access, and global state."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def network_refused() -> Iterator[list[str]]:
    """Refuse connections and look-ups of hosts for the duration of the block.

    Yields the places that were asked for, which grow while the block runs.
    """
    attempts: list[str] = []
    connect = socket.socket.connect

    def refuse(place: object) -> OSError:
        attempts.append(str(place))
        return OSError(f"The network is not available in this check: {place}")

    def refuse_connection(self: socket.socket, address: Any) -> Any:  # noqa: ANN401
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise refuse(":".join(map(str, address[:2])))
        return connect(self, address)

    def refuse_lookup(host: object, *_: object, **__: object) -> Any:  # noqa: ANN401
        raise refuse(host)

    with (
        patch.object(socket.socket, "connect", refuse_connection),
        patch.object(socket.socket, "connect_ex", refuse_connection),
        patch("socket.getaddrinfo", refuse_lookup),
        patch("socket.gethostbyname", refuse_lookup),
    ):
        yield attempts
