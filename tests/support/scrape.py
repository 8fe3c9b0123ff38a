"""The metrics that the nodes of a Ray cluster offer, read as Prometheus reads them."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Sample:
    """One value of a time series."""

    name: str
    labels: dict[str, str]
    value: float
    kind: str


def endpoints(address: str) -> Iterator[str]:
    """Yield where each node of a cluster offers its metrics, as HOST:PORT."""
    from ray._raylet import GcsClient

    for node in GcsClient(address=address).get_all_node_info().values():
        if node.state == 0:  # alive
            yield f"{node.node_manager_address}:{node.metrics_export_port}"


def scrape(address: str) -> list[Sample]:
    """Return the samples of irfuse's metrics of all nodes of a cluster."""
    return [sample for endpoint in endpoints(address) for sample in _scrape_node(endpoint)]


def _scrape_node(endpoint: str) -> Iterator[Sample]:
    with urllib.request.urlopen(f"http://{endpoint}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("ray_irfuse_"):
                yield Sample(sample.name, sample.labels, sample.value, family.type)


def total(samples: list[Sample], name: str, **labels: str) -> float:
    """Return the sum of the samples with these labels, as the `sum` of PromQL."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
