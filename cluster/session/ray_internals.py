"""What irfuse uses of Ray that is not part of its public interface.

`tests/test_private_interfaces.py` checks that the installed version of Ray has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""A remote procedure of the head of every cluster."""
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""The variable that keeps the processes of Ray on the loopback address if it is 0."""


@contextmanager
def loopback_only() -> Iterator[None]:
    """Keep Ray on the loopback address, instead of the external address of the machine.

    The processes of Ray read an environment variable at import, and this process has imported Ray
    already. Both settings are restored afterwards, because a driver on the loopback address cannot
    connect to a cluster.
    """
    from ray._private import ray_constants

    before = os.environ.get(LOOPBACK_ONLY), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[LOOPBACK_ONLY], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        given, ray_constants.ENABLE_RAY_CLUSTER = before
        if given is None:
            del os.environ[LOOPBACK_ONLY]
        else:
            os.environ[LOOPBACK_ONLY] = given


def reread_authentication() -> None:
    """Read the variables RAY_AUTH_MODE and RAY_AUTH_TOKEN again, which Ray reads once."""
    from ray import _raylet

    internals: Any = _raylet
    internals.Config.initialize("")
    internals.AuthenticationTokenLoader.instance().reset_cache()


def draining_nodes() -> dict[str, int]:
    """Return the ids of the nodes that are to be taken away, as Ray was told.

    The value is the time at which the node ends in milliseconds since the epoch, or 0 if unknown.
    """
    from ray._private.state import state

    return dict(state.get_draining_nodes())


def resolve_address(address: str) -> str:
    """Return the `HOST:PORT` to which Ray connects for an address, which may be `auto`.

    Raises:
        ConnectionError: The address is `auto`, and no cluster is running on this machine.
    """
    from ray._private import services

    return str(services.canonicalize_bootstrap_address(address))
