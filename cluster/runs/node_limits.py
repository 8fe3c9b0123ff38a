"""Limits of the workers per node, for nodes whose memory has run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Limit:
    """The limit of one node."""

    most: int
    """Workers that the node had before there was a limit."""
    workers: int
    committed: int = 0
    """Shards that the node has committed since the limit was set."""


class NodeLimits:
    """The largest number of workers of each node whose memory has run out.

    Whether pairs fit into the memory of a node depends on how many are computed there at once. When
    a worker is ended for lack of memory, its node therefore gets half as many workers. Once they
    have committed as many shards as there are workers, a quarter is added, and at least one, until
    there are as many as before.
    """

    def __init__(self) -> None:
        self._limits: dict[str, _Limit] = {}

    @property
    def nodes(self) -> Iterable[str]:
        """The nodes that are limited."""
        return self._limits.keys()

    @property
    def withheld(self) -> int:
        """Number of workers that the nodes had before, but may not have now."""
        return sum(limit.most - limit.workers for limit in self._limits.values())

    def halve(self, node: str, workers: int) -> None:
        """Halve the workers of a node that had so many when its memory ran out."""
        self.set(node, workers, max(1, workers // 2))

    def set(self, node: str, workers: int, limit: int) -> None:
        """Limit a node that has so many workers, unless it is limited to fewer already."""
        known = self._limits.get(node)
        if known is None:
            known = self._limits[node] = _Limit(most=workers, workers=workers)
        known.workers = min(known.workers, limit)
        known.committed = 0

    def note_commit(self, node: str) -> None:
        """Count a committed shard of a node, after which its limit may grow."""
        limit = self._limits.get(node)
        if limit is None:
            return
        limit.committed += 1
        if limit.committed >= limit.workers:
            limit.workers += max(1, limit.workers // 4)
            limit.committed = 0
        if limit.workers >= limit.most:
            del self._limits[node]

    def surplus(self, node: str, workers: int) -> int:
        """Return by how many workers a node exceeds its limit."""
        limit = self._limits.get(node)
        return 0 if limit is None else max(0, workers - limit.workers)

    def full(self, workers: Mapping[str, int]) -> list[str]:
        """Return the nodes that may have no further worker, given the workers of each node."""
        return [
            node for node, limit in self._limits.items() if workers.get(node, 0) >= limit.workers
        ]

    def keep(self, nodes: Iterable[str]) -> None:
        """Forget all nodes but these."""
        kept = set(nodes)
        self._limits = {node: limit for node, limit in self._limits.items() if node in kept}
