"""The agent of this node, which offers Ray's metrics to Prometheus."""

from __future__ import annotations

import socket

import ray

from cluster.session.watch import started_here

_CONNECT_TIMEOUT_S = 2.0
_explained: set[str] = set()
"""Clusters whose agent was found missing."""


def explain_missing_agent() -> str | None:
    """Return why the metrics of a cluster reach nobody, the first time that it is found so.

    Returns None if the agent of this node answers, and for a Ray that irfuse has started on this
    machine for itself.
    """
    cluster = ray.get_runtime_context().gcs_address
    if started_here() or cluster in _explained:
        return None
    here = ray.get_runtime_context().get_node_id()
    node = next((node for node in ray.nodes() if node["NodeID"] == here), None)
    if node is None:
        return None
    address, port = node["NodeManagerAddress"], int(node.get("MetricsExportPort") or 0)
    try:
        socket.create_connection((address, port), _CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError):
        _explained.add(cluster)
        return (
            "no metrics agent of Ray answers on the node of the driver, so metrics are not "
            "exported; install ray[default] on all nodes"
        )
    return None
