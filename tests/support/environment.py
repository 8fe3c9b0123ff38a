"""Isolation from the developer's environment: credentials, clusters, proxies and threads."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[2]
POISON = Path(__file__).parent / "poison"
"""Folder for PYTHONPATH that makes workers die when they decode marked images."""


def isolate(environ: MutableMapping[str, str]) -> None:
    """Remove the developer's cloud and cluster settings; one thread, loopback only."""
    for name in [name for name in environ if name.startswith("AWS_")]:
        del environ[name]
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        environ.pop(name, None)
    environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        # Without this, Ray on Linux replaces 127.0.0.1 with the external address of the machine.
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        RAY_USAGE_STATS_ENABLED="0",
        RAY_metrics_report_interval_ms="1000",  # the shortest one
        IRFUSE_METRICS_LINGER="0",
        OMP_NUM_THREADS="1",
        NO_PROXY="127.0.0.1,localhost",
        no_proxy="127.0.0.1,localhost",
    )


def without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process one of a user without a home and without an entry in the user database."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)


def forbid_ray(monkeypatch: pytest.MonkeyPatch, job: str = "jobs.execution") -> None:
    """Fail if the module of a job starts Ray or connects to it."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("Ray must not be started")

    monkeypatch.setattr(f"{job}.ray_session", refuse)


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child process that imports this checkout, installed or not."""
    extra = extra or {}
    folders = [PROJECT_ROOT, PROJECT_ROOT / "jobs" / "public_api", PROJECT_ROOT / "tests"]
    given = [environ.get("PYTHONPATH", "") for environ in (extra, os.environ)]
    paths = [given[0], *map(str, folders), given[1]]
    return {**os.environ, **extra, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
