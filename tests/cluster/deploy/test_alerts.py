"""When alerts fire, by the unit tests of Prometheus' own tool, which feed them series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.monitoring import promtool, rules_of, write_files

RUN = "1a2b3c4d-msrs"
OTHER = "5e6f7a8b-tno"


def series(metric: str, values: str, run: str = RUN, **labels: str) -> dict[str, str]:
    """Return a series of one value a minute in the notation of promtool."""
    shown = ",".join(f'{name}="{value}"' for name, value in {"run": run, **labels}.items())
    return {"series": f"{metric}{{{shown}}}", "values": values}


def running(left: int = 100, ready: int = 2, starting: int = 0) -> list[dict[str, str]]:
    """Return the series of a run that is computing."""
    return [
        series("ray_irfuse_started_timestamp_seconds", "0x60"),
        series("ray_irfuse_rows", f"{left}x60", state="left"),
        series("ray_irfuse_workers", f"{ready}x60", state="ready"),
        series("ray_irfuse_workers", f"{starting}x60", state="starting"),
    ]


COMMITS_UNTIL_MINUTE_5 = series("ray_irfuse_last_commit_timestamp_seconds", "60 120 180 240 300x60")
FAILURES = [
    series("ray_irfuse_pairs_total", "0+94x60", status="ok"),
    series("ray_irfuse_pairs_total", "0+6x60", status="failed"),
    series("ray_irfuse_pairs_total", "0+96x60", OTHER, status="ok"),
    series("ray_irfuse_pairs_total", "0+4x60", OTHER, status="failed"),
]
DEATHS = [
    series("ray_irfuse_worker_deaths_total", "0x10 1 2 3 5x60", reason="crash"),
    series("ray_irfuse_worker_deaths_total", "0x10 1 2 3x60", OTHER, reason="node"),
]
A_NODE_OF_FOUR_DIES = [
    series("ray_irfuse_worker_deaths_total", "_x10 4x60", reason="node"),
    series("ray_irfuse_worker_deaths_total", "_x10 3x60", OTHER, reason="node"),
]
THROTTLED = [
    series("ray_irfuse_storage_retries_total", "0+10x60", operation="read", code="503"),
    series("ray_irfuse_storage_retries_total", "0+2x60", OTHER, operation="read", code="503"),
    series("ray_irfuse_storage_retries_total", "0+99x60", operation="write", code="timeout"),
]
LATE = [
    series("ray_irfuse_eta_seconds", "7200-60x60"),
    series("ray_irfuse_eta_seconds", "7300-60x60", OTHER),
]


@pytest.mark.parametrize(
    ("alert", "given", "minute", "firing"),
    [
        ("IrfuseStalled", [*running(), COMMITS_UNTIL_MINUTE_5], 15, []),
        ("IrfuseStalled", [*running(), COMMITS_UNTIL_MINUTE_5], 17, [RUN]),
        ("IrfuseStalled", running(), 12, [RUN]),  # never a commit since the start
        ("IrfuseStalled", [*running(left=0), COMMITS_UNTIL_MINUTE_5], 30, []),
        ("IrfuseStalled", [*running(ready=0), COMMITS_UNTIL_MINUTE_5], 30, []),
        ("IrfuseFailing", FAILURES, 15, [RUN]),
        ("IrfuseNoWorkers", running(ready=0, starting=2), 14, []),
        ("IrfuseNoWorkers", running(ready=0, starting=2), 16, [RUN]),
        ("IrfuseNoWorkers", running(ready=1, starting=2), 30, []),
        ("IrfuseNoWorkers", running(ready=0, starting=2, left=0), 30, []),
        ("IrfuseWorkersDying", DEATHS, 15, [RUN]),
        ("IrfuseWorkersDying", DEATHS, 40, []),
        ("IrfuseWorkersDying", A_NODE_OF_FOUR_DIES, 15, [RUN]),
        ("IrfuseWorkersDying", A_NODE_OF_FOUR_DIES, 40, []),
        ("IrfuseStorageThrottled", THROTTLED, 15, [RUN]),
        ("IrfuseLate", LATE, 20, [OTHER]),
    ],
)
def test_an_alert_fires_for_the_runs_that_it_is_about(
    alert: str, given: list[dict[str, str]], minute: int, firing: list[str], tmp_path: Path
) -> None:
    deadlines = {"msrs": "1970-01-01T02:00:30Z", "tno": "1970-01-01T02:00:30Z"}
    folder = write_files(tmp_path, deadline=deadlines)
    expression = f'count by (run) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
    samples = [{"labels": f'{{run="{run}"}}', "value": 1} for run in firing]
    test: dict[str, Any] = {
        "rule_files": [str(folder / "rules-local.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": given,
                "promql_expr_test": [
                    {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples}
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    found = promtool("test", "rules", tmp_path / "test.yaml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_an_alert_names_the_run_the_command_and_its_section(tmp_path: Path) -> None:
    readme = Path("cluster/deploy/observability/README.md")
    text = (Path(__file__).parents[3] / readme).read_text()
    for rule in rules_of(write_files(tmp_path)):
        notes = rule["annotations"]
        assert "{{ $labels.run }}" in notes["summary"]
        assert "`irfuse status OUT`" in notes["description"]
        assert notes["description"].endswith(f"{readme}#{rule['alert'].lower()}")
        assert f"\n### {rule['alert']}\n" in text


def test_what_an_alert_says_is_filled_in(tmp_path: Path) -> None:
    folder = write_files(tmp_path)
    (rule,) = (rule for rule in rules_of(folder) if rule["alert"] == "IrfuseFailing")
    summary = f"{RUN}: 6% of the pairs of the last 10 minutes failed"
    expected = {
        "exp_labels": {"run": RUN, "severity": "warning"},
        "exp_annotations": {"summary": summary, "description": rule["annotations"]["description"]},
    }
    alert = {"eval_time": "15m", "alertname": "IrfuseFailing", "exp_alerts": [expected]}
    test = {
        "rule_files": [str(folder / "rules-local.yml")],
        "tests": [{"interval": "1m", "input_series": FAILURES, "alert_rule_test": [alert]}],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    found = promtool("test", "rules", tmp_path / "test.yaml")
    assert found.returncode == 0, found.stdout + found.stderr
