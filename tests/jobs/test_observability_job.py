"""Files that watch runs, as the tools that read them understand them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from support.cli import call_cli
from support.monitoring import dashboard_of, panel_expressions, promtool, write_files

FILES = {
    "podmonitor.yaml", "rules.yaml", "dashboard.yaml", "grafana-irfuse.json",
    "prometheus-local.yml", "rules-local.yml",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files with all options."""
    return write_files(
        tmp_path_factory.mktemp("monitoring"),
        namespace="monitoring",
        label={"release": "prom", "team": "vision: 1"},
        deadline={"msrs": "2026-12-01T08:00+01:00"},
    )


def test_prometheus_accepts_the_rules_and_the_configuration(files: Path) -> None:
    for arguments in (
        ("check", "rules", files / "rules-local.yml"),
        ("check", "config", files / "prometheus-local.yml"),
    ):
        found = promtool(*arguments)
        assert found.returncode == 0, found.stdout + found.stderr


def test_every_expression_of_the_dashboard_parses(files: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(panel_expressions(files))
    ]
    assert len(rules) >= 12
    (tmp_path / "panels.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    )
    found = promtool("check", "rules", tmp_path / "panels.yaml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_objects_have_the_namespace_and_the_labels(files: Path) -> None:
    for name, kind in (("podmonitor.yaml", "PodMonitor"), ("rules.yaml", "PrometheusRule")):
        found = yaml.safe_load((files / name).read_text())
        assert found["kind"] == kind
        assert found["metadata"]["namespace"] == "monitoring"
        assert found["metadata"]["labels"] == {"release": "prom", "team": "vision: 1"}
    local = yaml.safe_load((files / "rules-local.yml").read_text())
    assert found["spec"] == local


def test_a_deadline_is_a_time_and_belongs_to_the_last_part_of_out(files: Path) -> None:
    groups = yaml.safe_load((files / "rules-local.yml").read_text())["groups"]
    assert groups[1]["rules"] == [
        {
            "record": "irfuse_deadline_timestamp_seconds",
            "expr": "vector(1796108400)",
            "labels": {"out": "msrs"},
        }
    ]
    found = call_cli("deploy", "observability", "x", "--deadline", "msrs=2026-12-01T08:00")
    assert found.returncode == 2
    assert "timezone" in found.stderr


def test_the_config_map_holds_the_dashboard(files: Path) -> None:
    found = yaml.safe_load((files / "dashboard.yaml").read_text())
    assert found["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert json.loads(found["data"]["grafana-irfuse.json"]) == dashboard_of(files)


def assert_within(found: Any, known: Any, place: str = "dashboard") -> None:
    """Everything that was found is known, too."""
    if isinstance(found, dict) and isinstance(known, dict):
        for key, value in found.items():
            assert key in known, f"Grafana does not know {place}.{key}"
            assert_within(value, known[key], f"{place}.{key}")
    elif isinstance(found, list):
        for number, pair in enumerate(zip(found, known, strict=True)):
            assert_within(*pair, f"{place}[{number}]")
    else:
        assert found == known, place


def test_grafana_knows_every_field_of_the_dashboard(files: Path) -> None:
    plugins.register_default_plugins()
    found = dashboard_of(files)
    assert_within(found, json.loads(JSONEncoder().encode(Dashboard.from_json(found))))


def test_the_panels_fill_rows_and_do_not_overlap(files: Path) -> None:
    panels = dashboard_of(files)["panels"]
    assert len(panels) == len({panel["id"] for panel in panels}) == 12
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & own, panel["title"]
        cells |= own
    assert {x for x, _ in cells} == set(range(24))


def test_the_command_names_what_it_has_written(tmp_path: Path) -> None:
    found = call_cli("deploy", "observability", tmp_path / "new")
    assert found.returncode == 0, found.stderr
    assert {Path(line).name for line in found.stdout.splitlines()} == FILES
    assert {path.name for path in (tmp_path / "new").iterdir()} == FILES
    monitor = yaml.safe_load((tmp_path / "new" / "podmonitor.yaml").read_text())
    assert monitor["metadata"] == {
        "name": "irfuse", "labels": {"release": "kube-prometheus-stack"}
    }  # fmt: skip
