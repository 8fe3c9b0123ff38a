"""Files that watch runs: scraping, alerts, and a dashboard."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.deploy import packaged_file, render
from jobs.options import DeployObservabilityOptions
from jobs.progress import Progress

_FOLDER = "observability"
_DASHBOARD = "grafana-irfuse.json"
_RULES = "cluster/deploy/observability/README.md"
"""Where the alerts are explained."""


@dataclass(frozen=True, slots=True)
class ObservabilityFiles:
    """Files that watch runs."""

    folder: str
    files: tuple[str, ...]
    """Names of the files in the folder."""


def deploy_observability(
    options: DeployObservabilityOptions, progress: Progress | None = None
) -> ObservabilityFiles:
    """Write what watches runs: scraping, alerts and a dashboard.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        StorageError: The folder cannot be written.
    """
    dashboard = packaged_file(f"{_FOLDER}/{_DASHBOARD}")
    values = {
        "namespace": options.namespace,
        "labels": options.label,
        "deadlines": {out: int(time.timestamp()) for out, time in options.deadline.items()},
        "section": _RULES,
        "dashboard": dashboard,
    }
    rendered = {
        "podmonitor.yaml": "podmonitor.yaml",
        "rules.yaml": "rules.yaml",
        "dashboard.yaml": "dashboard.yaml",
        "prometheus-local.yml": "prometheus-local.yml",
        "rules-local.yml": "groups.yaml",
    }
    files = {name: render(f"{_FOLDER}/{part}", **values) for name, part in rendered.items()}
    files[_DASHBOARD] = dashboard
    folder = options.store(options.folder)
    for name, text in files.items():
        folder.write(name, text.encode())
    return ObservabilityFiles(folder.url, tuple(files))
