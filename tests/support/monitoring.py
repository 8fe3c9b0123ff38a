"""The expressions of the alerts and of the dashboard, and the tools of Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import irfuse

_METRIC = re.compile(r"\b(?:ray|irfuse)_\w+\b")
_TEXTS = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\([^)]*\)")
_SUFFIXES = ("_bucket", "_count", "_sum")


def write_files(folder: Path, **options: Any) -> Path:
    """Write what `irfuse deploy observability` writes."""
    irfuse.deploy_observability(irfuse.DeployObservabilityOptions(folder=str(folder), **options))
    return folder


def rules_of(folder: Path) -> list[dict[str, Any]]:
    """Return the alerts and recorded metrics."""
    groups = yaml.safe_load((folder / "rules-local.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_of(folder: Path) -> Any:
    """Return the dashboard."""
    return json.loads((folder / "grafana-irfuse.json").read_text())


def panel_expressions(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the title of each panel with its expressions, as Grafana sends them."""
    variables = {"$__rate_interval": "1m", "$__range": "3h", "$run": ".+", "$price": "0.9"}
    for panel in dashboard_of(folder)["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in variables.items():
                text = text.replace(name, value)
            yield panel["title"], text


def metrics_in(expression: str) -> set[str]:
    """Return the names of the metrics in an expression, without those of labels and values."""
    return set(_METRIC.findall(_GROUPING.sub("", _TEXTS.sub('""', expression))))


def base_name(metric: str) -> str:
    """Return the name of a metric in irfuse, from one in Prometheus."""
    name = metric.removeprefix("ray_")
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def prometheus_tool(name: str) -> str:
    """Return the path of `prometheus` or `promtool`, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install prometheus)")
    return found


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `promtool`, or skip the test where it is not installed."""
    command = [prometheus_tool("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
